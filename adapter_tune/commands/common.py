"""What several commands share: flags as configuration keys, the newest run, parameter counts."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_tune.commands.completion import ROW_FILES
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.startup import prepare_libraries

if TYPE_CHECKING:
    from adapter_tune.config.schema import RunConfig


def as_yaml(flag: str, text: str | None) -> Any:
    """Return a flag's text read as YAML; None if the flag was not given.

    Raises:
        UsageError: the text is empty, null, or not valid YAML.
    """
    from adapter_tune.config.yaml_files import parse_value

    if text is None:
        return None
    value = parse_value(text, flag)
    if value is None:
        raise UsageError(f"{flag}: the value is empty; remove the option to use its default")
    return value


def given_config(argument: str | None, option: str | None) -> str | None:
    """Return the configuration that a command was given, as its argument or with ``--config``.

    Raises:
        UsageError: both were given, or it is a file with rows, a task or a folder.
    """
    from adapter_tune.config.shipped import shipped_configs
    from adapter_tune.tasks.glue import CUSTOM, TASKS

    if argument is not None and option is not None:
        raise UsageError(f"{argument} and --config {option} are both configurations; give only one")
    name = option if argument is None else argument
    if not name or name in shipped_configs():
        return name
    path = Path(name)
    if path.suffix.lower() in ROW_FILES:
        raise UsageError(
            f"{name} is a file with rows, not a configuration; give it with --train-file, or let "
            f"{shlex.join(['adapter-tune', 'init', name])} write a configuration"
        )
    if name in (*TASKS, CUSTOM) and not path.is_file():
        raise UsageError(f"{name} is a task, not a configuration; give it with --task {name}")
    if path.is_dir():
        fix = f"give {path / 'config.yaml'}" if (path / "config.yaml").is_file() else "give a YAML file"
        raise UsageError(f"{name} is a folder, not a configuration; {fix}")
    return name


def task_of(task: str | None, train_file: str | None) -> str | None:
    """Return the task: custom if there is a training file and no task was given."""
    return "custom" if task is None and train_file is not None else task


def custom_data_flags(**values: str | None) -> dict[str, Any]:
    """Return the flags about the user's own data, each with the key of ``data.custom`` that it sets.

    Args:
        values: the value of each flag, by the name of the key.
    """
    return {f"--{name.replace('_', '-')} data.custom.{name}": value for name, value in values.items()}


def moved_data(
    train_file: str | None, validation_file: str | None, test_file: str | None, data_source: str | None
) -> dict[str, str]:
    """Return the paths of a run's data that have moved, by option, as ``runs.reload`` takes them."""
    custom = {"train_file": train_file, "validation_file": validation_file, "test_file": test_file}
    paths = {**{f"data.custom.{name}": path for name, path in custom.items()}, "data.source": data_source}
    return {option: path for option, path in paths.items() if path is not None}


def with_language(moved: dict[str, str], language_adapter: str | None) -> dict[str, str]:
    """Return the paths that have moved, by option, with that of the language adapter if it was given."""
    return moved if language_adapter is None else {**moved, "model.language_adapter": language_adapter}


def check_only_for(use: str, flags: Mapping[str, str | None]) -> None:
    """Refuse flags that would be ignored.

    Args:
        use: what the flags are for, as in ``--input FILE``.
        flags: the value of each flag that must not be given; None where it was not.

    Raises:
        UsageError: one was given.
    """
    for flag, value in flags.items():
        if value is not None:
            raise UsageError(f"{flag} is only for {use}; remove it")


def model_flags(model: str | None, strategy: str | None, m: str | None, train_pooler: bool) -> dict[str, Any]:
    """Return the flags about backbone and strategy, each with the key that it sets."""
    return {
        "--model model.id": model,
        "--train-pooler model.pooler": "train" if train_pooler else None,
        "--strategy strategy.name": strategy,
        "--m strategy.m": as_yaml("--m", m),
    }


def check_installed(extra: str, *modules: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: its name.
        modules: what its packages are imported as.

    Raises:
        UsageError: one is missing.
    """
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UsageError(f"this command needs {', '.join(missing)}: pip install 'adapter-tune[{extra}]'")


def run_or_newest(run: Path | None, runs_folder: Path, demo: bool) -> Path:
    """Return the given run, or the newest one in a folder; a damaged run is skipped with a warning.

    Args:
        run: the run folder, if one was given.
        runs_folder: the folder in which the newest run is looked up.
        demo: look up only runs on the demo data.

    Raises:
        UsageError: there is no finished run.
        RunError: none of the finished runs can be read.
    """
    from adapter_tune.run_files.result import finished_runs, is_demo

    if run is not None:
        return run
    log = logging.getLogger("adapter_tune")
    last_error = None
    for folder in finished_runs(runs_folder):
        try:
            is_match = is_demo(folder) or not demo
        except RunError as error:
            log.warning("%s; this run is skipped", error)
            last_error = error
            continue
        if is_match:
            log.info("using the newest run: %s", folder)
            return folder
    if last_error is not None:
        raise last_error
    raise UsageError(f"no finished {'demo ' if demo else ''}run in {runs_folder}; give a run folder, or train first")


def moved_model(model: str | None, demo: bool) -> str | None:
    """Return the path or id of the backbone as requested; None takes the run's own."""
    from adapter_tune.demo.location import DEMO

    return DEMO if demo and model is None else model


def are_several(runs: Sequence[Path]) -> bool:
    """Return whether there are several runs, or a folder of runs; heavy imports, so prepare the libraries first."""
    from adapter_tune.run_files.result import FILE

    if len(runs) == 1 and (runs[0] / FILE).is_file():
        return False
    from adapter_tune.multitask.open_runs import contains_runs

    return len(runs) > 1 or contains_runs(runs[0])


def print_counts(
    configs: Sequence[RunConfig], num_labels: int, *, max_length: int | None = None, as_json: bool = False
) -> None:
    """Print the parameter counts of several configurations.

    Args:
        configs: the configurations.
        num_labels: number of labels of the head.
        max_length: if given, the backbone must have positions for so many tokens.
        as_json: print a JSON list instead of tables.
    """
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
        names = {"model": config.model.id, "strategy": config.strategy.name, "m": config.m}
        if config.model.language_adapter is not None:
            names["language_adapter_folder"] = config.model.language_adapter
        objects.append({**names, **count.model_dump()})
        if not as_json:
            show_count(config.model.id, config.strategy, count, config.strategy.formula(shape))
            for note in notes:
                print(f"note: {note}")
    if as_json:
        print(json.dumps(objects, indent=2))
