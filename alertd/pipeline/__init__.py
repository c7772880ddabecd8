"""The one road of everything that changes the engine's state: append → step → record."""
