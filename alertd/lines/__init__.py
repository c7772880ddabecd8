"""Events over a socket, one a line of JSON, acknowledged by position.

``protocol.py`` says how, ``connection.py`` is one sender, ``listener.py`` the sockets.
"""
