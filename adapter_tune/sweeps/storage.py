"""Where the study of a sweep is stored: SQLite in the sweep's folder, a database, or a journal file."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from adapter_tune.foundation.errors import RunError, UsageError, first_line
from adapter_tune.sweeps.pruning import make_pruner
from adapter_tune.sweeps.search_space import make_sampler
from adapter_tune.sweeps.spec import Sweep
from adapter_tune.sweeps.trial_attributes import requeue

_HEARTBEAT_SECONDS = 15
_GRACE_SECONDS = 60
"""Time without a heartbeat after which a trial is given to another worker."""

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=ExperimentalWarning)


def open_study(sweep: Sweep, folder: Path, storage: str | None) -> optuna.Study:
    """Return the study of a sweep, created if it does not exist yet.

    Raises:
        UsageError: the storage is not a URL.
        RunError: the storage cannot be opened.
    """
    try:
        return optuna.create_study(
            study_name=sweep.name,
            storage=_open_storage(storage or f"sqlite:///{folder / 'study.db'}"),
            sampler=make_sampler(sweep, 0),
            pruner=make_pruner(sweep.prune),
            direction="maximize",
            load_if_exists=True,
        )
    except UsageError:
        raise
    except Exception as error:  # every database driver has its own errors
        url = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", storage or str(folder))  # a URL may contain a password
        raise RunError(f"{url}: the storage cannot be opened ({first_line(error)}); check --storage") from None


def _open_storage(url: str) -> BaseStorage:
    if url.startswith("journal:"):
        return JournalStorage(JournalFileBackend(url.removeprefix("journal:")))
    if "://" not in url:
        raise UsageError(f"--storage: '{url}' should be a URL such as postgresql://user@host/name, or journal:FILE")
    options = {"connect_args": {"timeout": 100}} if url.startswith("sqlite") else {}
    return RDBStorage(
        url,
        options,
        heartbeat_interval=_HEARTBEAT_SECONDS,
        grace_period=_GRACE_SECONDS,
        heartbeat_stale_trial_callback=requeue,
    )
