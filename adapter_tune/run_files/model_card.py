"""The model card of a saved adapter: metadata for the Hub, and a description for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from adapter_tune.demo.location import DEMO
from adapter_tune.run_files.result import ImportedRun, Result, RunRecord, Scores
from adapter_tune.tasks.glue import CUSTOM

_TASK_TYPE = "text-classification"
_LOCAL = "local"
_HUB_ID = re.compile(r"(?:[\w-]+/)?[\w.-]+", re.ASCII)
"""What the Hub accepts as an id, also in ``model-index``."""

_TEMPLATE = """---
{{ card_data }}
---

# {{ result.task }}-{{ result.strategy }}

Task {{ result.task }}, strategy {{ result.strategy }}, on `{{ result.model.id }}` (fingerprint `{{ fingerprint }}`).
{{ trained }} parameters were trained, {{ trained_percent }} % of the model without adapters.
This folder contains them, but not the backbone.

{% if eval_results -%}
| split | metric | value |
| --- | --- | --- |
{%- for score in eval_results %}
| {{ score.dataset_split }} | {{ score.metric_name or score.metric_type }} | {{ "%.4f" | format(score.metric_value) }} |
{%- endfor %}
{%- else -%}
It has not been scored here.
{%- endif %}

## Use

```python
import adapter_tune

model, tokenizer = adapter_tune.load("path/to/this/folder")
```

## How it was made

{% if result.imported_from -%}
It was trained with another library and imported ({{ result.imported_from }}).
{%- else -%}
Seed {{ result.seed }}, configuration hash `{{ result.config_hash }}`; see `config.yaml` in the run folder.
{%- endif %}
{%- if origin %}
Training started from the adapter of the run `{{ origin }}` (digest `{{ result.config.init_from.digest }}`).
{%- endif %}
Versions: {{ versions }}.
"""


def model_card(result: RunRecord) -> str:
    """The card as Markdown with YAML front matter (``base_model``, ``datasets``, ``metrics``, ``model-index``)."""
    eval_results = _eval_results(result)
    card = ModelCard.from_template(
        _card_data(result, eval_results),
        template_str=_TEMPLATE,
        result=result,
        eval_results=eval_results,
        origin=Path(result.config.get("init_from", {}).get("run") or "").name,
        fingerprint=result.model.fingerprint[:16],
        trained=f"{result.parameters.trained:,}",
        trained_percent=f"{result.parameters.trained_percent:.2f}",
        versions=", ".join(f"{name} {version}" for name, version in result.versions.items()),
    )
    return f"{card}\n"


def _card_data(result: RunRecord, eval_results: list[Any]) -> ModelCardData:
    dataset, _ = _data_set(result)
    return ModelCardData(
        base_model=result.model.id if on_hub(result.model.id) else None,
        datasets=None if dataset == _LOCAL else [dataset],
        metrics=sorted({_metric_type(metric) for scores in _scores(result).values() for metric in scores}),
        tags=["adapter-tune", result.strategy],
        model_name=f"{result.task}-{result.strategy}",
        eval_results=eval_results,
    )


def _eval_results(result: RunRecord) -> list[Any]:
    dataset, title = _data_set(result)
    results = []
    for split, scores in _scores(result).items():
        for metric, value in scores.items():
            type_ = _metric_type(metric)
            name = None if metric == type_ else metric
            results.append(EvalResult(_TASK_TYPE, dataset, title, type_, value, dataset_split=split, metric_name=name))
    return results


def _scores(result: RunRecord) -> Scores:
    """The scores by split; an imported run has none."""
    return result.scores if isinstance(result, Result) else {}


def _metric_type(metric: str) -> str:
    """A metric's name on the Hub: that of ours without the class, as in ``f1(spam)``."""
    return metric.partition("(")[0]


def _data_set(result: RunRecord) -> tuple[str, str]:
    """The data set's id on the Hub, or "local" if it is not there; and its title."""
    data = result.config["data"]
    file = data["custom"]["train_file"]
    if result.task == CUSTOM and file is not None:
        return _LOCAL, Path(file).name
    if isinstance(result, ImportedRun):
        return _LOCAL, result.task
    source = data["source"]
    is_on_hub = on_hub(source)
    if result.task != CUSTOM:
        title = f"GLUE {result.task}"
    elif is_on_hub:
        title = source
    else:
        title = Path(source).resolve().name
    return source if is_on_hub else _LOCAL, title


def on_hub(name: str) -> bool:
    """Whether a name is an id of the Hub, and no folder here."""
    return name != DEMO and _HUB_ID.fullmatch(name) is not None and not Path(name).is_dir()
