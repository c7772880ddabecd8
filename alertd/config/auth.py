"""``[[auth.tokens]]`` as a TOML file spells it: who may use the HTTP interface, and for what.

Owns the keys, their bounds and the reading of the secrets behind them. The file itself never
holds a token: it names a file, an environment variable or a systemd credential, or has the
token's hash. Leaves what a token is to ``access.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from alertd.access import Scope, Token, read_digest
from alertd.channels.secret import SecretUnavailable, read_secret
from alertd.config.document import Document, TomlTable
from alertd.config.places import KeyPath
from alertd.errors import Problem
from alertd.names import name_problem

MAX_TOKENS: Final = 100
"""Each is compared with what a stranger sends."""

Rate = Annotated[float, Meta(gt=0, le=1e12)]

_STAND_INS: Final[Mapping[str, Any]] = {"name": "stand-in", "scopes": (Scope.READ,)}


class TokenSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[auth.tokens]]``. Exactly one of the first three optional keys names the secret."""

    name: str
    """Who it is; shown in the log of changes and in metrics."""
    scopes: tuple[Scope, ...]
    hash: str | None = None
    """``sha256:`` and 64 hexadecimal digits, as ``alertd token new`` prints it."""
    secret_file: str | None = None
    """A file with the token or its hash; see ``channels/secret.py``."""
    secret_env: str | None = None
    max_requests_per_sec: Rate | None = None
    max_events_per_sec: Rate | None = None
    max_events_per_day: Rate | None = None

    def problems(self) -> list[Problem]:
        """Return what is wrong with the name, the scopes and the choice of a secret."""
        problems = []
        wrong_name = name_problem(self.name)
        if wrong_name is not None:
            problems.append(Problem("/name", wrong_name))
        if not self.scopes:
            problems.append(Problem("/scopes", f"expected one or more of {', '.join(Scope)}"))
        given = (self.hash, self.secret_file, self.secret_env)
        if sum(source is not None for source in given) != 1:
            message = "expected exactly one of hash, secret_file and secret_env"
            problems.append(Problem("/hash", message))
        elif self.hash is not None and not self.hash.startswith("sha256:"):
            message = "expected sha256: and 64 hexadecimal digits; `alertd token new` prints it"
            problems.append(Problem("/hash", message))
        return problems

    def resolved(self, environ: Mapping[str, str]) -> Token:
        """Return the token, its secret read. Raises ``SecretUnavailable`` and ``ValueError``."""
        secret = read_secret(file=self.secret_file, env=self.secret_env, environ=environ)
        text = secret.reveal() if secret is not None else self.hash
        assert text is not None, "problems() has seen to it"
        return Token(
            name=self.name,
            scopes=frozenset(self.scopes),
            digest=read_digest(text),
            max_requests_per_sec=self.max_requests_per_sec,
            max_events_per_sec=self.max_events_per_sec,
            max_events_per_day=self.max_events_per_day,
        )


class AuthConfig(Struct, frozen=True, kw_only=True):
    """``[auth]``: whom the HTTP interface answers. Without tokens: whoever can reach it."""

    tokens: tuple[Token, ...] = ()


def read_auth(document: Document, environ: Mapping[str, str]) -> AuthConfig:
    """Return what stands in ``[auth]``; what is wrong is noted in the document."""
    table = document.subtable(("auth",), document.table.get("auth", {}))
    if table is None:
        return AuthConfig()
    document.refuse_unknown(("auth",), table, {"tokens": None})
    entries = table.get("tokens", [])
    if isinstance(entries, list) and len(entries) > MAX_TOKENS:
        message = f"expected at most {MAX_TOKENS} tokens, got {len(entries)}"
        document.refuse(("auth", "tokens"), message)
        return AuthConfig()
    tokens: list[Token] = []
    for path, token_table in document.subtables(("auth", "tokens"), entries):
        token = _read(document, path, token_table, environ)
        if token is not None:
            _refuse_twins(document, path, token, tokens)
            tokens.append(token)
    return AuthConfig(tokens=tuple(tokens))


def _read(
    document: Document, path: KeyPath, table: TomlTable, environ: Mapping[str, str]
) -> Token | None:
    values, wrong = document.values(path, table, TokenSpec)
    spec = TokenSpec(**{**_STAND_INS, **values})
    problems = [p for p in spec.problems() if p.path.removeprefix("/") not in wrong]
    document.refuse_all(path, table, problems)
    if wrong or problems:
        return None
    key = next(key for key in ("hash", "secret_file", "secret_env") if key in table)
    try:
        return spec.resolved(environ)
    except (SecretUnavailable, ValueError) as error:
        document.refuse((*path, key), str(error))
        return None


def _refuse_twins(document: Document, path: KeyPath, token: Token, others: list[Token]) -> None:
    """Refuse a name or a secret that an earlier token has: nobody could tell them apart."""
    for other in others:
        if other.name == token.name:
            document.refuse((*path, "name"), f"expected another name, {token.name!r} is taken")
        if other.digest == token.digest:
            document.refuse(path, f"expected another secret, it is that of {other.name!r}")
