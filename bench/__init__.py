"""What alertd costs: ``python -m bench`` measures a running daemon and prints a table.

``ingest.py`` and ``latency.py`` drive a daemon (``daemon.py``) over loopback, the first from a
process of its own (``client.py``, whose requests ``events.py`` makes); ``engine.py`` times the
engine alone; ``storage.py`` fills stores with the events of ``traffic.py``. ``results.py`` holds
the figures and ``report.py`` shows them. README.md says how each figure is made and what it was
last time.
"""
