"""What several commands share: flags to configuration keys, the run that is meant, libraries made ready."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.startup import prepare_libraries


def as_yaml(flag: str, text: str | None) -> Any:
    """A flag's text read as YAML; None where the flag was not given."""
    from adapter_tune.config.yaml_files import parse_value

    value = None if text is None else parse_value(text, flag)
    if text is not None and value is None:
        raise UsageError(f"{flag}: the value is empty; leave the option out for its default")
    return value


def task_of(task: str | None, train_file: str | None) -> str | None:
    """The task that is meant: custom where a file to train on is given and no task."""
    return "custom" if task is None and train_file is not None else task


def own_flags(*values: str | None) -> dict[str, Any]:
    """The flags about data of the user's own, in the order of the commands' arguments."""
    names = ("train_file", "validation_file", "test_file", "text_column", "text_pair_column", "label_column", "problem")
    return {f"--{name.replace('_', '-')} data.{name}": value for name, value in zip(names, values, strict=True)}


def model_flags(model: str | None, strategy: str | None, m: str | None, train_pooler: bool) -> dict[str, Any]:
    """The flags about backbone and strategy, each with the key that it sets."""
    return {
        "--model model.id": model,
        "--train-pooler model.pooler": "train" if train_pooler else None,
        "--strategy strategy.name": strategy,
        "--m strategy.m": as_yaml("--m", m),
    }


def newest_run(run: Path | None, output: Path, demo: bool) -> Path:
    """The run that was named, or the newest one in the output folder; a damaged one is passed over with a warning.

    Raises:
        UsageError: there is none.
        RunError: all that there are cannot be read.
    """
    from adapter_tune.run_files.result import finished_runs, is_demo

    if run is not None:
        return run
    log, damaged = logging.getLogger("adapter_tune"), None
    for found in finished_runs(output):
        try:
            wanted = is_demo(found) or not demo
        except RunError as error:
            log.warning("%s; this run is passed over", error)
            damaged = error
            continue
        if wanted:
            log.info("the newest run: %s", found)
            return found
    raise damaged or UsageError(f"no finished {'demo ' * demo}run in {output}; name a run folder, or train first")


def print_counts(configs: list[Any], num_labels: int, *, max_length: int | None = None, as_json: bool = False) -> None:
    """Print the counts of several configurations."""
    import json

    from adapter_tune.adapters.published_sizes import published_size
    from adapter_tune.demo.location import DEMO

    if not all(published_size(config.model.id) for config in configs):
        prepare_libraries(all(config.model.id == DEMO for config in configs))
    from adapter_tune.modeling.build import count_on_meta
    from adapter_tune.report.command_output import show_count

    objects = []
    for config in configs:
        count, shape, notes = count_on_meta(config.model, config.strategy, {"num_labels": num_labels}, max_length)
        named = {"model": config.model.id, "strategy": config.strategy.name, "m": config.m}
        objects.append({**named, **count.model_dump()})
        if not as_json:
            show_count(config.model.id, config.strategy, count, config.strategy.formula(shape))
            for note in notes:
                print(f"note: {note}")
    if as_json:
        print(json.dumps(objects, indent=2))
