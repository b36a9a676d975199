from __future__ import annotations

from pathlib import Path

import pytest

from aerodrome.config.installation import Installation
from aerodrome.errors import AerodromeError


def test_places_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aerodrome.yaml").write_text("teams: [{name: aaa, repo: r}]")
    monkeypatch.chdir(tmp_path)
    installation = Installation.open()
    assert installation.path == tmp_path / "aerodrome.yaml"
    assert installation.state == tmp_path / ".aerodrome"
    assert installation.store_url == f"file://{tmp_path}/.aerodrome/store"
    assert installation.store_options == {}
    assert Installation.open("aerodrome.yaml", "elsewhere").state == tmp_path / "elsewhere"


def test_secrets_of_the_store_are_read_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("{store: s3://b/p, store_options: {region: eu, secret_access_key: {env: THE_KEY}}}")
    installation = Installation.open(path)
    assert installation.store_url == "s3://b/p"
    assert installation.store_places == {"region": "eu", "secret_access_key": {"env": "THE_KEY"}}
    monkeypatch.delenv("THE_KEY", raising=False)
    with pytest.raises(AerodromeError, match="THE_KEY is not set"):
        _ = installation.store_options
    monkeypatch.setenv("THE_KEY", "sekret")
    assert installation.store_options == {"region": "eu", "secret_access_key": "sekret"}
