"""The model card of a saved adapter: metadata that the Hub reads, and the facts a person asks for."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from adapter_tune.result import Result

_DATASET, _KIND = "nyu-mll/glue", "text-classification"


def model_card(result: Result) -> str:
    """Markdown with YAML front matter (``base_model``, ``datasets``, ``metrics``, ``model-index``)."""
    source = result.config["data"]["source"]
    dataset = source if source == _DATASET else "local"
    name = f"{result.task}-{result.strategy}"
    card = ModelCardData(
        base_model=None if Path(result.model.id).is_dir() else result.model.id,
        datasets=[dataset] if dataset == _DATASET else None,
        metrics=sorted({metric for scores in result.scores.values() for metric in scores}),
        tags=["adapter-tune", result.strategy],
        model_name=name,
        eval_results=[
            EvalResult(_KIND, dataset, f"GLUE {result.task}", metric, value, dataset_split=split)
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
