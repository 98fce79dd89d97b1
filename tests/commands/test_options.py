"""The definitions of options: each once, and each used by a command."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_args, get_origin

import pytest
from typer.models import ParameterInfo

from adapter_tune.commands import options
from adapter_tune.commands.options.serving import DeviceName, PrecisionName
from adapter_tune.config.schema import TrainingConfig
from adapter_tune.exchange.registry import FORMATS

COMMANDS = Path(options.__file__).parent.parent
FILES = [module.name for module in iter_modules(options.__path__)]


def definitions(file: str) -> dict[str, ParameterInfo]:
    """The options and arguments that a file defines, by name."""
    values: dict[str, Any] = vars(import_module(f"{options.__name__}.{file}"))
    return {name: value.__metadata__[0] for name, value in values.items() if get_origin(value) is not None}


def test_no_option_is_defined_twice() -> None:
    texts = [(each.param_decls, each.metavar, each.help) for file in FILES for each in definitions(file).values()]
    assert len(texts) > 100
    assert [text for text in texts if texts.count(text) > 1] == []
    names = [name for file in FILES for name in definitions(file)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("file", FILES)
def test_every_option_is_used(file: str) -> None:
    sources = "\n".join(path.read_text() for path in [*COMMANDS.glob("*.py"), COMMANDS.parent / "cli.py"])
    assert definitions(file).keys() - set(re.findall(rf"\b{file}\.(\w+)", sources)) == set()


def test_values_are_those_of_the_registries_and_the_schema() -> None:
    for field, names in (("device", DeviceName), ("precision", PrecisionName)):
        assert tuple(each.value for each in names) == get_args(TrainingConfig.model_fields[field].annotation)
    words = definitions("exchange")["ExportFormat"].help
    assert words is not None
    assert set(re.findall(r"[a-z0-9]+", words.partition(":")[2])) - {"or"} == FORMATS.keys()
