"""The key of a sweep's cell: the name of its run folder, which depends on everything that decides the run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from adapter_tune.config.resolved import ResolvedConfig, resolved
from adapter_tune.config.schema import DataConfig, RunConfig
from adapter_tune.foundation.errors import AdapterTuneError
from adapter_tune.sweeps.cells import config_of
from adapter_tune.sweeps.spec import Sweep, Values
from adapter_tune.tasks.glue import CUSTOM


class CellKeys:
    """The keys of a sweep's cells; each is computed once.

    Args:
        sweep: the sweep.
        folder: the sweep's folder.
        custom_data: data sections that were resolved before, as in ``resolve_config``; new ones are added.
    """

    def __init__(self, sweep: Sweep, folder: Path, custom_data: dict[str, DataConfig]) -> None:
        self.sweep = sweep
        self.folder = folder
        self.custom_data = custom_data
        self._keys: dict[str, str] = {}

    def key(self, values: Values) -> str:
        """Return the key of a cell, given its values."""
        text = json.dumps(values, sort_keys=True)
        if text not in self._keys:
            self._keys[text] = self._compute_key(values)
        return self._keys[text]

    def _compute_key(self, values: Values) -> str:
        try:
            return self._resolved(config_of(self.sweep, values, self.folder)).folder.name
        except AdapterTuneError:  # the run will report the error
            text = json.dumps([values, self.sweep.base, self.sweep.set], sort_keys=True)
            return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _resolved(self, config: RunConfig) -> ResolvedConfig:
        if config.task != CUSTOM and config.init_from.run is None and config.model.language_adapter is None:
            return resolved(config)
        from adapter_tune.runs.resolve import resolve_run  # a heavy import

        return resolve_run(config, self.custom_data)
