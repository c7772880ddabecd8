"""What alertd costs: ``python -m bench`` measures a running daemon and prints a table.

``ingest.py``, ``lines.py``, ``rivals.py`` and ``latency.py`` drive a daemon (``daemon.py``) over
loopback in rounds (``rounds.py``), from a process of its own (``client.py``, whose connections are
in ``senders.py`` and what they send in ``events.py``); ``engine.py`` times the engine alone;
``storage.py`` fills stores with the events of ``traffic.py``. ``results.py`` holds the figures and
``report.py`` shows them. README.md says how each figure is made and what it was last time.
"""
