"""``adapter-tune serve``."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.commands.common import check_installed
from adapter_tune.commands.options import finished_runs, serving
from adapter_tune.foundation.errors import UsageError
from adapter_tune.foundation.startup import prepare_libraries


def serve(
    runs: serving.ServedRuns,
    host: serving.Host = "127.0.0.1",
    port: serving.Port = 8000,
    model: finished_runs.MovedModel = None,
    device: serving.ServingDevice = serving.DeviceName.auto,
    precision: serving.ServingPrecision = serving.PrecisionName.auto,
    resident: serving.Resident = None,
    batch_tokens: serving.BatchTokens = None,
    wait_ms: serving.WaitMs = 2.0,
    adapters: serving.AdaptersFolder = None,
    allow_changes: serving.AllowChanges = False,
    max_body: serving.MaxBody = 1 << 20,
    max_rows: serving.MaxRows = 128,
    max_characters: serving.MaxCharacters = 20_000,
    max_queue: serving.MaxQueue = 1024,
    timeout: serving.RequestTimeout = 60.0,
) -> None:
    """Serve finished runs over HTTP.

    All runs share one backbone. The API key is read from the environment variable ADAPTER_TUNE_API_KEY.
    """
    check_installed("serve", "fastapi", "fastapi_offline", "prometheus_client", "uvicorn")
    folder = _changes_folder(adapters, allow_changes)
    prepare_libraries()
    import os

    from adapter_tune.multitask.open_runs import adapter_folders, open_backbone, task_names
    from adapter_tune.serving.gate import api_key
    from adapter_tune.serving.limits import Limits
    from adapter_tune.serving.server import bind, run_server
    from adapter_tune.serving.service import Service, ServiceOptions

    options = ServiceOptions(
        resident=resident,
        batch_tokens=batch_tokens,
        wait_ms=wait_ms,
        adapters=folder,
        api_key=api_key(os.environ),
        limits=Limits(max_body, max_rows, max_characters, max_queue, timeout),
    )
    tasks = task_names(adapter_folders(runs))
    with bind(host, port) as listener:
        backbone = open_backbone(
            next(iter(tasks.values())), model=model, device=device.value, precision=precision.value
        )
        run_server(Service(backbone, tasks, options), listener)


def _changes_folder(adapters: Path | None, allow_changes: bool) -> Path | None:
    """The folder from which tasks may be loaded while the server runs; None if there may be no changes.

    Raises:
        UsageError: one of the two options without the other, or no such folder.
    """
    if allow_changes and adapters is None:
        raise UsageError("--allow-changes needs --adapters: the folder from which runs may be loaded")
    if adapters is not None and not allow_changes:
        raise UsageError("--adapters is only for --allow-changes; give both, or remove it")
    if adapters is not None and not adapters.is_dir():
        raise UsageError(f"--adapters {adapters}: no such folder; give the one from which runs may be loaded")
    return adapters
