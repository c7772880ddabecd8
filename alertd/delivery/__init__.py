"""From the outbox to people: attempts, reminders, and what people ask of notifications."""
