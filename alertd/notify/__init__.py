"""From a transition to who is told what, and when. Pure: no I/O, no clock, no trio.

An event's second half, one stage a file, in the order in which they are passed:

    transition → announce → grouping → (outbox → dispatch → channel)

Each decision is a function of what is known and of ``now`` that returns a named reason, and the
reason ends up on the incident's timeline. Leaves to ``store/outbox.py`` what must survive a
restart, and to ``delivery/dispatch.py`` the sending.
"""
