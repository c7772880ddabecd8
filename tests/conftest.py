"""Puts the root of the repository on the import path: tests share code as ``tests.…``."""
