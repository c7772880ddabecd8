"""The TOML file: read, checked with the place of every mistake, and watched for changes.

``document.py`` reads one file, ``syntax.py`` says what is wrong with text that is no TOML,
``places.py`` where a key stands. ``settings.py`` puts the whole together from a module
for each kind of section. ``lint.py`` warns of what is most likely not meant, ``clashes.py`` of
names that are taken; ``files.py`` notices that files on disk have changed.
"""
