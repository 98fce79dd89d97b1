"""A few runs on a tiny backbone, and the server around them in this process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from transformers import BertForPreTraining

from adapter_tune.config.schema import DataConfig
from adapter_tune.multitask.model import MultiTask
from adapter_tune.multitask.open_runs import adapter_folders, open_backbone, task_names
from adapter_tune.run_files.adapter_files import ADAPTER
from adapter_tune.serving.app import create_app
from adapter_tune.serving.batcher import Batcher
from adapter_tune.serving.server import bind, create_server
from adapter_tune.serving.service import Service, ServiceOptions
from tests.helpers import bert_config, save_tokenizer, saved_task

MAX_LENGTH = 24
STRATEGIES: dict[str, dict[str, Any]] = {
    "cola": {"name": "houlsby", "m": 4},
    "mnli": {"name": "parallel", "m": 3},
    "rte": {"name": "lora", "r": 2},
    "sst2": {"name": "bias"},
    "stsb": {"name": "layer_norm"},
    "topics": {"name": "attention_only", "m": 2},
}
"""By task; the last one is the user's own, with several labels for a text."""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, make_configs: Any, glue: str) -> Path:
    """A folder with a run of each strategy; its parent has the backbone."""
    folder = tmp_path_factory.mktemp("serving")
    torch.manual_seed(3)
    BertForPreTraining(bert_config(initializer_range=0.3)).save_pretrained(folder / "backbone")
    save_tokenizer(folder / "backbone")
    make = make_configs(str(folder / "backbone"), glue, folder)
    rows = [{"text": f"dog {row}", "label": [["red"], ["red", "big"], []][row % 3]} for row in range(30)]
    (folder / "topics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = {"source": DataConfig().source, "custom": {"train_file": str(folder / "topics.jsonl")}}
    for seed, (name, strategy) in enumerate(STRATEGIES.items()):
        task, data = ("custom", own) if name == "topics" else (name, {})
        config = make(task, strategy=strategy, data=data).with_values({"data.max_length": MAX_LENGTH})
        saved_task(folder / "runs" / name / ADAPTER, config, seed)
    return folder / "runs"


@pytest.fixture(scope="session")
def open_model(runs: Path) -> Callable[[], MultiTask]:
    """Loads the backbone of the runs, in float32."""
    return lambda: open_backbone(runs / "rte" / ADAPTER, device="cpu", precision="float32")


@pytest.fixture
def make_service(runs: Path, open_model: Callable[[], MultiTask]) -> Callable[..., Service]:
    """Makes what computes: all runs, or those below a folder, with some options."""

    def make(folder: Path = runs, **options: Any) -> Service:
        return Service(open_model(), task_names(adapter_folders([folder])), ServiceOptions(**options))

    return make


@pytest.fixture
def serve(make_service: Callable[..., Service]) -> Iterator[Callable[..., tuple[TestClient, Service]]]:
    """Starts a server in this process; it stops with the test."""
    clients = []

    def start(folder: Path | None = None, **options: Any) -> tuple[TestClient, Service]:
        service = make_service(**options) if folder is None else make_service(folder, **options)
        client = TestClient(create_app(service), raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return client, service

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Batches wait until the event is set; it is set at the end of the test."""
    go_on = threading.Event()
    logits = Batcher._logits

    def wait(batcher: Batcher, rows: Any) -> Any:
        go_on.wait(20)
        return logits(batcher, rows)

    monkeypatch.setattr(Batcher, "_logits", wait)
    yield go_on
    go_on.set()


@pytest.fixture(scope="module")
def shared(runs: Path, open_model: Callable[[], MultiTask]) -> Iterator[TestClient]:
    """One server for all tests of a module that change nothing."""
    service = Service(open_model(), task_names(adapter_folders([runs])), ServiceOptions())
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def start_server(make_service: Callable[..., Service]) -> Iterator[Callable[..., str]]:
    """Starts a server on a free port, in a thread; it stops with the test."""
    running = []

    def start(**options: Any) -> str:
        listener = bind("127.0.0.1", 0)
        server = create_server(make_service(**options), listener)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
