"""alertd: one process that watches events and tells people when something is wrong."""

__version__ = "0.1.0"
