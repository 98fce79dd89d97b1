"""``adapter-tune config show`` and ``config validate``."""

from __future__ import annotations

from adapter_tune.commands import options as o


def config_show(name: o.ConfigName) -> None:
    """Print a shipped configuration or sweep."""
    from adapter_tune.config.shipped import find_config, read_text, shipped_configs

    print(read_text(find_config(name, sweeps=name in shipped_configs(sweeps=True))), end="")


def config_validate(file: o.AnyConfig, task: o.Task = None) -> None:
    """Check a configuration: every key, every value, and your own data where it names some."""
    from adapter_tune.config.compose import compose
    from adapter_tune.tasks.glue import CUSTOM

    composed = compose(file, {"--task task": task})
    if composed.task == CUSTOM:
        from adapter_tune.data.custom import resolve_custom_data

        composed = resolve_custom_data(composed)
    print(f"{file} is valid: it would run in {composed.folder}")
