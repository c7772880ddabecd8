"""The HTTP interface: a listener that no client can bring down, and the routes behind it.

``server.py`` owns the sockets, ``connection.py`` one client, ``hardening.py`` the Quart
application class that every route is registered on. What they guard against is HAZARDS.md's
HTTP section, one test per hazard. ``routes.py`` has every route, ``gate.py`` says who may ask;
``express.py`` answers plain requests in front of the web framework. ``decode.py`` reads events out
of bodies. Each resource has a module with its handlers, one with its replies (``…_replies.py``) and
one in ``openapi/``.

Whatever a client does to its connection cancels the handler of its request, so a handler never
does work that must not stop half-way: it hands the work over to the pipeline and waits for the
receipt.
"""
