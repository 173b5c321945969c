"""The JSON Schema of the story file, and the small part of JSON Schema it takes to check a document against it.

The shipped schema is the one definition: the light validator here reads it at load, the tests read it with `jsonschema`
and check that both agree.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from fdvs.errors import InputError

SCHEMA_FILE = "fdvs-story-1.schema.json"
_KNOWN = {
    "$schema", "$id", "$defs", "$ref", "title", "description", "type", "const", "enum", "pattern", "minLength",
    "minimum", "maximum", "exclusiveMinimum", "properties", "required", "additionalProperties", "items", "minItems",
    "maxItems", "uniqueItems",
}  # fmt: skip


@cache
def story_schema() -> dict[str, Any]:
    """The schema of `fdvs-story/1` as shipped (draft 2020-12)."""
    text = resources.files("fdvs.stories").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check_against_schema(data: object) -> None:
    """Check a document against the shipped schema.

    Raises:
        InputError: the first place that does not fit, such as `nodes[3].start_s: must be at least 0, got -1`.
    """
    _check(data, story_schema(), "")


def _check(value: object, schema: Mapping[str, Any], where: str) -> None:
    if "$ref" in schema:
        _check(value, story_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")], where)
    unknown = schema.keys() - _KNOWN
    assert not unknown, f"the light validator does not know {unknown}"
    _check_value(value, schema, where)
    if isinstance(value, Mapping):
        _check_object(value, schema, where)
    elif isinstance(value, list):
        _check_list(value, schema, where)


def _fail(where: str, what: str) -> InputError:
    return InputError(f"{where or 'the document'}: {what}")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else text[:59] + "…"


_TYPES: dict[str, Callable[[object], bool]] = {
    "object": lambda v: isinstance(v, Mapping),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v),
}


def _check_value(value: object, schema: Mapping[str, Any], where: str) -> None:
    wanted = schema.get("type")
    if wanted is not None:
        types = [wanted] if isinstance(wanted, str) else wanted
        if not any(_TYPES[name](value) for name in types):
            raise _fail(where, f"must be {' or '.join(types)}, got {_shown(value)}")
    if "const" in schema and value != schema["const"]:
        raise _fail(where, f"must be {_shown(schema['const'])}, got {_shown(value)}")
    if "enum" in schema and value not in schema["enum"]:
        raise _fail(where, f"must be one of {', '.join(map(str, schema['enum']))}, got {_shown(value)}")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            raise _fail(where, f"must match {schema['pattern']}, got {_shown(value)}")
        if len(value) < schema.get("minLength", 0):
            raise _fail(where, "must not be empty")
    elif isinstance(value, int | float):
        _check_number(value, schema, where)


def _check_number(value: float, schema: Mapping[str, Any], where: str) -> None:
    if "minimum" in schema and value < schema["minimum"]:
        raise _fail(where, f"must be at least {schema['minimum']}, got {_shown(value)}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        raise _fail(where, f"must be above {schema['exclusiveMinimum']}, got {_shown(value)}")
    if "maximum" in schema and value > schema["maximum"]:
        raise _fail(where, f"must be at most {schema['maximum']}, got {_shown(value)}")


def _check_object(value: Mapping[str, object], schema: Mapping[str, Any], where: str) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise _fail(where, f"lacks {name!r}")
    for name, item in value.items():
        inner = f"{where}.{name}" if where else name
        if name in properties:
            _check(item, properties[name], inner)
        elif schema.get("additionalProperties", True) is False:
            raise _fail(where, f"has the unknown key {_shown(name)}")
        elif isinstance(schema.get("additionalProperties"), Mapping):
            _check(item, schema["additionalProperties"], inner)


def _check_list(value: list[object], schema: Mapping[str, Any], where: str) -> None:
    if len(value) < schema.get("minItems", 0):
        raise _fail(where, f"needs at least {schema['minItems']} items, got {len(value)}")
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        raise _fail(where, f"has {len(value)} items, at most {schema['maxItems']} are allowed")
    if schema.get("uniqueItems") and len({json.dumps(item, sort_keys=True) for item in value}) != len(value):
        raise _fail(where, "has the same item twice")
    if "items" in schema:
        for i, item in enumerate(value):
            _check(item, schema["items"], f"{where}[{i}]")
