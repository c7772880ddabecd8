"""Everything that is on disk.

One SQLite file in WAL mode. One writer thread owns the write connection; readers have their
own. ``protocols.py`` names the seams that another store may fill; ``connection.py`` opens and
migrates, ``writer.py`` runs transactions, and one file each holds the event log, the rules,
the incidents and the outbox.
"""
