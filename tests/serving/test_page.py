"""The page in a real browser; skipped where Chromium and its driver are not installed."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""WebDriver's key for the id of an element."""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900",
]  # fmt: skip
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")


class Browser:
    """A page in Chromium, by the WebDriver protocol."""

    def __init__(self, port: int, profile: Path) -> None:
        self.base = f"http://127.0.0.1:{port}"
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.base += "/session/" + self.call("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, address: str) -> None:
        self.call("/url", {"url": address})

    def run(self, script: str) -> Any:
        return self.call("/execute/sync", {"script": f"return {script}", "args": []})

    def find(self, css: str) -> str:
        return str(self.call("/element", {"using": "css selector", "value": css})[ELEMENT])

    def type(self, css: str, text: str) -> None:
        self.call(f"/element/{self.find(css)}/value", {"text": text})

    def click(self, css: str) -> None:
        self.call(f"/element/{self.find(css)}/click", {})

    def text(self, css: str) -> str:
        return str(self.call(f"/element/{self.find(css)}/text"))

    def wait_for(self, script: str) -> None:
        for _ in range(500):
            if self.run(script):
                return
            time.sleep(0.02)
        raise AssertionError(f"{script}; the page shows: {self.text('body')}")

    def resize(self, width: int) -> None:
        """Lay the page out for a screen of this width; a window cannot be as narrow as a phone."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def screenshot(self, name: str) -> None:
        """Save a picture, if the environment names a folder for them."""
        folder = os.environ.get("ADAPTER_TUNE_SCREENSHOTS")
        if folder:
            Path(folder, name).write_bytes(b64decode(self.call("/screenshot")))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        started = Browser(port, tmp_path_factory.mktemp("profile"))
        yield started
        started.call("", method="DELETE")
    finally:
        driver.terminate()
        driver.wait(20)


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
