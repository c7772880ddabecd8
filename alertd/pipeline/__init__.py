"""The one road of everything that changes the engine's state: append → step → record.

The way in is ``pipeline.py``, with one bounded queue; ``work.py`` knows what is outstanding.
``appender.py`` brings what waits to the disk, ``evaluator.py`` what is there to the engine, and
records what follows; ``turn.py`` says how long that may take at a time. ``backfill.py`` reads what
new rules look back at (``sorted_events.py``). ``quarantine.py`` keeps what was refused, off the way
of what is good.
"""
