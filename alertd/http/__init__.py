"""The HTTP interface: a listener that no client can bring down, and the routes behind it.

``server.py`` owns the sockets, ``connection.py`` one client, ``hardening.py`` the Quart
application class that every route is registered on. What they guard against is HAZARDS.md's
HTTP section, one test per hazard.

Whatever a client does to its connection cancels the handler of its request, so a handler never
does work that must not stop half-way: it hands the work over to the pipeline and waits for the
receipt.
"""
