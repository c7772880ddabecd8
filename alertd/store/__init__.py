"""Everything that is on disk: one SQLite file in WAL mode, and snapshot files beside it.

The way in is ``store.py``; ``protocols.py`` names the seams that another store may fill. One
writer thread (``writer.py``, with ``wal.py``) owns the write connection; ``readers.py`` has the
others. ``connection.py`` opens, ``schema.py`` says what there is, and one file each holds the
event log (bytes in ``entry_codec.py``), the segments that ``folding.py`` makes of it (bytes in
``block_codec.py``), the rollups that ``retention.py`` makes of those (in ``rollup_codec.py``), the
series, the rules, the incidents (read in ``history.py``, with ``timeline.py``, forgotten by
``pruning.py``), the outbox, the answered requests and the quarantine. People read events by way
of ``event_pages.py`` and ``rollup_pages.py``; what was read of segments lately stays in memory
(``block_cache.py``). ``space.py`` makes the file smaller, and ``portion.py`` says how much of such
work one transaction takes.
``snapshots.py`` knows nothing of SQLite. What commands do with a database, a running daemon's
too, is in ``check.py``, ``backup.py`` (with the snapshot of ``carried.py``), ``restore.py`` and
``statistics.py``, on top of ``existing.py``.
"""
