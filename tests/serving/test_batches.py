"""Rows of all requests and tasks share batches, with little padding; adapters come and go below them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from adapter_tune.serving.batch_choice import MAX_PADDING, choose_rows
from adapter_tune.serving.batcher import Batcher
from adapter_tune.serving.jobs import Job
from adapter_tune.serving.service import Service
from tests.helpers import wait_for

SINGLE = ("cola", "sst2", "topics")
PAIRS = ("mnli", "rte", "stsb")
TASKS = (*SINGLE, *PAIRS)
WORDS = ("a dog", "the cat sees a big red bird", "a man eats", "the old woman sleeps in the house", "it")


def body_of(task: str, text: str) -> dict[str, Any]:
    return {"task": task, "text": text, **({"pair": f"{text} too"} if task in PAIRS else {})}


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.integers(1, 2000))
def test_a_batch_has_the_oldest_row_and_keeps_its_limits(lengths: list[int], max_tokens: int) -> None:
    rows = choose_rows(lengths, max_tokens)
    assert rows[0] == 0
    assert rows == sorted(set(rows))
    padded = len(rows) * max(lengths[row] for row in rows)
    assert padded <= max_tokens or rows == [0]
    assert padded - sum(lengths[row] for row in rows) <= MAX_PADDING * padded


def test_rows_of_similar_length_go_together_and_the_oldest_first() -> None:
    assert choose_rows([10, 50, 11, 90, 9, 10], 1000) == [0, 2, 4, 5]
    assert choose_rows([50, 10, 52, 90], 1000) == [0, 2]
    assert choose_rows([7] * 10, 28) == [0, 1, 2, 3]
    assert choose_rows([500, 1, 1], 100) == [0]


def batches_of(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, int]]]:
    """Fills with the task and the length of every row of every batch that is computed."""
    batches: list[list[tuple[str, int]]] = []
    logits = Batcher._logits

    def record(batcher: Batcher, rows: Any) -> Any:
        batches.append([(row.task.name, row.length) for row in rows])
        return logits(batcher, rows)

    monkeypatch.setattr(Batcher, "_logits", record)
    return batches


def of_seven_tokens(task: str) -> dict[str, Any]:
    if task in PAIRS:
        return {"task": task, "text": "a dog", "pair": "a cat"}
    return {"task": task, "text": "a dog a cat a"}


def test_requests_of_all_tasks_that_arrive_together_are_one_batch(
    serve: Any, shared: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = serve(wait_ms=400)
    batches = batches_of(service, monkeypatch)
    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(client.post, "/v1/predict", json=of_seven_tokens(task)) for task in TASKS]
        results = [answer.result().json()["results"][0] for answer in answers]
    assert [sorted(batch) for batch in batches] == [sorted((task, 7) for task in TASKS)]
    for task, result in zip(TASKS, results, strict=True):
        (alone,) = shared.post("/v1/predict", json=of_seven_tokens(task)).json()["results"]
        assert result["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
        if task == "stsb":
            assert result["prediction"] == pytest.approx(alone["prediction"], abs=1e-5)
    values = service.metrics.text().decode()
    assert "adapter_tune_batch_rows_sum 6.0" in values
    assert "adapter_tune_batch_rows_count 1.0" in values


def test_a_full_batch_does_not_wait(serve: Any) -> None:
    client, _ = serve(wait_ms=10_000, batch_tokens=14)
    start = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(client.post, "/v1/predict", json=of_seven_tokens("sst2")) for _ in range(2)]
        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert time.monotonic() - start < 5


def test_rows_wait_no_longer_than_they_are_told(serve: Any) -> None:
    client, _ = serve(wait_ms=200)
    client.post("/v1/predict", json=body_of("sst2", "a dog"))
    start = time.monotonic()
    assert client.post("/v1/predict", json=body_of("sst2", "a dog")).status_code == 200
    assert 0.2 <= time.monotonic() - start < 1


def test_a_request_that_is_larger_than_a_batch_is_computed_in_several(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = serve(batch_tokens=40, wait_ms=0)
    batches = batches_of(service, monkeypatch)
    inputs = [{"text": " ".join(islice(iter(["dog"] * 30), number % 15))} for number in range(60)]
    results = client.post("/v1/predict", json={"tasks": ["sst2", "cola"], "inputs": inputs}).json()["results"]
    assert [(result["input"], result["task"]) for result in results] == [
        (number, task) for number in range(60) for task in ("sst2", "cola")
    ]
    assert sum(map(len, batches)) == 120
    for batch in batches:
        padded = len(batch) * max(length for _, length in batch)
        assert padded <= 40
        assert padded - sum(length for _, length in batch) <= MAX_PADDING * padded
    first, last = results[0], results[30]  # inputs 0 and 15 are the same text
    assert first["probabilities"] == pytest.approx(last["probabilities"], abs=1e-5)


def test_more_tasks_than_fit_are_answered_rightly_by_many_clients(serve: Any) -> None:
    everything, _ = serve()
    expected = {}
    for task in TASKS:
        for text in WORDS:
            (expected[task, text],) = everything.post("/v1/predict", json=body_of(task, text)).json()["results"]
    client, service = serve(resident=2, wait_ms=1)
    most = 0

    def ask(number: int) -> None:
        nonlocal most
        for step in range(25):
            task, text = TASKS[(number * 5 + step) % 6], WORDS[(number + step) % 5]
            answer = client.post("/v1/predict", json=body_of(task, text))
            most = max(most, len(service.tasks.model.tasks))
            assert answer.status_code == 200
            (result,) = answer.json()["results"]
            assert result["probabilities"] == pytest.approx(expected[task, text]["probabilities"], abs=1e-5)
            if task == "stsb":
                assert result["prediction"] == pytest.approx(expected[task, text]["prediction"], abs=1e-5)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
    assert most == 2
    assert len(service.tasks.model.tasks) == 2
    assert service.metrics.adapter_evictions._value.get() > 10


def test_the_least_recently_used_adapter_goes(serve: Any) -> None:
    client, service = serve(resident=2)
    for task in ("cola", "sst2", "cola", "topics"):
        client.post("/v1/predict", json=body_of(task, "a dog"))
    assert [task.name for task in service.tasks.resident()] == ["cola", "topics"]
    infos = client.get("/v1/tasks").json()["tasks"]
    assert [info["name"] for info in infos if info["resident"]] == ["cola", "topics"]


def test_an_adapter_whose_files_have_gone_fails_alone(
    serve: Any, runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    shutil.copytree(runs, tmp_path / "runs")
    client, service = serve(tmp_path / "runs", resident=1)
    weights = tmp_path / "runs" / "sst2" / "adapter" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    answer = client.post("/v1/predict", json={"tasks": ["sst2", "cola"], "text": "a dog"})
    assert answer.status_code == 503
    assert answer.json()["error"] == "task 'sst2' cannot be loaded; the server's log says why"
    assert "has changed since it was saved" in caplog.text
    assert client.post("/v1/predict", json=body_of("cola", "a dog")).status_code == 200
    weights.write_bytes(content)
    assert client.post("/v1/predict", json=body_of("sst2", "a dog")).status_code == 200
    wait_for(lambda: service.batcher._unanswered.total() == 0)


def test_stopping_computes_what_was_accepted(make_service: Any, stalled: threading.Event) -> None:
    service = make_service(wait_ms=10_000)
    service.start()
    task = service.tasks.get("sst2")
    jobs = []
    for text in WORDS:
        service.batcher.accept([task])
        (tokens,), _ = service.predictor.texts.encode(task.task, [[text]])
        jobs.append(Job([(task, tokens)]))
        service.batcher.submit(jobs[-1])
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    stalled.set()
    stopping.join(20)
    assert not stopping.is_alive()
    assert all(len(job.future.result(0)) == 1 for job in jobs)


def test_stopping_also_computes_rows_that_are_still_tokenised(make_service: Any) -> None:
    service = make_service()
    service.start()
    task = service.tasks.get("sst2")
    service.batcher.accept([task])
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    stopping.join(0.2)
    assert stopping.is_alive()
    (tokens,), _ = service.predictor.texts.encode(task.task, [["a dog"]])
    job = Job([(task, tokens)])
    service.batcher.submit(job)
    stopping.join(20)
    assert not stopping.is_alive()
    assert len(job.future.result(0)) == 1


def test_a_row_that_cannot_be_computed_fails_only_its_own_request(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, service = serve(wait_ms=400)
    batches = batches_of(service, monkeypatch)
    logits = Batcher._logits

    def fail_cola(batcher: Batcher, rows: Any) -> Any:
        results = logits(batcher, rows)
        if any(row.task.name == "cola" for row in rows):
            raise RuntimeError("this adapter fails")
        return results

    monkeypatch.setattr(Batcher, "_logits", fail_cola)
    with ThreadPoolExecutor(6) as threads:
        answers = {task: threads.submit(client.post, "/v1/predict", json=of_seven_tokens(task)) for task in TASKS}
        statuses = {task: answer.result().status_code for task, answer in answers.items()}
    assert statuses == {task: 500 if task == "cola" else 200 for task in TASKS}
    assert len(batches[0]) == len(TASKS)
    assert len(batches[-1]) < len(TASKS)
    wait_for(lambda: service.batcher._unanswered.total() == 0)
    assert client.post("/v1/predict", json=of_seven_tokens("sst2")).status_code == 200
