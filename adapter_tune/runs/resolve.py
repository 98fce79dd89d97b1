"""A run's configuration with nothing left open: the user's data, and the adapters that it is built on, are read."""

from __future__ import annotations

from adapter_tune.config.resolved import ResolvedConfig
from adapter_tune.config.schema import DataConfig, RunConfig
from adapter_tune.data.custom import resolve_config
from adapter_tune.modeling.language import resolved_section
from adapter_tune.run_files.init_from import resolve_init_from


def resolve_run(config: RunConfig, cache: dict[str, DataConfig] | None = None) -> ResolvedConfig:
    """The configuration as a run stores it; ``cache`` and the other errors are those of ``data.custom.resolve_config``.

    Raises:
        UsageError: the run in ``init_from`` or the language adapter does not exist, or the run has another strategy.
        RunError: one of the two is damaged, or has changed.
    """
    config = config.with_values({"model": resolved_section(config.model)})
    return resolve_config(resolve_init_from(config), cache)
