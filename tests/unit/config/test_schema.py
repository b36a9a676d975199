from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from aerodrome.config.schema import schema

WHOLE = Path(__file__).with_name("whole.yaml")


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


def test_the_whole_contract_is_valid(validator: Draft202012Validator) -> None:
    validator.validate(yaml.safe_load(WHOLE.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "{stor: x}",
        "{sync: {poll: 10}}",
        "{sync: {webhook: {secret: plain}}}",
        "{teams: [{name: payments}]}",
        "{teams: [{name: Payments, repo: x}]}",
        "{teams: [{name: aaa, repo: x, credentials: {token: {env: A, file: b}}}]}",
        "{teams: [{name: aaa, repo: x, gate: {memory: 5}}]}",
    ],
)
def test_mistakes_show_in_an_editor(validator: Draft202012Validator, text: str) -> None:
    assert list(validator.iter_errors(yaml.safe_load(text)))


def test_every_key_is_described_and_has_a_default_or_must_be_given() -> None:
    whole = schema()
    objects = {"": whole, **whole["$defs"]}
    for name, model in objects.items():
        for key, field in model.get("properties", {}).items():
            # A part of the configuration has the defaults of its own keys, and may have its description there as well.
            part = objects.get(str(field.get("$ref", "-")).removeprefix("#/$defs/"), {})
            description = field.get("description") or part.get("description")
            assert description, f"{name}.{key}"
            assert "default" in field or part or key in model["required"], f"{name}.{key}"
            assert ("Must be given." in description) == (key in model.get("required", [])), f"{name}.{key}"


def test_defaults_are_written_as_users_write_them() -> None:
    definitions: dict[str, Any] = schema()["$defs"]
    assert definitions["Gate"]["properties"]["timeout"]["default"] == "60s"
    assert definitions["Limits"]["properties"]["file"]["default"] == "100Mi"
    assert definitions["Team"]["properties"]["reparse"]["default"] == "never"
