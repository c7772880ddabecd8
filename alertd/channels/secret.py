"""Secrets: where they are read from, and a wrapper that does not show them.

Owns the only way in which a password, a signing key or a secret address enters the program.
Invariant: a ``Secret`` shows its value to ``reveal()`` and to nothing else; formatting, logging
and ``repr`` give a placeholder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from alertd.channels.config import SecretText
from alertd.errors import AlertdError

MAX_SECRET_BYTES: Final = 64 * 1024
_PLACEHOLDER: Final = "[redacted]"


class SecretUnavailable(AlertdError):
    """A secret cannot be read; the message names the file or the variable and the remedy."""


class Secret:
    """A text that must not be seen by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, to be used at once and kept nowhere."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_PLACEHOLDER})"

    def __str__(self) -> str:
        return _PLACEHOLDER


def read_secret(*, file: str | None, env: str | None, environ: Mapping[str, str]) -> Secret | None:
    """Return the secret in ``file`` or in the environment variable ``env``; None if both are None.

    A relative ``file`` is first looked for in ``$CREDENTIALS_DIRECTORY``, where systemd puts
    what ``LoadCredential=`` names, then in the working directory. Line ends after the secret
    are not part of it. Raises ``SecretUnavailable`` if it is missing, empty, not UTF-8, longer
    than 64 KiB, or if both sources are given.
    """
    if file is not None and env is not None:
        raise SecretUnavailable("both a file and an environment variable are given; keep one")
    if file is not None:
        return Secret(_read_file(_locate(file, environ)))
    if env is not None:
        return Secret(_read_variable(env, environ))
    return None


def read_header(value: str | SecretText, environ: Mapping[str, str]) -> Secret:
    """Return the value of a header, which may itself be a secret or name one.

    Raises ``SecretUnavailable`` as ``read_secret`` does, and if nothing is named.
    """
    if isinstance(value, str):
        return Secret(value)
    secret = read_secret(file=value.file, env=value.env, environ=environ)
    if secret is None:
        raise SecretUnavailable("neither a file nor an environment variable is given; name one")
    return Secret(value.prefix + secret.reveal())


def reveal(headers: Mapping[str, Secret]) -> dict[str, str]:
    """Return ``headers`` as they are sent."""
    return {name: value.reveal() for name, value in headers.items()}


def _locate(file: str, environ: Mapping[str, str]) -> Path:
    path = Path(file)
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials and not path.is_absolute():
        credential = Path(credentials) / path
        if credential.exists():
            return credential
    return path


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SecretUnavailable(
            f"cannot read the secret file {str(path)!r}: {reason}; "
            "create it, readable for the user that alertd runs as"
        ) from None
    if len(raw) > MAX_SECRET_BYTES:
        raise SecretUnavailable(f"the secret file {str(path)!r} is longer than 64 KiB")
    try:
        value = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretUnavailable(f"the secret file {str(path)!r} is not UTF-8 text") from None
    if not value:
        raise SecretUnavailable(f"the secret file {str(path)!r} is empty")
    return value


def _read_variable(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "")
    if not value:
        raise SecretUnavailable(
            f"the environment variable {name!r} is not set or empty; set it, or use a file"
        )
    return value
