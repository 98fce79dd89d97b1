"""The README.md of an export: metadata for the Hub, and what the folder is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from adapter_tune.exchange.loaded_run import LoadedRun
from adapter_tune.run_files.adapter_files import CARD
from adapter_tune.run_files.model_card import cell, on_hub
from adapter_tune.run_files.result import versions
from adapter_tune.strategies import described

_TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

Task {{ task.name }} (labels: {{ labels }}), strategy {{ strategy }}, on `{{ backbone }}`.
{{ about }}

```python
{{ example }}
```

Rows are truncated at {{ max_length }} tokens, as in training.
Versions: {{ versions }}.
"""


def write_card(run: LoadedRun, folder: Path, *, library: str, about: str, example: str) -> None:
    """Write the README.md of an export.

    Args:
        run: the exported run.
        folder: the folder of the export.
        library: the library that reads the folder, by its name on the Hub.
        about: what is in the folder.
        example: how it is used, in Python.
    """
    task = run.config.task_spec
    backbone = run.prepared.config.id
    name = f"{task.name}-{run.config.strategy.name}"
    data = ModelCardData(
        base_model=backbone if on_hub(backbone) else None,
        library_name=library,
        pipeline_tag="text-classification",
        tags=["adapter-tune", run.config.strategy.name],
        model_name=name,
    )
    values: dict[str, Any] = {
        "name": name,
        "task": task,
        "labels": ", ".join(map(cell, task.labels)) or "a number",
        "strategy": described(run.config.strategy.to_dict()),
        "backbone": backbone if on_hub(backbone) else Path(backbone).name,
        "about": about,
        "example": example.strip(),
        "max_length": run.config.data.max_length,
        "versions": ", ".join(f"{package} {version}" for package, version in versions().items()),
    }
    card = ModelCard.from_template(data, template_str=_TEMPLATE, **values)
    (folder / CARD).write_text(f"{card}\n", encoding="utf-8")
