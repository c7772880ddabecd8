"""What an event meets before it is stored: admission, its series, what was accepted before.

``intake.py`` admits, ``series.py`` has a number for each metric and label set, ``remembered.py``
what was made of bytes that senders repeat. ``dedup.py`` knows the ids of events that were accepted,
``idempotency.py`` the keys of requests.
"""
