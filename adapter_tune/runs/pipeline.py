"""A trained run as a pipeline of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from adapter_tune.run_files.adapter_files import adapter_folder, read_adapter_config
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.runs.loading import load


def pipeline(
    run: str | Path, *, model: str | None = None, language_adapter: str | None = None, **options: Any
) -> transformers.Pipeline:
    """A ``text-classification`` pipeline of a trained run, in float32.

    Rows are truncated as in training. A pair is ``{"text": ..., "text_pair": ...}``. A regression gives its number as
    ``score`` under the label ``score``; with several labels, each has a probability of its own, and all are returned.

    Args:
        run: a run folder, or the adapter folder in it; or ``ORG/NAME[@revision]`` on the Hub.
        model: path or id of the backbone, if it has moved since training.
        language_adapter: folder of the run's language adapter, if that has moved, or of one for another language.
        options: options of ``transformers.pipeline``, such as ``device``, ``batch_size``, ``top_k``.

    Raises:
        UsageError: the folder contains no adapter.
        RunError: the backbone is not the one of the training, or a file is damaged.
    """
    folder = local_run(run)
    adapter = read_adapter_config(adapter_folder(folder))
    classifier, tokenizer = load(folder, model=model, language_adapter=language_adapter)
    defaults: dict[str, Any] = {"truncation": True, "max_length": adapter.max_length}
    if classifier.config.problem_type == "multi_label_classification":
        defaults["top_k"] = None
    return transformers.pipeline(
        "text-classification", model=classifier, tokenizer=tokenizer, **{**defaults, **options}
    )
