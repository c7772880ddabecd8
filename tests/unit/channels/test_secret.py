from __future__ import annotations

from pathlib import Path

import pytest

from alertd.channels.secret import MAX_SECRET_BYTES, Secret, SecretUnavailable, read_secret


def test_a_secret_shows_itself_to_reveal_only() -> None:
    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {secret!s} {[secret]} { ({'key': secret}) }"
    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"


def test_line_ends_after_the_secret_are_not_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b" a b \r\n\n")
    secret = read_secret(file=str(path), env=None, environ={})
    assert secret is not None
    assert secret.reveal() == " a b "


def test_a_relative_file_is_a_systemd_credential_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, folder = tmp_path / "credentials", tmp_path / "cwd"
    for place in (credentials, folder):
        place.mkdir()
        (place / "key").write_text(place.name)
    monkeypatch.chdir(folder)
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    found = read_secret(file="key", env=None, environ=environ)
    elsewhere = read_secret(file="key", env=None, environ={})
    absolute = read_secret(file=str(folder / "key"), env=None, environ=environ)
    assert found is not None
    assert elsewhere is not None
    assert absolute is not None
    assert (found.reveal(), elsewhere.reveal(), absolute.reveal()) == ("credentials", "cwd", "cwd")


def test_a_secret_may_come_from_the_environment() -> None:
    secret = read_secret(file=None, env="KEY", environ={"KEY": "hunter2"})
    assert secret is not None
    assert secret.reveal() == "hunter2"


def test_no_source_is_no_secret() -> None:
    assert read_secret(file=None, env=None, environ={}) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * (MAX_SECRET_BYTES + 1), "64 KiB"),
    ],
)
def test_a_file_that_holds_no_secret_is_named(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SecretUnavailable, match=words) as caught:
        read_secret(file=str(path), env=None, environ={})
    assert str(path) in str(caught.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(SecretUnavailable, match="'KEY'"):
        read_secret(file=None, env="KEY", environ={"KEY": ""})


def test_two_sources_are_one_too_many() -> None:
    with pytest.raises(SecretUnavailable, match="both"):
        read_secret(file="a", env="B", environ={"B": "x"})
