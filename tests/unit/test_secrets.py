from __future__ import annotations

import base64
import os
import urllib.parse
from pathlib import Path

import pytest

from aerodrome.errors import AerodromeError
from aerodrome.secrets import Masker, SecretPlace, missing, resolve


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"env": "A", "file": "b"},
        {"secret": "a"},
        {"key": "a"},
        {"env": "A", "key": "b"},
        {"env": "not a name"},
        {"env": ""},
        {"file": ""},
        {"secret": "Upper", "key": "k"},
        {"secret": "../x", "key": "k"},
        {"secret": "x", "key": "../k"},
        {"secret": "x", "key": ".."},
        {"what": "x"},
    ],
)
def test_no_place(place: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        SecretPlace.of(place)
    assert "../" not in str(caught.value)


def test_written_and_read_back() -> None:
    for written in ({"env": "A"}, {"file": "/x"}, {"secret": "s", "key": "k"}):
        assert SecretPlace.of(written).mapping() == written


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    place = SecretPlace(env="THE_TOKEN")
    monkeypatch.delenv("THE_TOKEN", raising=False)
    with pytest.raises(AerodromeError, match="environment variable THE_TOKEN is not set"):
        place.read()
    monkeypatch.setenv("THE_TOKEN", "")
    with pytest.raises(AerodromeError, match="is empty"):
        place.read()
    monkeypatch.setenv("THE_TOKEN", "value")
    assert place.read() == "value"


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    place = SecretPlace(file=str(path))
    with pytest.raises(AerodromeError, match="does not exist"):
        place.read()
    path.write_text("value\n")
    assert place.read() == "value"
    path.write_text("rotated\r\n")
    assert place.read() == "rotated"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(AerodromeError, match="not text"):
        place.read()
    with path.open("wb") as file:
        os.truncate(file.fileno(), (1 << 20) + 1)
    with pytest.raises(AerodromeError, match="larger than 1 MiB"):
        place.read()
    with pytest.raises(AerodromeError, match="can not be read"):
        SecretPlace(file=str(tmp_path)).read()


def test_kubernetes_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = SecretPlace(secret="airflow-db", key="url")
    monkeypatch.delenv("AERODROME_SECRETS", raising=False)
    with pytest.raises(AerodromeError, match="no Kubernetes Secrets are mounted here"):
        place.read()
    monkeypatch.setenv("AERODROME_SECRETS", str(tmp_path))
    with pytest.raises(AerodromeError, match="does not exist"):
        place.read()
    (tmp_path / "airflow-db").mkdir()
    (tmp_path / "airflow-db" / "url").write_text("postgresql://x")
    assert place.read() == "postgresql://x"


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IS_THERE", "x")
    monkeypatch.delenv("IS_NOT", raising=False)
    places = [SecretPlace(env="IS_THERE"), SecretPlace(env="IS_NOT"), SecretPlace(env="IS_NOT")]
    assert [error.what for error in missing(places)] == ["the environment variable IS_NOT is not set"]


def test_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "value")
    options = {"a": "plain", "b": {"env": "THE_KEY"}, "c": SecretPlace(env="THE_KEY")}
    assert resolve(options) == {"a": "plain", "b": "value", "c": "value"}


@pytest.mark.parametrize("user", ["", "x:", "xy:", "xyz:", "x-access-token:"])
@pytest.mark.parametrize("secret", ["ghp_0123456789abcdef", "p@ss w/rd+ü=&%", "???>>>~~~"])
def test_masker(secret: str, user: str) -> None:
    mask = Masker([secret]).mask
    assert mask(f"fatal: {secret} refused") == "fatal: *** refused"
    assert mask(f"https://u:{urllib.parse.quote(secret, safe='')}@h/") == "https://u:***@h/"
    assert mask(f"q={urllib.parse.quote_plus(secret)}&") == "q=***&"
    for tail in ("", "\n", "xx"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            header = encode((user + secret + tail).encode()).decode()
            masked = mask(f"Authorization: Basic {header}")
            assert "***" in masked
            # What may be left are the characters that share bits with what stands beside the secret.
            kept = len(masked) - len("Authorization: Basic ***")
            assert kept <= len(base64.b64encode(user.encode())) + len(base64.b64encode(tail.encode())) + 4


def test_masker_of_keys_and_of_nothing() -> None:
    key = "-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nshort\n-----END X-----\n"
    masker = Masker([key, ""])
    assert masker.mask("got MIIEvQIBADANBgkqhkiG9w0BAQEFAASC") == "got ***"
    assert masker.mask(f"<{key}>") == "<***\n>"
    assert masker.mask("a short text") == "a short text"


def test_masker_of_a_secret_inside_another() -> None:
    masker = Masker(["abcd"])
    masker.add("abcdefgh")
    assert masker.mask("abcdefgh abcd") == "*** ***"
