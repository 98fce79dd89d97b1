"""What two runs must share to be compared: the backbone and the data; named as shortly as tells them apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from adapter_tune.report.stored_config import Stored, StoredData
from adapter_tune.report.unique_names import NamedItem, shortest_unique_names
from adapter_tune.run_files.result import Result
from adapter_tune.tasks.glue import CUSTOM


def places(runs: Iterable[tuple[Result, Stored]]) -> list[tuple[str, str]]:
    """The section and the column of every run: its setting and its task, each by a name that no other one has."""
    runs = list(runs)
    backbones = shortest_unique_names(_backbone(result) for result, _ in runs)
    sources = shortest_unique_names(_glue(config.data) for result, config in runs if result.task != CUSTOM)
    own = shortest_unique_names(_own(config.data) for result, config in runs if result.task == CUSTOM)
    out = []
    for result, config in runs:
        backbone, is_own = backbones[_backbone(result).identity], result.task == CUSTOM
        source = "" if is_own else sources[_glue(config.data).identity]
        task = own[_own(config.data).identity] if is_own else result.task
        out.append((", ".join(part for part in (backbone, source, *_rows(config.data)) if part), task))
    return out


def _rows(data: StoredData) -> list[str]:
    limits = {"training": data.max_train_samples, "validation": data.max_eval_samples}
    return [f"{most:,} {split} rows" for split, most in limits.items() if most]


def _backbone(result: Result) -> NamedItem:
    model = result.model
    short, whole = Path(model.id).name or model.id, f"{model.id} {model.fingerprint}"
    return NamedItem(whole, (short, model.id, f"{model.id} {model.fingerprint[:8]}", whole))


def _glue(data: StoredData) -> NamedItem:
    """GLUE's data are not named where all runs have them from one place."""
    short = Path(data.source).name or data.source
    return NamedItem(data.source, ("", f"{short} data", f"{data.source} data"))


def _own(data: StoredData) -> NamedItem:
    """Data of the user's own: the same contents wherever they lie, and the same question asked of them."""
    place = data.train_file or " ".join(filter(None, (data.source, data.subset)))
    contents = data.digest if data.train_file and data.digest else place
    holdout = None if data.validation_file else data.holdout
    asked = [contents, data.label_column, data.problem, data.labels, data.metric, holdout]
    identity = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    whole = f"{CUSTOM} {place}"
    return NamedItem(
        identity,
        (CUSTOM, f"{CUSTOM} {Path(place).name}", whole, f"{whole}, {data.label_column}", f"{whole} {identity[:8]}"),
    )
