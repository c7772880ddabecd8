"""``[[auth.tokens]]``: where a token may come from, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertd.access import digest_of, new_token, read_digest, written_hash
from alertd.config.auth import MAX_TOKENS
from alertd.config.lint import examine
from tests.unit.config.test_config import problems_of, written

TOKEN = "a-token-of-more-than-32-characters-0"
HEAD = '[[auth.tokens]]\nname = "web"\nscopes = ["ingest", "read"]\n'


def test_a_token_is_kept_as_its_hash_wherever_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(TOKEN + "\n")
    (tmp_path / "hashed").write_text(written_hash(TOKEN))
    for source in (
        f'hash = "{written_hash(TOKEN)}"',
        f'secret_file = "{tmp_path}/plain"',
        f'secret_file = "{tmp_path}/hashed"',
        'secret_file = "plain"',
        'secret_env = "WEB"',
    ):
        environ = {"WEB": TOKEN, "CREDENTIALS_DIRECTORY": str(tmp_path)}
        config = examine(written(tmp_path, HEAD + source), environ).config
        (token,) = config.auth.tokens
        assert token.digest == digest_of(TOKEN.encode()), source
        assert (token.name, sorted(token.scopes)) == ("web", ["ingest", "read"])
        assert TOKEN not in repr(config)


def test_a_token_opens_an_address_that_others_can_reach(tmp_path: Path) -> None:
    server = '[server]\nbind = "0.0.0.0:9470"\n'
    with_token = server + HEAD + f'hash = "{written_hash(TOKEN)}"'
    assert examine(written(tmp_path, with_token), {}).config.server.bind == "0.0.0.0:9470"
    for auth in ("", "[auth]\n", "[auth]\ntokens = []\n"):
        (problem,) = problems_of(written(tmp_path, server + auth))
        assert "as long as there is no [[auth.tokens]]" in problem


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD, "1: auth.tokens[0].hash: expected exactly one of hash, secret_file and secret_env"),
        (HEAD + 'hash = "x"\nsecret_env = "A"', "4: auth.tokens[0].hash: expected exactly one"),
        (HEAD + f'hash = "{TOKEN}"', "4: auth.tokens[0].hash: expected sha256: and 64 hexadec"),
        (HEAD + 'hash = "sha256:00"', "4: auth.tokens[0].hash: after sha256: there must be 64"),
        (HEAD + 'secret_file = "none"', "4: auth.tokens[0].secret_file: cannot read the secret"),
        (HEAD + 'secret_env = "NONE"', "4: auth.tokens[0].secret_env: the environment variable"),
        (HEAD + 'secret_env = "SHORT"', "4: auth.tokens[0].secret_env: a token has 32 to 1024"),
        (HEAD + 'secret_env = "SPACED"', "4: auth.tokens[0].secret_env: a token has 32 to 1024"),
        (HEAD + 'sha = "x"', "4: auth.tokens[0].sha: unknown key; known are hash, max_events"),
        ('[[auth.tokens]]\nname = ""\nscopes = []', "2: auth.tokens[0].name: expected a name"),
        ('[[auth.tokens]]\nname = "a"\nscopes = []', "3: auth.tokens[0].scopes: expected one or"),
        (
            '[[auth.tokens]]\nname = "a"\nscopes = ["reed"]',
            '3: auth.tokens[0].scopes[0]: expected "ingest" or "read" or "write" or "admin", '
            "got 'reed'; did you mean 'read'?",
        ),
        ("[[auth.tokens]]", "1: auth.tokens[0].name: is missing; expected a string"),
        (
            HEAD + 'secret_env = "T"\n' + HEAD + 'secret_env = "U"',
            "6: auth.tokens[1].name: expected another name, 'web' is taken",
        ),
        (
            HEAD + 'secret_env = "T"\n' + HEAD.replace("web", "b") + 'secret_env = "T"',
            "5: auth.tokens[1]: expected another secret, it is that of 'web'",
        ),
        ("[auth]\ntokens = [1]", "2: auth.tokens[0]: expected a table, got a whole number"),
        (
            f"[auth]\ntokens = [{'{}, ' * (MAX_TOKENS + 1)}]",
            f"2: auth.tokens: expected at most {MAX_TOKENS} tokens, got {MAX_TOKENS + 1}",
        ),
    ],
)
def test_a_mistake_is_named_and_no_secret_is_repeated(tmp_path: Path, text: str, says: str) -> None:
    environ = {"SHORT": "short-secret", "SPACED": f"{TOKEN} {TOKEN}", "T": TOKEN, "U": TOKEN[1:]}
    problems = problems_of(written(tmp_path, text), environ)
    assert any(problem.startswith(f"alertd.toml:{says}") for problem in problems), problems
    assert not any("short-secret" in problem or TOKEN in problem for problem in problems)


def test_new_tokens_differ_and_can_be_configured() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    for token in made:
        assert read_digest(token) == read_digest(written_hash(token)) == digest_of(token.encode())
