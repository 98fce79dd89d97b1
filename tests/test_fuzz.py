"""Whatever comes from elsewhere is valid or ends in one clear error; never in another exception.

A hundred inputs of each kind here; ``make fuzz`` tries 100,000 in all (the profiles are in ``conftest.py``).
"""

import io
import json
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from ruamel.yaml import YAML
from torch import nn

from adapter_tune.config.compose import compose
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import (
    CustomDataConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
    parse_config,
)
from adapter_tune.data.custom import load_tables, resolve_config
from adapter_tune.foundation.errors import AdapterTuneError, FieldError
from adapter_tune.run_files import adapter_files, checkpoints
from adapter_tune.run_files.ablation_result import read_ablation
from adapter_tune.run_files.result import read_result
from adapter_tune.runs.run_config import parse_stored
from adapter_tune.strategies import REGISTRY
from adapter_tune.sweeps.cells import cells, config_of
from adapter_tune.sweeps.spec import Range, Sweep, read_sweep
from adapter_tune.tasks.glue import CUSTOM

fuzz = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


def clear(call: Callable[[], Any]) -> Any:
    """What a call returns; None where it ends in a clear error of one line."""
    try:
        return call()
    except (AdapterTuneError, FieldError) as error:
        text = str(error)
        assert text.strip()
        assert len(text) < 3000
        return None


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 70), st.floats(), st.floats(0, 1), st.text(max_size=8),
    st.sampled_from(["auto", "on", "off", "demo", "../x", "custom", "mnli", "1e-3", "all", "top-2", "0-1", "\0"]),
)  # fmt: skip
fields = sorted({
    *RunConfig.model_fields, *ModelConfig.model_fields, *DataConfig.model_fields, *CustomDataConfig.model_fields,
    *TrainingConfig.model_fields,
    *Sweep.model_fields, *Range.model_fields, *adapter_files.AdapterConfig.model_fields, "name",
    *(name for one in REGISTRY.values() for name in one.model_fields),
})  # fmt: skip
keys = st.one_of(st.sampled_from(fields), st.sampled_from(["strategy.m", "training.seed", "a.b.c", ".", "model."]),
                 st.text(max_size=5))  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=9,
)
named = st.fixed_dictionaries({"name": st.one_of(st.sampled_from(sorted(REGISTRY)), scalars)})
section = st.one_of(
    anything, st.tuples(named, st.dictionaries(keys, scalars, max_size=3)).map(lambda t: {**t[1], **t[0]})
)


def of(part: type[BaseModel]) -> st.SearchStrategy[Any]:
    """A section with keys of its own, or anything."""
    return st.one_of(anything, st.dictionaries(st.sampled_from(sorted(part.model_fields)), anything, max_size=4))


configs = st.fixed_dictionaries(
    {},
    optional={
        "task": st.one_of(st.sampled_from(["mnli", "stsb", "custom"]), anything), "strategy": section,
        "model": of(ModelConfig), "data": of(DataConfig), "training": of(TrainingConfig),
        "output": scalars,
    },
)  # fmt: skip


@fuzz
@given(values=st.one_of(configs, st.dictionaries(keys, anything, max_size=5)))
def test_nested_values(values: dict[str, Any]) -> None:
    config = clear(lambda: parse_config(values))
    if config is not None:
        assert parse_config(json.loads(json.dumps(config.model_dump()))) == config
        if config.task != CUSTOM:
            assert len(resolved(config).folder.parts[-1]) < 255


overrides = st.tuples(keys, keys, scalars).map(lambda t: f"{t[0]}.{t[1]}={t[2]}")


@fuzz
@given(sets=st.lists(st.one_of(st.text(max_size=20), overrides), max_size=3))
def test_overrides(sets: list[str]) -> None:
    clear(lambda: compose(None, {"--task task": "rte"}, sets))


def dumped(values: Any) -> bytes:
    """As YAML, if it can be written at all."""
    stream = io.BytesIO()
    try:
        YAML(typ="safe", pure=True).dump(values, stream)
    except Exception:  # the writer's own trouble
        return repr(values).encode("utf-8", "replace")
    return stream.getvalue()


@fuzz
@given(content=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode), configs.map(dumped)))
def test_yaml_files(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    clear(lambda: compose(str(path)))


ranges = st.fixed_dictionaries({"low": scalars, "high": scalars}, optional={"log": scalars, "integer": scalars})
sweeps = st.fixed_dictionaries(
    {"name": st.sampled_from(["s", "a b"]),
     "parameters": st.dictionaries(keys, st.one_of(anything, ranges, st.lists(section, max_size=3)), max_size=3)},
    optional={"set": st.dictionaries(keys, scalars, max_size=2), "method": st.sampled_from(["grid", "tpe", "x"]),
              "trials": scalars, "repeat": anything, "base": scalars, "average_over": anything, "group_by": anything},
)  # fmt: skip


@fuzz
@given(values=sweeps)
def test_sweeps(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "sweep.yaml"
    path.write_bytes(dumped(values))
    sweep = clear(lambda: read_sweep(str(path)))
    for cell in cells(sweep)[:5] if sweep is not None and sweep.method == "grid" else ():
        clear(partial(config_of, sweep, cell, path.parent))


odd = st.text(alphabet=st.sampled_from(list('ab,;\t"\n\r{}[]:01.\0é \ud800')), max_size=80)
content = st.one_of(st.binary(max_size=80), odd.map(lambda t: f"text,label\n{t}".encode("utf-8", "surrogatepass")))
endings = st.sampled_from(["csv", "tsv", "jsonl", "parquet"])


@fuzz
@given(content=content, ending=endings, labels=st.sampled_from([None, ["a", "b"]]))
def test_tables(tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, labels: Any) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz.{ending}"
    path.write_bytes(content)
    values = {"task": "custom", "data": {"custom": {"train_file": str(path), "labels": labels}}}
    clear(lambda: load_tables(resolve_config(parse_config(values))))


value_in_cell = st.one_of(
    st.none(), st.integers(-3, 3), st.floats(), st.text(max_size=5), st.booleans(), st.binary(max_size=3)
)


@fuzz
@given(rows=st.lists(st.dictionaries(st.sampled_from(["text", "label", "x"]), value_in_cell, max_size=3), max_size=6),
       ending=st.sampled_from(["jsonl", "parquet"]))  # fmt: skip
def test_tables_of_anything(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ending: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"rows.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row, default=repr) + "\n" for row in rows))
    else:
        try:
            pq.write_table(pa.Table.from_pylist(rows), path)
        except (pa.ArrowException, TypeError):  # columns of several types
            return
    clear(
        lambda: load_tables(
            resolve_config(parse_config({"task": "custom", "data": {"custom": {"train_file": str(path)}}}))
        )
    )


WHOLE: dict[str, Any] = {
    "format": 2, "task": "rte", "labels": ["entailment", "not_entailment"], "fingerprint": "0", "max_length": 32,
    "model": {"id": "demo", "revision": None, "pooler": "train"}, "strategy": {"name": "houlsby", "m": 4}, "data": {},
    "sha256": "0",
}  # fmt: skip


@fuzz
@given(changes=st.dictionaries(st.one_of(st.sampled_from(sorted(WHOLE)), keys), anything, max_size=3))
def test_adapter_configurations(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / adapter_files.CONFIG).write_text(json.dumps({**WHOLE, **changes}), encoding="utf-8", errors="replace")
    found = clear(lambda: adapter_files.read_adapter_config(folder))
    if found is not None:
        values = {"task": found.task, "model": found.model, "strategy": found.strategy, "data": found.data}
        clear(lambda: parse_stored(values, folder / adapter_files.CONFIG))


@fuzz
@given(content=st.one_of(st.binary(max_size=60), st.binary(max_size=400).map(lambda b: b'{"format": 1, ' + b),
                         anything.map(lambda v: json.dumps(v).encode("utf-8", "replace"))))  # fmt: skip
def test_records(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "checkpoint-3"
    folder.mkdir(exist_ok=True)
    for name in ("result.json", "ablation.json", adapter_files.CONFIG, checkpoints.FILE):
        (folder / name).write_bytes(content)
    for read in (read_result, read_ablation, adapter_files.read_adapter_config):
        clear(partial(read, folder))
    checkpoints.newest(folder.parent)


offsets = st.tuples(st.integers(0, 99), st.integers(0, 99))
entry = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "I8", "X"]),
        "shape": st.one_of(st.lists(st.integers(0, 9)), anything),
        "data_offsets": st.one_of(offsets, anything),
    },
)
headers = st.dictionaries(
    st.sampled_from(["weight", "bias", "__metadata__", "x"]), st.one_of(entry, anything), max_size=4
)


@fuzz
@given(header=headers, data=st.binary(max_size=99), length=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_headers_of_weights(
    tmp_path_factory: pytest.TempPathFactory, header: Any, data: bytes, length: int | None
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = json.dumps(header).encode("utf-8", "replace")
    (folder / adapter_files.WEIGHTS).write_bytes(
        struct.pack("<Q", len(text) if length is None else length) + text + data
    )
    clear(lambda: adapter_files.check_size(folder, 10))
    clear(lambda: adapter_files.load_weights(nn.Linear(3, 2), frozenset(), folder))
