from __future__ import annotations

from typing import Any

import pytest
from obstore.exceptions import BaseError
from obstore.store import from_url

from aerodrome.config.store_options import CLIENT_OPTIONS, OPTIONS, SECRET_OPTIONS, Family, store_url_problem


def refusal(url: str, **options: Any) -> str:
    """What obstore says against the options, a wrong value or a wrong name; "" when nothing."""
    try:
        from_url(url, **options)
    except (BaseError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("family", "url"), [("s3", "s3://b"), ("gs", "gs://b"), ("az", "abfss://c@account.dfs.core.windows.net")]
)
def test_obstore_knows_every_option(family: Family, url: str) -> None:
    assert store_url_problem(url) is None
    assert not [
        option for option in OPTIONS[family] if "is not valid for store" in refusal(url, config={option: "true"})
    ]
    assert "is not valid for store" in refusal(url, config={"there_is_none": "true"})


def test_obstore_knows_every_option_of_its_client() -> None:
    unknown = [
        option for option in CLIENT_OPTIONS if "Invalid key" in refusal("s3://b", client_options={option: "true"})
    ]
    assert not unknown
    assert "Invalid key" in refusal("s3://b", client_options={"there_is_none": "true"})


def test_secret_options_are_options() -> None:
    assert frozenset().union(*OPTIONS.values()) >= SECRET_OPTIONS


@pytest.mark.parametrize(
    "url", ["s3://b", "s3://b/a/b", "gs://b/x", "az://c/x", "abfss://c@a.dfs.core.windows.net/x", "file:///srv/x"]
)
def test_urls(url: str) -> None:
    assert store_url_problem(url) is None
