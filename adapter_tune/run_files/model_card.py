"""The model card of a saved adapter: metadata that the Hub reads, and the facts a person asks for."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from adapter_tune.demo.location import DEMO
from adapter_tune.run_files.result import Result
from adapter_tune.tasks.glue import CUSTOM

_KIND = "text-classification"
_LOCAL = "local"
_ON_HUB = re.compile(r"(?:[\w-]+/)?[\w.-]+", re.ASCII)
"""What the Hub takes for an id, here and in ``model-index``."""


def model_card(result: Result) -> str:
    """Markdown with YAML front matter (``base_model``, ``datasets``, ``metrics``, ``model-index``)."""
    dataset, title = _data_set(result)
    name = f"{result.task}-{result.strategy}"
    card = ModelCardData(
        base_model=result.model.id if _on_hub(result.model.id) else None,
        datasets=None if dataset == _LOCAL else [dataset],
        metrics=sorted({metric for scores in result.scores.values() for metric in scores}),
        tags=["adapter-tune", result.strategy],
        model_name=name,
        eval_results=[
            EvalResult(_KIND, dataset, title, metric, value, dataset_split=split)
            for split, scores in result.scores.items()
            for metric, value in scores.items()
        ],
    )
    scores = "\n".join(
        f"| {split} | {metric} | {value:.4f} |" for split, row in result.scores.items() for metric, value in row.items()
    )
    trained = result.parameters
    return f"""---
{card.to_yaml()}
---

# {name}

Task {result.task}, strategy {result.strategy}, on `{result.model.id}` (fingerprint `{result.model.fingerprint[:16]}`).
{trained.trained:,} parameters were trained, {trained.trained_percent:.2f} % of the backbone's; this folder holds them
and nothing of the backbone.

| split | metric | value |
| --- | --- | --- |
{scores}

## Use

```python
import adapter_tune

model, tokenizer = adapter_tune.load("path/to/this/folder")
```

## How it was made

Seed {result.seed}, configuration `{result.config_hash}`; the whole of it is in `config.yaml` of the run folder.
Versions: {", ".join(f"{name} {version}" for name, version in result.versions.items())}.
"""


def _data_set(result: Result) -> tuple[str, str]:
    """The data set's id on the Hub, or that it is a local one; and what it is called."""
    data = result.config["data"]
    own, file = result.task == CUSTOM, data.get("train_file")
    if own and file is not None:
        return _LOCAL, Path(file).name
    source = data["source"]
    title = (source if _on_hub(source) else Path(source).resolve().name) if own else f"GLUE {result.task}"
    return source if _on_hub(source) else _LOCAL, title


def _on_hub(name: str) -> bool:
    return name != DEMO and _ON_HUB.fullmatch(name) is not None and not Path(name).is_dir()
