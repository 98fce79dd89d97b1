"""Adapter tuning of BERT-family encoders, exact to Houlsby et al. 2019.

    >>> import adapter_tune
    >>> result = adapter_tune.run(adapter_tune.RunConfig(task="rte"))      # doctest: +SKIP
    >>> model, tokenizer = adapter_tune.load(result.storage.folder)        # doctest: +SKIP

Names are imported when they are first used, so that ``import adapter_tune`` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from adapter_tune.adapters.formula import ParameterCount as ParameterCount
    from adapter_tune.adapters.model_parts import adapters_of as adapters_of
    from adapter_tune.adapters.parameter_count import count_parameters as count_parameters
    from adapter_tune.adapters.surgery import bypass as bypass
    from adapter_tune.adapters.surgery import detach as detach
    from adapter_tune.config.schema import RunConfig as RunConfig
    from adapter_tune.foundation.errors import AdapterTuneError as AdapterTuneError
    from adapter_tune.multitask.model import MultiTask as MultiTask
    from adapter_tune.run_files.result import Result as Result
    from adapter_tune.runs.loading import load as load
    from adapter_tune.runs.pipeline import pipeline as pipeline
    from adapter_tune.runs.run import run as run
    from adapter_tune.strategies import Strategy as Strategy
    from adapter_tune.strategies import strategy as strategy

_HOME = {
    "AdapterTuneError": "foundation.errors",
    "MultiTask": "multitask.model",
    "ParameterCount": "adapters.formula",
    "Result": "run_files.result",
    "RunConfig": "config.schema",
    "Strategy": "strategies",
    "adapters_of": "adapters.model_parts",
    "bypass": "adapters.surgery",
    "detach": "adapters.surgery",
    "count_parameters": "adapters.parameter_count",
    "load": "runs.loading",
    "pipeline": "runs.pipeline",
    "run": "runs.run",
    "strategy": "strategies",
}

__all__ = [*_HOME, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'adapter_tune' has no attribute '{name}'")
    return getattr(import_module(f"adapter_tune.{_HOME[name]}"), name)
