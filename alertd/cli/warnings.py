"""What a daemon's answer says of what works, and is most likely not meant.

Owns the words. They go to standard error: a pipe gets the answer itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


# Any: a reply as the API gives it.
def tell_warnings(answer: Mapping[str, Any]) -> None:
    """Print the warnings about a configuration, and how many there are beside those."""
    warnings = answer["warnings"]
    for warning in warnings:
        click.secho(f"{warning['path']}: warning: {warning['message']}", err=True, fg="yellow")
    more = answer["warningCount"] - len(warnings)
    if more > 0:
        click.secho(f"and {more} more warnings: `alertd check` names all", err=True, fg="yellow")
