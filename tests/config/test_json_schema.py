"""The JSON Schemas: current, and of the same opinion as the commands about shipped and about mutated files."""

import json
import math
import os
import random
import re
import traceback
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pydantic
import pytest
from jsonschema import Draft7Validator
from packaging.version import Version

from adapter_tune.config.compose import compose
from adapter_tune.config.json_schema import option_descriptions, run_schema
from adapter_tune.config.schema import RunConfig
from adapter_tune.config.shipped import SCHEMA_COMMENT, schema_file, shipped_configs
from adapter_tune.config.yaml_files import read_yaml, to_yaml
from adapter_tune.foundation.errors import UsageError
from adapter_tune.strategies import REGISTRY
from adapter_tune.sweeps.json_schema import sweep_schema
from adapter_tune.sweeps.spec import Sweep, read_sweep
from adapter_tune.tasks.glue import TASKS

RUN, SWEEP = Draft7Validator(run_schema()), Draft7Validator(sweep_schema())
SHIPPED = {**shipped_configs(), **shipped_configs(sweeps=True)}
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 5, 64, 5.0, 0.5, 1e-3, 1e9, math.nan, math.inf, date(2026, 1, 1)),
    *(
        "",
        "x",
        "all",
        "top-6",
        "top-0",
        "2-6",
        "6-2",
        "auto",
        "on",
        "off",
        "frozen",
        "train",
        "learnt",
        "gelu",
        "custom",
    ),
    *("regression", "multi_label", "balanced", "random", "tpe", "halving", "training.seed", "strategy.m", "a b"),
    *([], [1], [0, 0], [0, 8], ["a", "b"], [1.5], [None], ["training.seed"], ["nothing"], {}, {"a": 1}, {"run": "x"}),
    *({"name": "lora", "r": 4}, {"name": "lora", "m": 4}, {"m": 8}, {"low": 1, "high": 2}, {"low": 2, "high": 1}),
    *({"low": 0.5, "high": 1, "integer": True}, {"training.seed": [1, 2]}, {"training": {"seed": 1}}, {"a b": [1]}),
    *REGISTRY,
    *TASKS,
]
SECTIONS = ["", "", "model", "strategy", "init_from", "data", "data.custom", "training"]


def text_values(path: Path) -> dict[str, Any]:
    """A file's values with keys as text, as the commands read them."""

    def as_text(value: Any) -> Any:
        return {str(key): as_text(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    return {str(key): as_text(value) for key, value in read_yaml(path)[0].items()}


def refusal(check: Callable[[str], Any], path: Path) -> UsageError | None:
    """What a command says of a file; None if it is valid."""
    try:
        check(str(path))
    except UsageError as error:
        return error
    return None


def leaves(value: Any) -> Iterator[Any]:
    """Every value at any depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict | list):
        for each in inner:
            yield from leaves(each)
    else:
        yield value


def reason(error: UsageError, values: dict[str, Any]) -> str | None:
    """Why a schema cannot say what a command says; None if there is no such reason."""
    functions: set[str] = set()
    cause: BaseException | None = error
    while cause is not None:
        functions |= {frame.name for frame in traceback.extract_tb(cause.__traceback__)}
        cause = cause.__context__
    if "_check_combinations" in functions:
        return "options of a run that exclude each other"
    if "lacks" in str(error):
        return "repeat names the parameters of average_over"
    if re.search(r"needs low < high|needs whole numbers as bounds", str(error)):
        return "the bounds of a range, compared with each other"
    bounds = re.fullmatch(r"(\d+)-(\d+)", str((values.get("strategy") or {}).get("layers", "")))
    if bounds and int(bounds[1]) > int(bounds[2]):
        return "the bounds of a range, compared with each other"
    numbers = [value for value in leaves(values) if isinstance(value, float)]
    if any(not math.isfinite(value) or value.is_integer() for value in numbers):
        return "JSON Schema has one type of number: 5.0 is a whole number, and NaN and infinity are not refused"
    return None


def mutated(values: dict[str, Any], draw: random.Random, sections: list[str], names: list[str]) -> dict[str, Any]:
    """The values of a file after one to three changes."""
    values = deepcopy(values)
    for _ in range(draw.randint(1, 3)):
        section = values
        for part in filter(None, draw.choice(sections).split(".")):
            if not isinstance(section.get(part), dict):
                section[part] = {}
            section = section[part]
        kind = draw.choice(["set", "set", "set", "delete", "typo"])
        known = draw.choice(names) if draw.random() < 0.5 or not section else draw.choice(list(section))
        if kind == "set":
            section[known] = draw.choice(VALUES)
        elif kind == "delete":
            section.pop(known, None)
        elif known in section:
            section[known[:-1] or "x"] = section.pop(known)
    return values


def judged(validator: Any, check: Callable[[str], Any], folder: Path, count: int, sweeps: bool) -> dict[str, int]:
    """The number of mutated files by opinion: both accept, both refuse, or the reason of a difference."""
    draw = random.Random(17)
    files = list(shipped_configs(sweeps=sweeps).values())
    paths = sorted(option_descriptions())
    names = list(Sweep.model_fields) if sweeps else sorted({path.split(".")[-1] for path in paths})
    sections = ["", "", "set", "parameters", "repeat"] if sweeps else SECTIONS
    counts: dict[str, int] = {}
    path = folder / "mutated.yaml"
    for _ in range(count):
        names_here = [*names, *draw.sample(paths, 9)] if sweeps else names
        values = mutated(read_yaml(draw.choice(files))[0], draw, sections, names_here)
        path.write_text(to_yaml(values), encoding="utf-8")
        values = text_values(path)
        is_accepted, error = validator.is_valid(values), refusal(check, path)
        opinion = "accepted" if error is None else "refused"
        if is_accepted != (error is None):
            assert error is not None, f"the schema refuses {values}: {next(validator.iter_errors(values)).message}"
            cause = reason(error, values)
            assert cause, f"the schema accepts {values}: {error}"
            opinion = cause
        counts[opinion] = counts.get(opinion, 0) + 1
    return counts


@pytest.mark.parametrize(("sweeps", "make"), [(False, run_schema), (True, sweep_schema)], ids=["run", "sweep"])
def test_the_shipped_schema_is_current(sweeps: bool, make: Callable[[], dict[str, Any]]) -> None:
    """With ADAPTER_TUNE_WRITE=1 it is written."""
    path = schema_file(sweeps=sweeps)
    text = json.dumps(make(), indent=2) + "\n"
    if os.environ.get("ADAPTER_TUNE_WRITE"):
        path.write_text(text, encoding="utf-8")
    Draft7Validator.check_schema(make())
    shipped = path.read_text(encoding="utf-8")
    if Version(pydantic.VERSION) >= Version("2.11"):
        assert shipped == text
    else:  # which writes the same in other words
        assert normalized(json.loads(shipped)) == normalized(make())


def normalized(schema: Any) -> Any:
    """A schema without what pydantic below 2.11 writes in another way."""
    if isinstance(schema, list):
        return [normalized(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: normalized(part) for key, part in schema.items()}
    if schema.get("additionalProperties") is True:  # as without it
        del schema["additionalProperties"]
    if schema.get("enum") == [schema.get("const")]:
        del schema["enum"]
    if len(schema.get("allOf", [])) == 1:
        schema.update(schema.pop("allOf")[0])
    return schema


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_names_its_schema_and_fits_it(name: str) -> None:
    path = SHIPPED[name]
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    named = path.parent / first.removeprefix(SCHEMA_COMMENT)
    assert named.resolve() == schema_file(sweeps="/sweeps/" in name).resolve()
    validator = SWEEP if "/sweeps/" in name else RUN
    assert not [error.message for error in validator.iter_errors(text_values(path))]


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_runs(count: int, tmp_path: Path) -> None:
    counts = judged(RUN, compose, tmp_path, count, sweeps=False)
    assert min(counts["accepted"], counts["refused"]) > count / 10, counts


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_sweeps(count: int, tmp_path: Path) -> None:
    counts = judged(SWEEP, read_sweep, tmp_path, count, sweeps=True)
    assert min(counts["accepted"], counts["refused"]) > count / 10, counts


@pytest.mark.parametrize(
    "text",
    [
        "task: rte\nstrategy: full\nmodel: {pooler: frozen}\n",
        "task: rte\ndata: {custom: {subset: x}}\n",
        "task: rte\nstrategy: {layers: 6-2}\n",
        "task: rte\ntraining: {seed: 5.0}\n",
        "task: rte\ntraining: {adam_epsilon: .inf}\n",
        "name: x\nparameters: {training.seed: [1]}\nrepeat: {strategy.m: [2]}\n",
        "name: x\nmethod: tpe\ntrials: 3\nparameters: {training.warmup: {low: 1, high: 0}}\n",
    ],
)
def test_what_a_schema_cannot_say(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    validator, check = (SWEEP, read_sweep) if "name:" in text else (RUN, compose)
    error = refusal(check, path)
    assert error is not None
    assert reason(error, text_values(path))
    assert validator.is_valid(text_values(path))


@pytest.mark.parametrize(
    ("text", "check"),
    [("task: rte\nepochs:\n", compose), ("name: x\nparameters: {task: [rte]}\ntrails:\n", read_sweep)],
)
def test_an_unknown_key_is_refused_without_a_value_too(text: str, check: Any, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(text)
    error = refusal(check, tmp_path / "file.yaml")
    assert "unknown option" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "task: rte\nepochs: 3\n",
        "task: rte\ntraining: {epoch: 3}\n",
        "task: rte\ndata: {custom: {file: x}}\n",
        "task: rte\nstrategy: {name: lora, m: 4}\n",
        "task: rte\nstrategy: {r: 4}\n",
        "name: x\nparameters: {training.seed: [1]}\ntrails: 3\n",
        "name: x\nmethod: tpe\nparameters: {training.seed: [1]}\n",
        "name: x\nmethod: grid\ntrials: 3\nparameters: {training.seed: [1]}\n",
        "name: x\nparameters: {training.warmup: {low: 0.1, high: 0.2}}\n",
        "name: x\nmethod: random\ntrials: 3\nparameters: {training.warmup: {low: 0.1, hihg: 0.2}}\n",
    ],
)
def test_what_schema_and_commands_refuse(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    validator, check = (SWEEP, read_sweep) if text.startswith("name:") else (RUN, compose)
    assert refusal(check, path) is not None
    assert not validator.is_valid(text_values(path))


@pytest.mark.parametrize("name", REGISTRY)
def test_a_strategy_is_known_by_its_name_alone_and_as_a_section(name: str) -> None:
    options = {"name": name, **REGISTRY[name]().model_dump()}
    assert RUN.is_valid({"task": "rte", "strategy": name})
    assert RUN.is_valid({"task": "rte", "strategy": options})
    (error,) = RUN.iter_errors({"task": "rte", "strategy": {**options, "nothing": 1}})
    assert "'nothing' was unexpected" in json.dumps([inner.message for inner in error.context])


def test_every_option_has_a_description() -> None:
    schema = run_schema()
    nodes = [schema, *schema["$defs"].values()]
    for node in nodes:
        options = {name: option for name, option in node["properties"].items() if option is not True}
        assert all(option["description"] for option in options.values()), node["title"]
    assert RunConfig.model_fields.keys() == schema["properties"].keys()
