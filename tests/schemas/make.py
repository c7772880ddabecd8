"""``python -m tests.schemas.make``: keep a database as this version of alertd leaves it.

Run it once for each new schema, with the code that has it, and check the file in. It is not made
again afterwards: a database that was made by the code of today says nothing of those out there.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import apsw
import apsw.shell

from tests.e2e.daemon import Daemon
from tests.receivers import http_receiver
from tests.schemas import scenario

FOLDER = Path(__file__).parent


def made(folder: Path) -> tuple[Path, dict[str, object]]:
    """Have a daemon do everything in ``folder``; return its database and what it knows."""
    with http_receiver() as hook, http_receiver() as down:
        config = scenario.CONFIG.format(hook=hook.url(), down=down.url())
        with Daemon(folder, config) as daemon:
            scenario.tell(daemon, down)
            known = scenario.known(daemon)
            daemon.stop()
    return folder / "state" / "alertd.db", known


def dumped(database: Path, known: dict[str, object]) -> tuple[int, str]:
    """Return the schema's number, and a database as SQL that makes it again."""
    connection = apsw.Connection(str(database))
    schema = connection.pragma("user_version")
    text = io.StringIO()
    shell: Any = apsw.shell.Shell(stdout=text, db=connection)  # Any: its methods have no types
    shell.process_command(".dump")
    lines = [line for line in text.getvalue().splitlines() if not line.startswith("-- ")]
    lines += [
        f"PRAGMA {name}={connection.pragma(name)};" for name in ("application_id", "user_version")
    ]
    connection.close()
    return schema, "\n".join([f"-- {json.dumps(known)}", *lines, ""])


def main() -> None:
    """Make the file, unless there is one already."""
    with tempfile.TemporaryDirectory() as folder:
        schema, sql = dumped(*made(Path(folder)))
    path = FOLDER / f"schema-{schema}.sql"
    if path.exists():
        sys.exit(f"{path} is there; a schema that was released is not made again")
    path.write_text(sql, encoding="utf-8")
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
