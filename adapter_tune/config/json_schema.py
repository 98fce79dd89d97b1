"""The JSON Schema of a configuration's YAML file, which editors and other validators read.

It is draft 7, the draft that most editors support; there a ``$ref`` stands alone or in an ``allOf``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from adapter_tune.config.compose import SHORT_FORM
from adapter_tune.config.schema import RunConfig, Section
from adapter_tune.foundation.validation_messages import meanings
from adapter_tune.strategies import REGISTRY, Strategy

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"


class _Generator(GenerateJsonSchema):
    """Pydantic's generator without the titles of options, which only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No option has a title."""
        return False


def run_schema() -> Schema:
    """Return the JSON Schema of the YAML file of a run."""
    schema = model_schema(RunConfig)
    definitions = schema["$defs"]
    for cls in _sections(RunConfig):
        describe(definitions[cls.__name__], cls)
    definitions["Strategy"] = _strategy_section()
    definitions.update({_definition(name): _strategy_options(name) for name in REGISTRY})
    describe(schema, RunConfig)
    for name, section in schema["properties"].items():
        if name not in schema["required"]:
            schema["properties"][name] = _optional(name, section)
    return {"$schema": DIALECT, **schema, "title": "A run of adapter-tune"}


def model_schema(cls: type[BaseModel]) -> Schema:
    """Return pydantic's JSON Schema of a class, without titles of options."""
    return cls.model_json_schema(schema_generator=_Generator)


def describe(schema: Schema, cls: type[BaseModel]) -> None:
    """Give each option in a class's schema its description, in place."""
    for name, text in meanings(cls).items():
        schema["properties"][name]["description"] = text.replace("``", "`")


def option_descriptions() -> dict[str, str]:
    """Return the description of each option and each section of a run by its dotted path.

    An option that several strategies have is described by the first of them.
    """
    texts = _descriptions(RunConfig, "")
    texts["strategy.name"] = _NAME
    for cls in REGISTRY.values():
        for name, text in meanings(cls).items():
            texts.setdefault(f"strategy.{name}", text)
    return texts


_NAME = "The strategy's name; its other options depend on it."


def _descriptions(cls: type[BaseModel], prefix: str) -> dict[str, str]:
    texts = {}
    for name, text in meanings(cls).items():
        texts[prefix + name] = text
        inner = cls.model_fields[name].annotation
        if inspect.isclass(inner) and issubclass(inner, Section):
            texts.update(_descriptions(inner, f"{prefix}{name}."))
    return texts


def _sections(cls: type[BaseModel]) -> Iterator[type[Section]]:
    """Every section in a class, at any depth."""
    for field in cls.model_fields.values():
        inner = field.annotation
        if inspect.isclass(inner) and issubclass(inner, Section):
            yield inner
            yield from _sections(inner)


def _optional(name: str, option: Schema) -> Schema:
    """An option of the top level: it may be null, and some sections may be written as a plain string."""
    description = option.pop("description")
    section = RunConfig.model_fields[name].annotation
    if not (inspect.isclass(section) and issubclass(section, Section | Strategy)):
        default = option.pop("default")
        return {"description": description, "default": default, "anyOf": [option, {"type": "null"}]}
    forms: list[Schema] = [{"$ref": f"#/$defs/{section.__name__}"}, {"type": "null"}]
    if section is Strategy:
        forms.insert(0, {"enum": sorted(REGISTRY)})
    elif name in SHORT_FORM:
        key = section.model_fields[SHORT_FORM[name]]
        shortest = [part.min_length for part in key.metadata if hasattr(part, "min_length")]
        forms.insert(0, {"type": "string", **({"minLength": shortest[0]} if shortest else {})})
    return {"description": description, "anyOf": forms}


def _definition(strategy: str) -> str:
    return f"strategy.{strategy}"


def _strategy_section() -> Schema:
    """The ``strategy`` section: the name decides which other options there are.

    Conditions, and not a ``oneOf``, so that a validator reports the wrong option and not one alternative per strategy.
    """
    default = RunConfig.model_fields["strategy"].default.name
    cases: list[Schema] = [{"if": {"not": {"required": ["name"]}}, "then": {"$ref": f"#/$defs/{_definition(default)}"}}]
    for name in sorted(REGISTRY):
        condition = {"properties": {"name": {"const": name}}, "required": ["name"]}
        cases.append({"if": condition, "then": {"$ref": f"#/$defs/{_definition(name)}"}})
    name_option = {"description": _NAME, "enum": sorted(REGISTRY), "default": default}
    return {
        "type": "object",
        "description": meanings(RunConfig)["strategy"],
        "properties": {"name": name_option},
        "allOf": cases,
    }


def _strategy_options(name: str) -> Schema:
    cls = REGISTRY[name]
    schema = model_schema(cls)
    schema.setdefault("properties", {})
    describe(schema, cls)
    schema["properties"] = {"name": True, **schema["properties"]}
    return {**schema, "description": cls.summary(), "title": name}
