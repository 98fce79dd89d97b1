"""A real browser for tests of pages: Chromium by the WebDriver protocol. Such tests are skipped where there is none."""

from __future__ import annotations

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


def started(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile; it ends when the iterator goes on."""
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
        browser = Browser(port, profile)
        yield browser
        browser.call("", method="DELETE")
    finally:
        driver.terminate()
        driver.wait(20)
