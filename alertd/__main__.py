"""``python -m alertd``: the same as the command ``alertd``."""

from alertd.cli import main

main()
