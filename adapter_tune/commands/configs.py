"""``adapter-tune config``: show, copy, compare and check configurations, and their JSON Schema."""

from __future__ import annotations

from adapter_tune.commands.options import general, information, training
from adapter_tune.foundation.errors import UsageError


def config_show(name: information.ConfigName) -> None:
    """Print a shipped configuration or sweep."""
    from adapter_tune.config.shipped import find_config, read_text, shipped_configs

    is_sweep = name in shipped_configs(sweeps=True)
    print(read_text(find_config(name, sweeps=is_sweep)), end="")


def config_cp(name: information.ConfigName, file: information.NewFile, force: information.Overwrite = False) -> None:
    """Copy a shipped configuration or sweep, with its comments, to a file to edit."""
    from adapter_tune.config.shipped import copy_text
    from adapter_tune.foundation.atomic_files import write_text

    text = copy_text(name)
    if file.is_dir():
        raise UsageError(f"{file} is a folder; give the path of a file in it, such as {file / 'my.yaml'}")
    if file.exists() and not force:
        raise UsageError(f"{file} exists; give another path, or --force to replace it")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
    print(file)


def config_diff(
    first: information.FirstConfig, second: information.SecondConfig, as_json: general.Json = False
) -> None:
    """Compare two configurations: the options that differ, and where their values are from.

    An option that a file does not set has its default. The learning rate is the one that a run would have.
    """
    import json
    from dataclasses import asdict

    from adapter_tune.config.difference import differences
    from adapter_tune.report.terminal import show

    pairs = differences(first, second)
    if as_json:
        print(json.dumps({path: [asdict(value) for value in pair] for path, pair in pairs.items()}, indent=2))
    elif pairs:
        rows = [[path, str(pair[0]), str(pair[1])] for path, pair in pairs.items()]
        show(
            f"{len(pairs)} option{'s' * (len(pairs) > 1)} differ{'s' * (len(pairs) == 1)}",
            ["option", first, second],
            rows,
        )
    else:
        print(f"no option differs between {first} and {second}")


def config_validate(file: information.AnyConfig, task: training.Task = None) -> None:
    """Check a configuration.

    Checks every key and every value. For task custom, the data files are read too.
    """
    from adapter_tune.config.compose import compose
    from adapter_tune.config.resolved import resolved
    from adapter_tune.tasks.glue import CUSTOM

    config = compose(file, {"--task task": task})
    if config.task == CUSTOM or config.init_from.run is not None:
        from adapter_tune.runs.resolve import resolve_run  # a heavy import

        folder = resolve_run(config).folder
    else:
        folder = resolved(config).folder
    print(f"{file} is valid: it would run in {folder}")


def config_schema(kind: information.SchemaKind = information.Kind.run) -> None:
    """Print the JSON Schema of a configuration or of a sweep.

    Editors with a YAML language server read it: they complete options, show what they mean, and mark wrong values.
    """
    import json

    from adapter_tune.config.json_schema import run_schema
    from adapter_tune.sweeps.json_schema import sweep_schema

    print(json.dumps(run_schema() if kind is information.Kind.run else sweep_schema(), indent=2))
