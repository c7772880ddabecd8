"""The engine: events, the clock and rule changes in, transitions out. Pure.

No I/O, no clock, no threads: the same inputs in the same order always give the same
transitions, so the live daemon and crash recovery run this one code. SEMANTICS is its contract.

The way of an event: ``engine.py`` has it brought (``arrivals.py``, ``routing.py``) to the groups of
the rules that see its series; what changes nothing for a group is only kept for it, a batch at a
time (``screen.py``, ``excess.py``, ``resting.py``, ``resting_bucketed.py``, ``sleeping.py``,
``packed.py``, ``vigil.py``, ``coasting.py``, ``sleepers.py``, ``waiting.py``), or let pass in a
band (``band.py``, ``cruising.py``). Else a group (``continuous.py``, ``bucketed.py``) moves its
window (``window.py``, ``aggregates.py``, ``exact.py``) from change point to change point, asks the
rule's ``condition.py`` what the value means there, and tells its ``lifecycle.py``, which writes
transitions into the ``journal.py``. ``timers.py`` knows when a quiet group must be looked at,
``sources.py`` which series lead to it, ``overdue.py`` what waits for the reconciler;
``population.py`` has these together and says how a group goes, ``rule_changes.py`` what a change of
the rules does.
"""
