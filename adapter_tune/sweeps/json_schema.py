"""The JSON Schema of a sweep's YAML file."""

from __future__ import annotations

from typing import Any

from adapter_tune.config.json_schema import DIALECT, Schema, describe, model_schema, option_descriptions
from adapter_tune.sweeps.spec import Range, Sweep

_PATH = r"^[^\s.]+(\.[^\s.]+)*$"


def sweep_schema() -> Schema:
    """Return the JSON Schema of the YAML file of a sweep.

    The values of options have the types that the options have; ``sweep --dry-run`` checks them.
    """
    schema = model_schema(Sweep)
    describe(schema, Sweep)
    options = schema["properties"]
    for section in ("set", "parameters", "repeat"):
        options[section] = {**options[section], "allOf": [{"$ref": "#/$defs/Options"}]}
    options["parameters"] |= {"additionalProperties": {"$ref": "#/$defs/Values"}, "minProperties": 1}
    paths = option_descriptions()
    for section in ("group_by", "average_over"):
        options[section]["items"] = {"$ref": "#/$defs/Path"}
    for name in options.keys() - set(schema["required"]):
        options[name] = _or_null(options[name])
    definitions = {"Options": _options(paths), "Path": {"enum": sorted(paths)}, "Range": _range(), "Values": _values()}
    return {
        "$schema": DIALECT,
        **schema,
        "title": "A sweep of adapter-tune",
        "$defs": definitions,
        "allOf": [_method()],
    }


def _options(paths: dict[str, str]) -> Schema:
    """Values by the dotted path of an option. Strategies may have further options, so other paths are allowed."""
    properties = {path: {"description": text} for path, text in paths.items()}
    return {"type": "object", "propertyNames": {"pattern": _PATH}, "properties": properties}


def _range() -> Schema:
    schema = model_schema(Range)
    describe(schema, Range)
    return schema


def _values() -> Schema:
    return {"anyOf": [{"type": "array", "minItems": 1}, {"$ref": "#/$defs/Range"}]}


def _method() -> Schema:
    """A search needs trials and may have ranges; a grid has neither."""
    search = {"properties": {"method": {"enum": ["random", "tpe"]}}, "required": ["method"]}
    needs_trials = {"properties": {"trials": {"type": "integer"}}, "required": ["trials"]}
    lists: dict[str, Any] = {"additionalProperties": {"type": "array"}}
    return {
        "if": search,
        "then": needs_trials,
        "else": {"properties": {"trials": {"type": "null"}, "parameters": lists}},
    }


def _or_null(option: Schema) -> Schema:
    shared: Schema = {key: option.pop(key) for key in ("description", "default") if key in option}
    if {"type": "null"} in option.get("anyOf", []):
        return {**shared, **option}
    return {**shared, "anyOf": [option, {"type": "null"}]}
