"""What is wrong with a request is said in one line; limits hold; nothing that is accepted is lost."""

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from adapter_tune.foundation.errors import UsageError
from adapter_tune.serving.app import create_app
from adapter_tune.serving.batcher import Batcher
from adapter_tune.serving.gate import api_key
from adapter_tune.serving.limits import Limits
from adapter_tune.serving.service import Service
from tests.helpers import wait_for

JSON = {"content-type": "application/json"}
TEXT = {"task": "sst2", "text": "a dog"}


def rows_in_queue(service: Service) -> int:
    return service.batcher._unanswered.total()


def error_of(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert content.keys() == {"error"}
    assert content["error"]
    assert "\n" not in content["error"]
    assert len(content["error"]) < 510
    return str(content["error"])


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"task": "sst2", "text": "a\x00b"}', 400, "not JSON"),
        (b'{"task": "sst2", "text": "\xff"}', 400, "not UTF-8 (byte 0xff at position 26)"),
        ('{"task": "sst2", "text": "é"}'.encode("utf-16"), 400, "not UTF-8"),
        (b'{"task": "sst2", "text": NaN}', 400, "NaN is no JSON value"),
        (b'{"task": "sst2", "text": -Infinity}', 400, "-Infinity is no JSON value"),
        (b'{"task": "sst2", "text": 1e999}', 422, "text: should be a valid string"),
        (b'{"task": "sst2", "text": ' + b"1" * 5000 + b"}", 400, "not JSON"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"a":' * 50_000, 400, "nested too deeply"),
        (b'{"task": "sst2", "task": "rte", "text": "a"}', 400, "key 'task' is in it twice"),
        (b"[]", 422, "the body: "),
        (b"null", 422, "the body: "),
        (b"{}", 422, "give either task or tasks"),
        (b'{"task": "sst2"}', 422, "give either text or inputs"),
        (b'{"task": "sst2", "tasks": ["rte"], "text": "a"}', 422, "give either task or tasks"),
        (b'{"task": "sst2", "text": "a", "inputs": [{"text": "b"}]}', 422, "give either text or inputs"),
        (b'{"task": "sst2", "inputs": [{"text": "b"}], "pair": "c"}', 422, "give each its own pair"),
        (b'{"task": 5, "text": "a"}', 422, "task: should be a valid string"),
        (b'{"task": "sst2", "text": null}', 422, "give either text or inputs"),
        (b'{"task": "sst2", "text": ["a", "b"]}', 422, "text: should be a valid string"),
        (b'{"tasks": [], "text": "a"}', 422, "tasks: List should have at least 1 item"),
        (b'{"tasks": "sst2", "text": "a"}', 422, "tasks: should be a valid list"),
        (b'{"tasks": ["sst2", "cola", "sst2"], "text": "a"}', 422, "task 'sst2' is given twice"),
        (b'{"task": "sst2", "inputs": []}', 422, "inputs: List should have at least 1 item"),
        (b'{"task": "sst2", "inputs": [{"text": "a"}, {}]}', 422, "inputs[1].text is missing"),
        (b'{"task": "sst2", "inputs": [{"text": "a", "label": 1}]}', 422, "unknown key 'inputs[0].label'; see /docs"),
        (b'{"task": "sst2", "text": "a", "temperature": 1}', 422, "unknown key 'temperature'; known keys: task, "),
        (b'{"task": "sst2", "text": "a", "\\ud800": 1}', 400, "half of a character"),
        (b'{"task": "sst2", "text": "\\ud800 a"}', 400, "half of a character"),
        (b'{"task": "sst2", "text": "a\\u0000"}', 422, "null character"),
        (b'{"task": "sst3", "text": "a"}', 404, "unknown task 'sst3'; did you mean 'sst2'?"),
        (b'{"task": "sst2", "text": "a", "pair": "b"}', 422, "task 'sst2' reads one text; remove pair"),
        (b'{"task": "rte", "text": "a"}', 422, "reads two texts (sentence1 and sentence2); give text and pair"),
        (b'{"tasks": ["rte", "sst2"], "text": "a", "pair": "b"}', 422, "task 'sst2' reads one text"),
        (b'{"task": "rte", "inputs": [{"text": "a", "pair": "b"}, {"text": "a"}]}', 422, "inputs[1]: task 'rte' reads"),
        (json.dumps({"task": "sst2", "text": "a" * 20_001}).encode(), 422, "20,001 characters"),
        (json.dumps({"task": "sst2", "inputs": [{"text": "a"}] * 129}).encode(), 422, "129 texts for 1 task"),
        (json.dumps({"tasks": ["sst2", "cola"], "inputs": [{"text": "a"}] * 65}).encode(), 422, "130 rows"),
        (json.dumps({"task": "sst2", "inputs": [1] * 300_000}).encode(), 422, "inputs[0]: "),
        (json.dumps({"tasks": ["sst2"] * 90_000, "text": "a"}).encode(), 422, "90,000 rows"),
        (b" " * (1 << 20) + b"1", 413, "larger than 1,048,576 bytes"),
    ],
)  # fmt: skip
def test_a_wrong_body_gets_one_line(shared: TestClient, body: bytes, status: int, words: str) -> None:
    assert words in error_of(shared.post("/v1/predict", content=body, headers=JSON), status)
    assert shared.post("/v1/predict", json=TEXT).status_code == 200


def test_a_body_of_many_keys_is_refused_at_once(shared: TestClient) -> None:
    """One thread tokenises for all requests, so a body that takes long would keep all of them waiting."""
    keys = ", ".join(f'"{number}": 0' for number in range(30_000))
    start = time.process_time()
    answer = shared.post("/v1/predict", content=f'{{{keys}, "twice": 0, "twice": 1}}'.encode(), headers=JSON)
    assert "key 'twice' is in it twice" in error_of(answer, 400)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_bodies_declared_as_json_are_read(shared: TestClient, media_type: str) -> None:
    answer = shared.post("/v1/predict", content=json.dumps(TEXT).encode(), headers={"content-type": media_type})
    assert "Content-Type: application/json" in error_of(answer, 415)
    with_charset = {"content-type": "Application/JSON; charset=utf-8"}
    assert shared.post("/v1/predict", content=json.dumps(TEXT).encode(), headers=with_charset).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/predict", 405),
        ("POST", "/", 405),
        ("GET", "/v1/tasks/", 404),
        ("GET", "/v1/tasks/sst2", 405),
        ("GET", "/static-offline-docs/../../server.py", 404),
        ("GET", "/static-offline-docs/%2e%2e/core.py", 404),
        ("POST", "/v1/predict/", 404),
        ("GET", "/%00%ff", 404),
    ],
)
def test_other_paths_and_methods_get_one_line(shared: TestClient, method: str, path: str, status: int) -> None:
    answer = shared.request(method, path)
    assert answer.status_code in (status, 404, 405)
    error_of(answer, answer.status_code)


def test_a_full_queue_refuses_more_and_forgets_nothing(serve: Any, stalled: threading.Event) -> None:
    client, service = serve(limits=Limits(rows=4, queue=5))
    body = {"task": "sst2", "inputs": [{"text": "a"}, {"text": "b"}]}
    with ThreadPoolExecutor(3) as threads:
        accepted: list[Future[Any]] = [threads.submit(client.post, "/v1/predict", json=body) for _ in range(2)]
        wait_for(lambda: rows_in_queue(service) == 4)
        refused = client.post("/v1/predict", json=body)
        assert "4 rows are waiting, and at most 5 may" in error_of(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        last = threads.submit(client.post, "/v1/predict", json=TEXT)
        wait_for(lambda: rows_in_queue(service) == 5)
        stalled.set()
        assert [each.result().status_code for each in (*accepted, last)] == [200] * 3
    assert client.post("/v1/predict", json=body).status_code == 200
    wait_for(lambda: rows_in_queue(service) == 0)


def test_a_refused_request_leaves_no_rows_behind(serve: Any) -> None:
    client, service = serve(limits=Limits(rows=2, queue=2))
    for _ in range(5):
        error_of(client.post("/v1/predict", json={"task": "sst2", "text": "a", "pair": "b"}), 422)
        error_of(client.post("/v1/predict", json={"task": "nothing", "text": "a"}), 404)
    assert client.post("/v1/predict", json={"task": "sst2", "inputs": [{"text": "a"}] * 2}).status_code == 200
    wait_for(lambda: rows_in_queue(service) == 0)


def test_texts_that_cannot_be_tokenised_leave_no_rows_behind(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, service = serve()

    def fail(*_: Any) -> Any:
        raise ValueError("two\nlines")

    with monkeypatch.context() as patch:
        patch.setattr(service.predictor.texts, "encode", fail)
        assert "the server's log says why" in error_of(client.post("/v1/predict", json=TEXT), 500)
    assert rows_in_queue(service) == 0
    assert client.post("/v1/predict", json=TEXT).status_code == 200


def test_more_requests_than_rows_may_wait_are_refused_before_they_are_read(
    serve: Any, stalled: threading.Event
) -> None:
    client, service = serve(limits=Limits(rows=1, queue=1))
    with ThreadPoolExecutor(1) as threads:
        accepted = threads.submit(client.post, "/v1/predict", json=TEXT)
        wait_for(lambda: rows_in_queue(service) == 1)
        answer = client.post("/v1/predict", content=b"not read")
        assert "too many requests" in error_of(answer, 429)
        stalled.set()
        assert accepted.result().status_code == 200


def test_a_request_that_waits_too_long_is_told_so_and_is_not_computed(serve: Any, stalled: threading.Event) -> None:
    client, service = serve(limits=Limits(seconds=0.3), wait_ms=0)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(client.post, "/v1/predict", json=TEXT)
        wait_for(lambda: rows_in_queue(service) == 1 and not service.batcher._waiting)
        second = threads.submit(client.post, "/v1/predict", json=TEXT)
        for answer in (first.result(), second.result()):
            assert "no answer within 0.3 seconds" in error_of(answer, 503)
            assert answer.headers["retry-after"]
        stalled.set()
        wait_for(lambda: rows_in_queue(service) == 0)
    assert b"adapter_tune_batch_rows_sum 1.0" in service.metrics.text()  # the second row was not computed
    assert client.post("/v1/predict", json=TEXT).status_code == 200


def test_the_time_limit_holds_for_requests_that_wait_to_be_tokenised(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = serve(limits=Limits(seconds=0.3), wait_ms=0)
    encode = service.predictor.texts.encode
    go_on = threading.Event()
    calls = []

    def slow(*arguments: Any) -> Any:
        calls.append(arguments)
        go_on.wait(20)
        return encode(*arguments)

    monkeypatch.setattr(service.predictor.texts, "encode", slow)
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(client.post, "/v1/predict", json=TEXT) for _ in range(2)]
        wait_for(lambda: service.predictor._requests == 2 and len(calls) == 1)
        time.sleep(0.4)
        go_on.set()
        late = [answer.result() for answer in answers if answer.result().status_code != 200]
    assert late  # the first one has an answer if it is ready
    for answer in late:
        assert "no answer within 0.3 seconds" in error_of(answer, 503)
    assert len(calls) == 1  # the second one was not tokenised
    wait_for(lambda: rows_in_queue(service) == 0)
    assert client.post("/v1/predict", json=TEXT).status_code == 200


def scope_of(path: str = "/v1/predict") -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, "state": {}}


async def call(service: Service, messages: list[dict[str, Any]], *, forever: bool = False) -> list[dict[str, Any]]:
    """What the application sends to a client from which these messages come."""
    sent = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        if forever:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app(service)(scope_of(), receive, send)
    return sent


def test_a_body_that_does_not_arrive_is_given_up(make_service: Any) -> None:
    service = make_service(limits=Limits(seconds=0.1))
    part = {"type": "http.request", "body": b'{"task"', "more_body": True}
    sent = asyncio.run(call(service, [part], forever=True))
    assert sent[0]["status"] == 408
    assert b"did not arrive within 0.1 seconds" in sent[1]["body"]


def test_a_client_that_hangs_up_leaves_nothing_behind(make_service: Any, capfd: pytest.CaptureFixture[str]) -> None:
    service = make_service(wait_ms=200)
    service.start()
    body = json.dumps(TEXT).encode()
    whole = {"type": "http.request", "body": body, "more_body": False}
    half = {"type": "http.request", "body": body[:9], "more_body": True}
    for message in (half, whole):
        sent = asyncio.run(call(service, [message]))
        assert [each.get("status", each.get("body")) for each in sent] == [499, b""]  # no connection takes it
    service.stop()
    assert rows_in_queue(service) == 0
    assert b"adapter_tune_batch_rows_sum 0.0" in service.metrics.text()
    out, err = capfd.readouterr()
    assert [json.loads(line)["status"] for line in out.splitlines()] == [499, 499]
    assert err == ""


def test_a_batch_that_fails_is_answered_and_the_next_one_is_computed(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, service = serve()

    def fail(*_: Any) -> Any:
        raise RuntimeError("CUDA error\nmore lines")

    with monkeypatch.context() as patch:
        patch.setattr(Batcher, "_logits", fail)
        assert "the server's log says why" in error_of(client.post("/v1/predict", json=TEXT), 500)
    assert "RuntimeError: CUDA error" in caplog.text
    assert "Traceback" not in caplog.text
    assert client.post("/v1/predict", json=TEXT).status_code == 200
    wait_for(lambda: rows_in_queue(service) == 0)  # rows are answered before they are counted as answered


def test_logits_that_are_not_finite_are_no_answer(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = serve()
    monkeypatch.setattr(Batcher, "_logits", lambda *_: [np.array([np.nan, 0.0])])
    assert "no finite numbers" in error_of(client.post("/v1/predict", json=TEXT), 500)


def test_a_failure_of_the_server_is_one_line_for_the_client_and_one_in_the_log(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, service = serve()

    def fail() -> Any:
        raise KeyError("secret detail")

    monkeypatch.setattr(service, "task_list", fail)
    with caplog.at_level(logging.ERROR):
        answer = client.get("/v1/tasks")
    assert "secret" not in error_of(answer, 500)
    (record,) = caplog.records
    assert "GET '/v1/tasks': KeyError: 'secret detail'" in record.getMessage()
    assert record.exc_info is None


def test_readiness_and_health_say_when_the_thread_that_computes_has_gone(serve: Any) -> None:
    client, service = serve()
    service.batcher.stop()
    for path in ("/health", "/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
    assert "stopping" in error_of(client.post("/v1/predict", json=TEXT), 503)


def test_a_request_of_the_largest_size_must_fit_into_the_queue() -> None:
    with pytest.raises(UsageError, match="--max-rows 20 is more than --max-queue 10"):
        Limits(rows=20, queue=10)


@pytest.mark.parametrize("key", ["", "two words", "clé", "a\nb", "\x7f"])
def test_a_key_that_no_header_can_have_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="ADAPTER_TUNE_API_KEY"):
        api_key({"ADAPTER_TUNE_API_KEY": key})
    assert api_key({}) is None
    assert api_key({"ADAPTER_TUNE_API_KEY": "k-1"}) == "k-1"
