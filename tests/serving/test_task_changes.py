"""Tasks are loaded and unloaded while the server runs, only from below one folder, and nothing accepted is lost."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from transformers import BertForPreTraining

from adapter_tune.foundation.errors import RunError
from adapter_tune.multitask.model import MultiTask
from tests.helpers import bert_config, save_tokenizer, saved_task, wait_for

TEXT = {"task": "new", "text": "a dog"}


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """Two folders: what is served, and what may be loaded."""
    shutil.copytree(runs / "cola", tmp_path / "served" / "cola")
    shutil.copytree(runs / "sst2", tmp_path / "allowed" / "group" / "sst2")
    shutil.copytree(runs / "rte", tmp_path / "outside" / "rte")
    return tmp_path


@pytest.fixture
def client(serve: Any, folder: Path) -> TestClient:
    started: TestClient
    started, _ = serve(folder / "served", adapters=folder / "allowed")
    return started


def names(client: TestClient) -> list[str]:
    return [info["name"] for info in client.get("/v1/tasks").json()["tasks"]]


def add(client: TestClient, path: str, **more: Any) -> Any:
    return client.post("/v1/tasks", json={"folder": path, **more})


def test_a_task_is_loaded_answers_and_is_unloaded(client: TestClient, shared: TestClient) -> None:
    answer = add(client, "group/sst2", name="new")
    assert answer.status_code == 201
    assert answer.json()["name"] == "new"
    assert answer.json()["resident"]
    assert names(client) == ["cola", "new"]
    (result,) = client.post("/v1/predict", json=TEXT).json()["results"]
    (expected,) = shared.post("/v1/predict", json={**TEXT, "task": "sst2"}).json()["results"]
    assert result["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    answer = client.delete("/v1/tasks/new")
    assert (answer.status_code, answer.content) == (204, b"")
    assert names(client) == ["cola"]
    assert client.post("/v1/predict", json=TEXT).status_code == 404
    assert client.delete("/v1/tasks/new").status_code == 404
    assert add(client, "group/sst2/adapter").json()["name"] == "adapter"
    assert client.delete("/v1/tasks/cola").status_code == 204  # tasks of the start, too
    assert names(client) == ["adapter"]


def test_a_name_with_slashes_can_be_removed(client: TestClient) -> None:
    assert add(client, "group/sst2", name="team a/sst2").status_code == 201
    assert client.delete("/v1/tasks/team%20a/sst2").status_code == 204


def test_without_permission_nothing_changes(shared: TestClient) -> None:
    for answer in (
        add(shared, "sst2"),
        shared.post("/v1/tasks", content=b"not read"),
        shared.delete("/v1/tasks/sst2"),
        shared.delete("/v1/tasks/nothing"),
    ):
        assert answer.status_code == 403
        assert "--allow-changes" in answer.json()["error"]
    assert "sst2" in names(shared)


def test_paths_that_lead_outside_are_refused(client: TestClient, folder: Path) -> None:
    allowed = folder / "allowed"
    (allowed / "link").symlink_to(folder / "outside" / "rte")
    (allowed / "group-link").symlink_to(folder / "outside")
    shutil.copytree(allowed / "group" / "sst2", allowed / "inner")
    shutil.rmtree(allowed / "inner" / "adapter")
    (allowed / "inner" / "adapter").symlink_to(folder / "outside" / "rte" / "adapter")
    shutil.copytree(allowed / "group" / "sst2", allowed / "files")
    (allowed / "files" / "adapter" / "tokenizer.json").unlink()
    (allowed / "files" / "adapter" / "tokenizer.json").symlink_to(folder / "outside" / "rte" / "adapter" / "README.md")
    shutil.copytree(allowed / "group" / "sst2", allowed / "deep")
    (allowed / "deep" / "adapter" / "additional_chat_templates").mkdir()
    template = allowed / "deep" / "adapter" / "additional_chat_templates" / "other.jinja"
    template.symlink_to(folder / "outside" / "rte" / "adapter" / "README.md")
    (allowed / "circle").symlink_to(allowed / "circle")
    paths = ["../outside/rte", str(folder / "outside" / "rte"), "link", "group-link/rte", "inner", "files", "deep",
             "group/../../outside/rte", "/", "..", "/etc", "../outside/nothing", "circle"]  # fmt: skip
    for path in paths:
        answer = add(client, path)
        assert answer.status_code in (403, 404, 422), path
        assert str(folder) not in answer.text
        if path != "circle":
            assert "not inside the server's --adapters folder" in answer.json()["error"], path
    assert names(client) == ["cola"]
    (allowed / "fine").symlink_to(allowed / "group" / "sst2")
    assert add(client, "fine").status_code == 201  # a link that stays inside


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"folder": "nothing"}, 404, "no finished run"),
        ({"folder": "group"}, 404, "no finished run"),
        ({"folder": "someone/rte"}, 404, "no finished run"),  # not looked up on the Hub
        ({"folder": "someone/rte@main"}, 404, "no finished run"),
        ({"folder": ""}, 422, "folder: String should have at least 1 character"),
        ({"folder": "a\0b"}, 422, "not the name of a folder"),
        ({"folder": "x" * 5000}, 422, "not the name of a folder"),
        ({"folder": "group/sst2", "name": "cola"}, 409, "'cola' is served already"),
        ({"folder": "group/sst2", "name": "two\nlines"}, 422, "printable"),
        ({"folder": "group/sst2", "name": "x" * 201}, 422, "at most 200 characters"),
        ({"folder": "group/sst2", "nam": "x"}, 422, "unknown key 'nam'"),
        ({"name": "x"}, 422, "folder is missing"),
    ],
)
def test_wrong_requests_get_one_line(client: TestClient, body: dict[str, Any], status: int, words: str) -> None:
    answer = client.post("/v1/tasks", json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert names(client) == ["cola"]


def test_runs_that_cannot_be_served_are_refused_without_their_paths(
    client: TestClient, folder: Path, runs: Path, make_configs: Any, glue: str
) -> None:
    allowed = folder / "allowed"
    torch.manual_seed(9)
    BertForPreTraining(bert_config()).save_pretrained(folder / "other")
    save_tokenizer(folder / "other")
    make = make_configs(str(folder / "other"), glue, folder)
    saved_task(allowed / "other" / "adapter", make("sst2"), 0)
    saved_task(allowed / "full" / "adapter", make("sst2", strategy="full", model=str(runs.parent / "backbone")), 0)
    shutil.copytree(allowed / "group" / "sst2", allowed / "damaged")
    weights = allowed / "damaged" / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    expected = {"other": "another backbone", "damaged": "has changed", "full": "matrices of the backbone"}
    for path, words in expected.items():
        answer = add(client, path)
        assert answer.status_code == 422
        assert words in answer.json()["error"]
        assert str(folder / "allowed") not in answer.text
    assert names(client) == ["cola"]


@pytest.mark.parametrize(("error", "status"), [(RunError("damaged"), 422), (MemoryError("no memory"), 500)])
def test_a_task_that_cannot_be_loaded_leaves_its_name_free(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MultiTask, "add", raising(error))
        assert add(client, "group/sst2", name="new").status_code == status
    assert names(client) == ["cola"]
    assert add(client, "group/sst2", name="new").status_code == 201


def raising(error: Exception) -> Any:
    def fail(*_: Any) -> None:
        raise error

    return fail


def test_a_task_that_cannot_be_loaded_does_not_take_another_of_its_name_with_it(
    serve: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is loaded, it is removed, and another one gets its name."""
    client, service = serve(folder / "served", adapters=folder / "allowed")
    loading, go_on = threading.Event(), threading.Event()

    def fail(*_: Any) -> None:
        loading.set()
        go_on.wait(20)
        raise RunError("damaged")

    monkeypatch.setattr(MultiTask, "add", fail)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(add, client, "group/sst2", name="new")
        assert loading.wait(20)
        old = service.tasks.get("new")
        monkeypatch.undo()
        assert client.delete("/v1/tasks/new").status_code == 204
        second = threads.submit(add, client, "group/sst2", name="new")
        wait_for(lambda: any(task is not old and task.name == "new" for task in service.tasks.all()))
        go_on.set()
        assert first.result().status_code == 422
        assert second.result().status_code == 201
    assert client.post("/v1/predict", json=TEXT).status_code == 200


def test_a_task_that_is_removed_answers_what_was_accepted_and_only_then_goes(
    serve: Any, folder: Path, stalled: threading.Event
) -> None:
    client, service = serve(folder / "served", adapters=folder / "allowed", wait_ms=0)
    add(client, "group/sst2", name="new")
    key = service.tasks.get("new").key
    with ThreadPoolExecutor(3) as threads:
        accepted = [threads.submit(client.post, "/v1/predict", json=TEXT) for _ in range(3)]
        wait_for(lambda: service.batcher._unanswered.total() == 3)
        assert client.delete("/v1/tasks/new").status_code == 204
        assert client.post("/v1/predict", json=TEXT).status_code == 404
        assert key in service.tasks.model.tasks
        stalled.set()
        assert [each.result().status_code for each in accepted] == [200] * 3
    wait_for(lambda: key not in service.tasks.model.tasks)
    assert list(service.tasks.model.tasks) == [service.tasks.get("cola").key]


def test_tasks_come_and_go_under_load(serve: Any, folder: Path) -> None:
    client, service = serve(folder / "served", adapters=folder / "allowed", resident=1)
    stop = threading.Event()

    def ask() -> set[int]:
        statuses = set()
        while not stop.is_set():
            statuses.add(client.post("/v1/predict", json=TEXT).status_code)
            statuses.add(client.post("/v1/predict", json={**TEXT, "task": "cola"}).status_code)
        return statuses

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask) for _ in range(3)]
        for _ in range(15):
            assert add(client, "group/sst2", name="new").status_code == 201
            assert client.post("/v1/predict", json=TEXT).status_code == 200
            assert client.delete("/v1/tasks/new").status_code == 204
        stop.set()
        statuses = set().union(*(each.result() for each in asking))
    assert statuses <= {200, 404}
    assert len(service.tasks.model.tasks) <= 1
