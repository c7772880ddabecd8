"""From the outbox to people: attempts, reminders, and what people ask of notifications.

``dispatch.py`` says when a message is attempted, ``places.py`` how many at a time and a minute,
``attempt.py`` what the outcome means, over the channels of ``live_channels.py``. ``reminders.py``
looks at what is held back or to be repeated, ``resender.py`` tells receivers that forget.
``notifier.py`` does what people ask for: silences, acknowledgements, requeueing. ``failing.py``
knows which receivers take nothing now.
"""
