"""Outbound channels: one attempt to tell one receiver one message.

The way in is ``factory.py``; ``protocol.py`` is the contract. Nothing here knows the store or
the engine, retries, or remembers: ``delivery/dispatch.py`` does.
"""
