"""Templates that people write for titles and bodies: a small part of Jinja2 that always ends.

The way in is ``template.py``; what may be written is in ``language.py`` and ``filters.py``, what it
may cost in ``meter.py``. Nothing here knows messages or channels.
"""
