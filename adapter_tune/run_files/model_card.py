"""The model card of a saved adapter: metadata for the Hub, and a description for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from adapter_tune.config.yaml_files import to_yaml
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation.hub_calls import parse_hub_name
from adapter_tune.run_files.result import ImportedRun, Result, RunRecord, Scores
from adapter_tune.tasks.glue import CUSTOM, get_task

_TASK_TYPE = "text-classification"
_LOCAL = "local"
_HUB_ID = re.compile(r"(?:[\w-]+/)?[\w.-]+", re.ASCII)
"""What the Hub accepts as an id, also in ``model-index``."""

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")


def model_card(result: RunRecord, repository: str | None = None) -> str:
    """The card as Markdown with YAML front matter (``base_model``, ``datasets``, ``metrics``, ``model-index``).

    Args:
        result: the record of the run.
        repository: the name on the Hub, for the commands in the card; None for a run folder that is not pushed.
    """
    eval_results = _eval_results(result)
    source = repository or "path/to/this/folder"
    card = ModelCard.from_template(
        _card_data(result, eval_results),
        template_str=_TEMPLATE.read_text(encoding="utf-8"),
        result=result,
        eval_results=eval_results,
        place="folder" if repository is None else "repository",
        source=source,
        command=_command(result, source),
        revision=f', revision="{result.model.revision}"' if result.model.revision else "",
        origin=_origin(result),
        language=_language(result.model.language_adapter),
        fingerprint=result.model.fingerprint[:16],
        trained=f"{result.parameters.trained:,}",
        trained_percent=f"{result.parameters.trained_percent:.2f}",
        labels=[cell(label) for label in _labels(result)],
        examples=_examples(result),
        counts=_counts(result),
        configuration=_configuration(result),
        versions=", ".join(f"{name} {version}" for name, version in result.versions.items()),
    )
    return f"{card}\n"


def _command(result: RunRecord, source: str) -> str:
    """A command that predicts with the run."""
    if result.task == CUSTOM:
        return f"adapter-tune predict {source} --input new.csv --output labelled.csv"
    pair = ' --text-pair "..."' if len(get_task(result.task).text) == 2 else ""
    return f'adapter-tune predict {source} --text "..."{pair}'


def _language(place: str | None) -> str:
    """The language adapter: its name on the Hub, or that of its folder; empty for none."""
    if place is None:
        return ""
    return place if parse_hub_name(place) is not None else Path(place).name


def _origin(result: RunRecord) -> str:
    """The run that training started from: its name on the Hub, or that of its folder."""
    run = (result.config.get("init_from") or {}).get("run") or ""
    name = parse_hub_name(run)
    return run if name is not None and name.revision is not None else Path(run).name


def _labels(result: RunRecord) -> list[str]:
    """The names of the classes; none for a regression."""
    if result.task != CUSTOM:
        return list(get_task(result.task).labels)
    return list(result.config["data"]["custom"].get("labels") or ())


def _examples(result: RunRecord) -> list[tuple[str, str]]:
    """Every label with an example, for a table; none for private data."""
    examples = result.examples if isinstance(result, Result) else {}
    return [(cell(label), cell(" / ".join(texts))) for label, texts in examples.items()]


def cell(text: str) -> str:
    """A text that means only itself in a cell of a table."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>#|~!&])", r"\\\1", line)


def _counts(result: RunRecord) -> list[tuple[str, str]]:
    """The trained parameters by group, and all of them."""
    count = result.parameters
    rows = [(name, f"{number:,}") for name, number in count.groups.model_dump().items() if number]
    return [*rows, ("all that was trained", f"{count.trained:,}"), ("all, with the backbone", f"{count.total:,}")]


def _configuration(result: RunRecord) -> str:
    """The configuration as YAML, without the folders of the user's machine."""
    left_out = ("output", "init_from", "data")
    values = {name: section for name, section in result.config.items() if name not in left_out}
    values["model"] = {"id": result.model.id, "revision": result.model.revision}
    data = {name: value for name, value in result.config["data"].items() if name not in ("source", "custom")}
    return to_yaml({**values, "data": data}).rstrip()


def _card_data(result: RunRecord, eval_results: list[Any]) -> ModelCardData:
    dataset, _ = _data_set(result)
    return ModelCardData(
        base_model=result.model.id if on_hub(result.model.id) else None,
        datasets=None if dataset == _LOCAL else [dataset],
        metrics=sorted({_metric_type(metric) for scores in _scores(result).values() for metric in scores}),
        base_model_relation="adapter" if on_hub(result.model.id) else None,
        library_name="adapter-tune",
        pipeline_tag=_TASK_TYPE,
        tags=["adapter-tune", "adapter", result.strategy],
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
