"""The JSON Schema of ``aerodrome.yaml``, for editors: durations and sizes are text, as users write them."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from aerodrome.config.model import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Schema(GenerateJsonSchema):
    """Without the titles that pydantic makes of field names: editors show the keys themselves."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the configuration."""
    return {
        "$schema": DIALECT,
        **Config.model_json_schema(by_alias=True, mode="validation", schema_generator=_Schema),
        "title": "aerodrome.yaml",
    }
