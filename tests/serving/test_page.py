"""The page in a real browser; skipped where Chromium and its driver are not installed."""

import json
import urllib.request
from typing import Any

from tests.browser import Browser, needs_browser


def choose(browser: Browser, task: str) -> None:
    browser.click(f"#task option[value='{task}']")


@needs_browser
def test_a_person_types_a_text_and_reads_the_scores(browser: Browser, start_server: Any) -> None:
    address = start_server()
    browser.resize(1280)
    browser.open(address)
    browser.wait_for("!document.getElementById('predict').disabled")
    assert browser.run("document.getElementById('key-field').hidden")
    choose(browser, "sst2")
    browser.type("#text", "a warm, funny film")
    browser.click("#predict")
    browser.wait_for("document.querySelectorAll('#scores li').length === 2")
    request = urllib.request.Request(
        f"{address}/v1/predict",
        json.dumps({"task": "sst2", "text": "a warm, funny film"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        (result,) = json.load(answer)["results"]
    assert browser.text("#message") == f"Prediction: {result['prediction']}"
    shown = dict(line.split("\n") for line in _items(browser))
    assert shown == {label: f"{100 * p:.1f} %" for label, p in result["probabilities"].items()}
    assert next(iter(shown)) == result["prediction"]  # the most probable first
    width = float(browser.run("document.querySelector('.bar').getBoundingClientRect().width"))
    track = float(browser.run("document.querySelector('.track').getBoundingClientRect().width"))
    assert abs(width / track - max(result["probabilities"].values())) < 0.01
    browser.screenshot("page-1280.png")
    browser.resize(390)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.screenshot("page-390.png")


def _items(browser: Browser) -> list[str]:
    items: list[str] = browser.run("[...document.querySelectorAll('#scores li')].map((item) => item.innerText)")
    return items


@needs_browser
def test_pairs_numbers_several_labels_and_mistakes(browser: Browser, start_server: Any) -> None:
    browser.open(start_server())
    browser.wait_for("!document.getElementById('predict').disabled")
    assert browser.run("document.getElementById('pair-field').hidden")  # cola reads one text
    choose(browser, "stsb")
    assert "sentence2" in browser.text("#pair-label")
    browser.type("#text", "a dog")
    browser.click("#predict")  # the second text is required, so nothing is sent
    assert browser.text("#message") == ""
    browser.type("#pair", "<img src=x onerror=alert(1)> " + "dog " * 30)
    browser.click("#predict")
    browser.wait_for("document.getElementById('message').textContent.startsWith('Prediction: ')")
    assert "the text was too long" in browser.text("#message")
    float(browser.text("#message").split()[1])
    assert _items(browser) == []
    choose(browser, "topics")
    browser.click("#predict")
    browser.wait_for("document.querySelectorAll('#scores li').length === 2")
    browser.run("document.getElementById('text').value = 'a'.repeat(20001)")
    browser.click("#predict")
    browser.wait_for("document.getElementById('message').classList.contains('error')")
    assert "20,001 characters" in browser.text("#message")
    assert _items(browser) == []
    browser.screenshot("page-error.png")
    labels = browser.run(
        "[...document.querySelectorAll('select, textarea, input')].every((field) => field.labels.length === 1)"
    )
    assert labels


@needs_browser
def test_the_page_asks_for_the_key_where_there_is_one(browser: Browser, start_server: Any) -> None:
    browser.open(start_server(api_key="secret"))
    browser.wait_for("!document.getElementById('key-field').hidden")
    assert browser.text("#message") == "Enter the API key."
    browser.type("#key", "wrong\t")
    browser.wait_for("document.getElementById('message').textContent.includes('wrong')")
    browser.run("document.getElementById('key').value = ''")
    browser.type("#key", "secret\t")
    browser.wait_for("!document.getElementById('predict').disabled")
    browser.type("#text", "a dog")
    browser.click("#predict")
    browser.wait_for("document.querySelectorAll('#scores li').length === 2")


@needs_browser
def test_the_documentation_works_without_a_network(browser: Browser, start_server: Any) -> None:
    address = start_server()
    browser.open(f"{address}/docs")
    browser.wait_for("document.querySelectorAll('.opblock').length === 7")
    outside = browser.run(
        "performance.getEntriesByType('resource').map((entry) => entry.name)"
        f".filter((name) => !name.startsWith('{address}') && !name.startsWith('data:'))"
    )
    assert outside == []
    browser.screenshot("docs-1280.png")
    messages = [entry["message"] for entry in browser.call("/se/log", {"type": "browser"})]
    assert not [message for message in messages if "ERR_" in message or "Content Security Policy" in message], messages
