"""``adapter-tune config show`` and ``config validate``."""

from __future__ import annotations

from adapter_tune.commands import options as o


def config_show(name: o.ConfigName) -> None:
    """Print a shipped configuration or sweep."""
    from adapter_tune.config.shipped import find_config, read_text, shipped_configs

    is_sweep = name in shipped_configs(sweeps=True)
    print(read_text(find_config(name, sweeps=is_sweep)), end="")


def config_validate(file: o.AnyConfig, task: o.Task = None) -> None:
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


def config_schema(kind: o.SchemaKind = o.Kind.run) -> None:
    """Print the JSON Schema of a configuration or of a sweep.

    Editors with a YAML language server read it: they complete options, show what they mean, and mark wrong values.
    """
    import json

    from adapter_tune.config.json_schema import run_schema
    from adapter_tune.sweeps.json_schema import sweep_schema

    print(json.dumps(run_schema() if kind is o.Kind.run else sweep_schema(), indent=2))
