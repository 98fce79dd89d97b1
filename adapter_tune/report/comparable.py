"""What two runs must share to be compared: the backbone and the data, each under the shortest name that is unique."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from adapter_tune.foundation.unique_names import NamedItem, shortest_unique_names
from adapter_tune.report.stored_config import StoredConfig, StoredData
from adapter_tune.run_files.result import Result
from adapter_tune.tasks.glue import CUSTOM


def settings_and_tasks(runs: Iterable[tuple[Result, StoredConfig]]) -> list[tuple[str, str]]:
    """Return the setting and the task of each run; runs with the same two may be compared.

    The setting is the backbone, the source of GLUE's data and the number of rows; the task is one of GLUE's, or the
    user's own data. Different ones have different names.
    """
    runs = list(runs)
    backbone_names = shortest_unique_names(_backbone(result) for result, _ in runs)
    glue_names = shortest_unique_names(_glue_data(config.data) for result, config in runs if result.task != CUSTOM)
    custom_names = shortest_unique_names(_custom_data(config.data) for result, config in runs if result.task == CUSTOM)
    settings_and_tasks = []
    for result, config in runs:
        parts = [backbone_names[_backbone(result).identity]]
        if result.task == CUSTOM:
            task = custom_names[_custom_data(config.data).identity]
        else:
            task = result.task
            parts.append(glue_names[_glue_data(config.data).identity])
        parts += _row_limits(config.data)
        settings_and_tasks.append((", ".join(part for part in parts if part), task))
    return settings_and_tasks


def _row_limits(data: StoredData) -> list[str]:
    limits = {"training": data.max_train_samples, "validation": data.max_eval_samples}
    return [f"{limit:,} {split} rows" for split, limit in limits.items() if limit]


def _backbone(result: Result) -> NamedItem:
    model = result.model
    short_id = Path(model.id).name or model.id
    full = f"{model.id} {model.fingerprint}"
    return NamedItem(full, (short_id, model.id, f"{model.id} {model.fingerprint[:8]}", full))


def _glue_data(data: StoredData) -> NamedItem:
    """Return the source of GLUE's data; its name is empty if all runs have the same source."""
    short = Path(data.source).name or data.source
    return NamedItem(data.source, ("", f"{short} data", f"{data.source} data"))


def _custom_data(data: StoredData) -> NamedItem:
    """Return the user's own data; they are the same if contents, label column, problem, metric and split are."""
    custom = data.custom
    source = custom.train_file or " ".join(filter(None, (data.source, custom.subset)))
    contents = custom.digest if custom.train_file and custom.digest else source
    holdout = None if custom.validation_file else custom.holdout
    score = [custom.metric, custom.positive]
    values = [contents, custom.label_column, custom.problem, custom.labels, *score, holdout]
    identity = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    short = f"{CUSTOM} {Path(source).name}"
    full = f"{CUSTOM} {source}"
    return NamedItem(identity, (CUSTOM, short, full, f"{full}, {custom.label_column}", f"{full} {identity[:8]}"))
