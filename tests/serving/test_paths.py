"""Every path of the server gives what it promises, and predictions are those of the single runs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

import adapter_tune
from adapter_tune.run_files.adapter_files import ADAPTER
from adapter_tune.tasks.predictions import prediction_of
from tests.helpers import TOKENIZER, rows_of

TASKS = ("cola", "mnli", "rte", "sst2", "stsb", "topics")
PAIRS = ("mnli", "rte", "stsb")


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    """Pairs of the demo's sentences, of several lengths."""
    rows = rows_of("rte", 12)
    return [[*pair] for pair in zip(rows["sentence1"], rows["sentence2"], strict=True)]


@pytest.fixture(scope="module")
def expected(runs: Path, texts: list[list[str]], shared: TestClient) -> dict[str, list[Any]]:
    """By task: the predictions of the run alone, row by row."""
    answers: dict[str, list[Any]] = {}
    infos = {info["name"]: info for info in shared.get("/v1/tasks").json()["tasks"]}
    for name in TASKS:
        model: Any
        model, tokenizer = adapter_tune.load(runs / name / ADAPTER)
        spec: Any = type("Spec", (), {
            "name": name,
            "labels": tuple(infos[name]["labels"]),
            "is_multi_label": infos[name]["kind"] == "multi_label",
            "is_regression": infos[name]["kind"] == "regression",
        })  # fmt: skip
        answers[name] = []
        for pair in texts:
            columns = pair if name in PAIRS else pair[:1]
            with torch.inference_mode():
                tokens = tokenizer(*columns, truncation=True, max_length=24, return_tensors="pt")
                logits = model.eval()(**tokens).logits[0].float().numpy()
            answers[name].append(prediction_of(spec, logits))
    return answers


def body_of(texts: list[list[str]], tasks: list[str]) -> dict[str, Any]:
    with_pair = tasks[0] in PAIRS
    return {
        "tasks": tasks,
        "inputs": [{"text": first, "pair": second} if with_pair else {"text": first} for first, second in texts],
    }


def check(result: dict[str, Any], expected: Any) -> None:
    if isinstance(expected.answer, float):
        assert abs(result["prediction"] - expected.answer) < 1e-5
    else:
        assert result["prediction"] == expected.answer
    assert list(result["probabilities"]) == list(expected.probabilities)
    assert np.allclose(list(result["probabilities"].values()), list(expected.probabilities.values()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("tasks", [["cola"], ["sst2", "cola", "topics"], ["stsb", "mnli", "rte"]])
def test_predictions_are_those_of_the_single_runs_by_text_and_then_by_task(
    shared: TestClient, texts: list[list[str]], expected: dict[str, list[Any]], tasks: list[str]
) -> None:
    answer = shared.post("/v1/predict", json=body_of(texts, tasks))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(r["input"], r["task"]) for r in results] == [(row, name) for row in range(12) for name in tasks]
    for result in results:
        check(result, expected[result["task"]][result["input"]])


def test_a_single_text_is_asked_for_without_lists(
    shared: TestClient, texts: list[list[str]], expected: dict[str, list[Any]]
) -> None:
    (result,) = shared.post("/v1/predict", json={"task": "sst2", "text": texts[3][0]}).json()["results"]
    check(result, expected["sst2"][3])
    (result,) = shared.post("/v1/predict", json={"task": "rte", "text": texts[3][0], "pair": texts[3][1]}).json()[
        "results"
    ]
    check(result, expected["rte"][3])


def test_a_text_that_is_longer_than_its_task_reads_is_said_to_be_truncated(shared: TestClient) -> None:
    body = {"task": "sst2", "inputs": [{"text": "dog " * 23}, {"text": "dog " * 22}, {"text": ""}]}
    results = shared.post("/v1/predict", json=body).json()["results"]
    assert [result["truncated"] for result in results] == [True, False, False]


def test_the_list_of_tasks_says_what_each_reads(shared: TestClient) -> None:
    infos = {info["name"]: info for info in shared.get("/v1/tasks").json()["tasks"]}
    assert tuple(infos) == TASKS
    assert infos["stsb"] == {
        "name": "stsb",
        "kind": "regression",
        "texts": ["sentence1", "sentence2"],
        "labels": [],
        "max_length": 24,
        "resident": True,
    }
    assert infos["topics"]["kind"] == "multi_label"
    assert infos["topics"]["labels"] == ["big", "red"]
    assert infos["mnli"]["kind"] == "classification"


def test_health_and_readiness(shared: TestClient) -> None:
    for path in ("/health", "/ready"):
        answer = shared.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_page_and_the_documentation_load_nothing_from_elsewhere(shared: TestClient) -> None:
    for path in ("/", "/docs"):
        answer = shared.get(path)
        assert answer.status_code == 200
        addresses = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", answer.text)
        assert addresses
        for address in addresses:
            assert not address.startswith(("http:", "https:", "//")), address
            if address.startswith("/"):
                assert shared.get(address).status_code == 200
    assert "default-src 'none'" in shared.get("/").headers["content-security-policy"]


def test_the_document_describes_bodies_and_errors(shared: TestClient) -> None:
    document = shared.get("/openapi.json").json()
    text = json.dumps(document)
    for reference in set(re.findall(r'"#/components/schemas/(\w+)"', text)):
        assert reference in document["components"]["schemas"]
    predict = document["paths"]["/v1/predict"]["post"]
    assert predict["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/PredictRequest")
    assert {"200", "400", "401", "404", "413", "415", "422", "429", "503"} <= predict["responses"].keys()
    assert document["components"]["schemas"]["PredictRequest"]["additionalProperties"] is False


def test_metrics_count_requests_batches_and_adapters(serve: Any) -> None:
    client, _ = serve(resident=2)
    for name in ("cola", "sst2", "topics", "cola"):
        client.post("/v1/predict", json={"task": name, "text": "a dog"})
    client.get(f"/{'x' * 1000}")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))

    def get(name: str) -> float:
        return float(values[f"adapter_tune_{name}"])

    assert get('requests_total{method="POST",path="/v1/predict",status="200"}') == 4
    assert get('requests_total{method="GET",path="other",status="404"}') == 1
    assert get('request_seconds_count{path="/v1/predict"}') == 4
    assert get("batch_rows_sum") == 4
    assert get("batch_tokens_sum") == 4 * 4  # [CLS] a dog [SEP]
    assert get("queue_seconds_count") == 4
    assert get("queue_rows") == 0
    assert (get("adapters"), get("adapters_resident")) == (6, 2)
    assert get("adapter_load_seconds_count") == 2 + 3  # cola, mnli at the start; sst2 for mnli, topics for cola, cola
    assert get("adapter_evictions_total") == 3


def test_each_request_has_a_line_in_the_log_without_its_text(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    client, _ = serve()
    client.post("/v1/predict?secret=1", json={"tasks": ["sst2", "cola"], "text": "a private dog"})
    client.post("/v1/predict", content=b"{", headers={"content-type": "application/json"})
    client.get("/health")
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("POST", "/v1/predict", 200),
        ("POST", "/v1/predict", 400),
        ("GET", "/health", 200),
    ]
    assert lines[0]["tasks"] == ["sst2", "cola"]
    assert (lines[0]["rows"], lines[0]["tokens"]) == (2, 2 * len(TOKENIZER("a private dog")["input_ids"]))
    assert all(line["ms"] >= 0 and line["time"] for line in lines)
    assert "private" not in out
    assert "secret" not in out


def test_with_a_key_only_pages_and_probes_are_open(serve: Any) -> None:
    client, _ = serve(api_key="secret-1")
    for path in ("/", "/docs", "/openapi.json", "/health", "/ready", "/static-offline-docs/swagger-ui.css"):
        assert client.get(path).status_code == 200
    body = {"task": "sst2", "text": "a dog"}
    for wrong in (None, "Bearer secret-2", "Bearer secret-1 ", "bearer secret-1", "secret-1", "Bearer "):
        headers = {} if wrong is None else {"Authorization": wrong}
        for answer in (
            client.post("/v1/predict", json=body, headers=headers),
            client.get("/v1/tasks", headers=headers),
            client.get("/metrics", headers=headers),
            client.delete("/v1/tasks/sst2", headers=headers),
            client.get("/nothing", headers=headers),
        ):
            assert answer.status_code == 401
            assert "Authorization: Bearer" in answer.json()["error"]
    right = {"Authorization": "Bearer secret-1"}
    assert client.post("/v1/predict", json=body, headers=right).status_code == 200
    assert client.get("/metrics", headers=right).status_code == 200
