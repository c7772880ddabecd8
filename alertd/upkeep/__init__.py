"""What keeps the daemon going in the background: recovery, snapshots, late data, retention.

``recovery.py`` is the start, ``snapshotter.py`` makes the next one quick, ``reconciler.py`` judges
what came later than the lateness. ``folder.py`` and ``retention.py`` say when the log is folded and
when events go, ``housekeeping.py`` forgets the rest, ``pace.py`` says how much of the machine that
may take. ``interpreter.py`` and ``allocator.py`` set Python and malloc, ``limit_watch.py`` tells
what was refused at a limit.
"""
