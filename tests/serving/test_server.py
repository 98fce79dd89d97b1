"""The real process: many clients, signals, clients that hang up, and requests of random bytes."""

import http.client
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_for

TASKS = ("cola", "sst2", "topics", "rte", "mnli", "stsb")
TEXT = {"task": "sst2", "text": "a dog"}
JSON = {"Content-Type": "application/json"}


class Process:
    """``adapter-tune serve`` with the runs of a folder."""

    def __init__(self, runs: Path, folder: Path, *options: str) -> None:
        self.out = folder / "out.jsonl"
        self.err = folder / "err.txt"
        words = [sys.executable, "-m", "adapter_tune", "serve", str(runs), "--port", "0", "--device", "cpu"]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen([*words, *options], stdout=out, stderr=err)
        for _ in range(1200):
            match = re.search(r"on http://127\.0\.0\.1:(\d+)", self.err.read_text())
            if match:
                self.port = int(match[1])
                return
            assert self.process.poll() is None, self.err.read_text()
            time.sleep(0.05)
        raise AssertionError("it did not start")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def post(self, body: Any) -> tuple[int, Any]:
        connection = self.connect()
        connection.request("POST", "/v1/predict", json.dumps(body), JSON)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def process(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    started = Process(runs, tmp_path_factory.mktemp("process"), "--precision", "float32", "--resident", "3")
    try:
        yield started
        assert started.stop(signal.SIGINT) == 0
        assert "Traceback" not in started.err.read_text()
        assert all(line["status"] < 500 for line in started.log())
    finally:
        started.process.kill()
        started.process.wait()


def body_of(task: str, text: str) -> dict[str, Any]:
    return {"task": task, "text": text, **({"pair": text} if task in TASKS[3:] else {})}


def test_at_sigterm_everything_that_was_accepted_is_answered(runs: Path, tmp_path: Path) -> None:
    """Clients send without a pause; a signal comes in between."""
    process = Process(runs, tmp_path, "--precision", "float32", "--resident", "4", "--wait-ms", "150")
    requests: list[tuple[float, float, int]] = []  # when it was sent and answered, and the status

    def ask(number: int) -> None:
        connection = process.connect()
        for step in range(1000):
            task = TASKS[(number + step) % len(TASKS)]
            try:
                connection.request("POST", "/v1/predict", json.dumps(body_of(task, "a dog")), JSON)
            except OSError:
                return  # nobody listens any more
            sent = time.monotonic()
            try:
                answer = connection.getresponse()
                assert len(json.loads(answer.read())["results"]) == 1
                requests.append((sent, time.monotonic(), answer.status))
            except (OSError, http.client.HTTPException):
                requests.append((sent, time.monotonic(), 0))
                return

    try:
        with ThreadPoolExecutor(12) as threads:
            asking = [threads.submit(ask, number) for number in range(12)]
            time.sleep(1.2)
            before = time.monotonic()
            process.process.send_signal(signal.SIGTERM)
            for each in asking:
                each.result()
        assert process.process.wait(30) == 0
    finally:
        process.process.kill()
    in_time = [status for sent, _, status in requests if sent < before]
    assert len(in_time) > 12
    assert set(in_time) == {200}
    assert any(sent < before < end for sent, end, _ in requests)  # some were waiting
    answered = sum(status == 200 for _, _, status in requests)
    assert [line["status"] for line in process.log()] == [200] * answered
    err = process.err.read_text()
    assert "stopping: no new connections" in err
    assert "Traceback" not in err
    with pytest.raises(OSError):
        process.connect().connect()


def test_a_second_signal_stops_at_once(runs: Path, tmp_path: Path) -> None:
    process = Process(runs / "sst2", tmp_path, "--wait-ms", "10000")
    connection = process.connect()
    connection.request("POST", "/v1/predict", json.dumps(TEXT), JSON)
    time.sleep(0.3)
    process.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.process.poll() is None
    start = time.monotonic()
    assert process.stop(signal.SIGTERM) == 143
    assert time.monotonic() - start < 8
    assert process.err.read_text().splitlines()[-1] == "terminated"
    assert "Traceback" not in process.err.read_text()


def test_a_client_that_hangs_up_disturbs_nobody(process: Process) -> None:
    request = "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}"
    body = json.dumps({"task": "rte", "inputs": [{"text": "a dog", "pair": "a cat"}] * 60})
    whole = request.format(len(body), body).encode()
    lines = len(process.err.read_text().splitlines())
    for end in (1, 20, 100, len(whole) - 5, len(whole), len(whole)):
        with socket.create_connection(("127.0.0.1", process.port), timeout=10) as connection:
            connection.sendall(whole[:end])
            if end % 2:  # closed hard
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    status, _ = process.post(TEXT)
    assert status == 200
    for _ in range(200):
        asking = process.connect()
        asking.request("GET", "/metrics")
        metrics = asking.getresponse().read().decode()
        if "adapter_tune_queue_rows 0.0" in metrics:
            break
        time.sleep(0.02)
    assert "adapter_tune_queue_rows 0.0" in metrics
    assert len(process.err.read_text().splitlines()) == lines
    assert any(line["status"] == 499 for line in process.log())


def random_json(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind < 6:
        strings = ["", "a dog", "\u0000", "\ud800", "é", "🙂" * 9, "<b>", "x" * 3000, *TASKS]
        scalars = [None, True, rng.randint(-5, 5), rng.random(), 10**400, float("nan"), float("inf"), *strings]
        return rng.choice(scalars)
    if kind == 6:
        return [random_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = ["task", "tasks", "text", "pair", "inputs", "", "x", "\ud800"]
    return {rng.choice(keys): random_json(rng, depth + 1) for _ in range(rng.randrange(5))}


def random_body(rng: random.Random) -> bytes:
    """A good request, one with a few wrong bytes, any JSON, or any bytes."""
    good = body_of(rng.choice(TASKS), rng.choice(["a dog", "", "the cat " * 40, "é\u202e"]))
    kind = rng.randrange(8)
    if kind == 0:
        return json.dumps(good).encode()
    if kind == 1:
        return json.dumps({**good, **{rng.choice([*good, "tasks", "inputs", "x"]): random_json(rng)}}).encode()
    if kind in (2, 3):
        return json.dumps(random_json(rng), ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
    if kind == 4:
        return rng.randbytes(rng.randrange(200))
    if kind == 5:
        return rng.choice([b"[", b'{"text":', b"[[", b"-", b'"']) * rng.randrange(3000)
    text = bytearray(json.dumps(good).encode())
    for _ in range(rng.randrange(1, 4)):
        position = rng.randrange(len(text))
        text[position : position + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return bytes(text)


def random_request(rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, path, body and headers; most are predictions."""
    if rng.random() < 0.8:
        return "POST", "/v1/predict", random_body(rng), JSON
    path = rng.choice(["/", "/v1/tasks", "/v1/tasks/sst2", "/health", "/ready", "/metrics", "/docs", "/openapi.json",
                       "/v1/tasks/%ff%00", "/%2e%2e/", "//", "/v1/predict?x=" + "y" * 500,
                       "/static-offline-docs/%2e%2e/%2e%2e/etc/passwd", "/" + "z" * 3000])  # fmt: skip
    method = rng.choice(["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "NONSENSE"])
    headers = {
        "Content-Type": rng.choice(["application/json", "text/plain", "", "application/json; charset=x"]),
        rng.choice(["Authorization", "X-Y", "Accept", "Upgrade"]): "".join(rng.choices("abc /;=*", k=9)).strip(),
    }
    return method, path, random_body(rng) if rng.random() < 0.5 else b"", headers


def fuzz(process: Process, count: int) -> None:
    rng = random.Random(count)
    connection = process.connect()
    for number in range(count):
        method, path, body, headers = random_request(rng)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert 200 <= answer.status < 500, (number, method, path, body[:200])
        assert answer.status // 100 != 3
        if answer.status >= 400 and method != "HEAD":
            error = json.loads(content)
            assert error.keys() == {"error"}
            assert error["error"].strip()
            assert len(error["error"].splitlines()) == 1
    connection.close()
    raw_fuzz(process, rng, count // 10)
    status, _ = process.post(TEXT)
    assert status == 200
    assert "Traceback" not in process.err.read_text()
    assert not re.search(r"Error\b", process.err.read_text())


def raw_fuzz(process: Process, rng: random.Random, count: int) -> None:
    """Bytes that are hardly HTTP: an answer of 400 on one line, or none."""
    for _ in range(count):
        request = bytearray(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        for _ in range(rng.randrange(1, 6)):
            position = rng.randrange(len(request))
            request[position : position + rng.randrange(4)] = rng.randbytes(rng.randrange(4))
        with socket.create_connection(("127.0.0.1", process.port), timeout=10) as connection:
            connection.sendall(bytes(request))
            connection.shutdown(socket.SHUT_WR)
            first_line = connection.makefile("rb").readline()
        assert first_line == b"" or re.match(rb"HTTP/1\.1 [24]\d\d ", first_line), (bytes(request), first_line)


def test_requests_of_random_bytes_get_answers_of_one_line(process: Process) -> None:
    fuzz(process, 200)


@pytest.mark.slow
def test_ten_thousand_requests_of_random_bytes(process: Process) -> None:
    fuzz(process, 10_000)


def test_many_clients_of_many_tasks_are_answered_as_one_is(process: Process) -> None:
    expected = {task: process.post(body_of(task, "a dog"))[1]["results"][0] for task in TASKS}

    def ask(number: int) -> None:
        for step in range(8):
            task = TASKS[(number + step) % len(TASKS)]
            status, content = process.post(body_of(task, "a dog"))
            assert status == 200
            (result,) = content["results"]
            assert result["probabilities"] == pytest.approx(expected[task]["probabilities"], abs=1e-5)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))


def test_answers_are_sent_at_once(process: Process) -> None:
    """On a connection that stays open, a small packet would wait 40 ms for the acknowledgement of the last one."""
    connection = process.connect()
    seconds = []
    for _ in range(25):
        start = time.monotonic()
        connection.request("POST", "/v1/predict", b"{", JSON)
        assert connection.getresponse().read()
        seconds.append(time.monotonic() - start)
    connection.close()
    assert statistics.median(seconds) < 0.03


def test_the_log_goes_to_standard_output_alone(process: Process) -> None:
    before = len(process.log())
    assert process.post(TEXT)[0] == 200
    wait_for(lambda: any(line.get("tasks") == ["sst2"] for line in process.log()[before:]))  # written after the answer
    assert os.fspath(process.out) != os.fspath(process.err)
