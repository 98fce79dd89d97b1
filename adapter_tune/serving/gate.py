"""What every request passes: the API key, its line in the log, its metrics, and one line for every failure."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter_tune.foundation.errors import UsageError
from adapter_tune.serving.logs import describe, log, log_request
from adapter_tune.serving.metrics import Metrics
from adapter_tune.serving.refusals import error_response

API_KEY = "ADAPTER_TUNE_API_KEY"
"""The environment variable with the key."""
HUNG_UP = 499
"""The status in the log of a request whose client hung up before its answer."""
FACTS = "adapter_tune.facts"
"""The key of a request's scope under which its path puts what the log says about it."""
_OPEN_PATHS = frozenset(("/", "/health", "/ready", "/docs", "/openapi.json"))
_OPEN_FOLDERS = ("/static-offline-docs/",)


def api_key(environment: Mapping[str, str]) -> str | None:
    """The key that requests need; None if the environment has none.

    Raises:
        UsageError: it is empty, or contains characters that no header may have.
    """
    key = environment.get(API_KEY)
    if key is not None and (not key or not key.isascii() or not key.isprintable() or " " in key):
        raise UsageError(f"{API_KEY}: a key is at least one printable ASCII character without spaces; set or unset it")
    return key


class Gate:
    """The outermost layer of the server.

    Args:
        app: what answers requests.
        key: the key that requests need; None to let everyone in.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, key: str | None, metrics: Metrics) -> None:
        self.app = app
        self.key = key
        self.metrics = metrics
        self.is_stopping = False
        """Whether connections are closed after their next answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        facts: dict[str, Any] = scope.setdefault(FACTS, {})
        answer = _Answer(self, send)
        try:
            await self._answer(scope, receive, answer)
        except Exception as error:
            log.error("%s %r: %s", scope["method"], scope["path"], describe(error))
            if not answer.status:
                await error_response(500, "the request failed; the server's log says why")(scope, receive, answer.send)
        finally:
            seconds = time.perf_counter() - start
            status = answer.status or HUNG_UP
            self.metrics.observe_request(scope["method"], scope["path"], status, seconds)
            log_request(scope["method"], scope["path"], status, seconds, facts)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if self._may_enter(scope):
            await self.app(scope, receive, answer.send)
        else:
            message = "the API key is missing or wrong; send the header Authorization: Bearer KEY"
            refusal = error_response(401, message, {"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, answer.send)

    def _may_enter(self, scope: Scope) -> bool:
        if self.key is None or scope["path"] in _OPEN_PATHS or scope["path"].startswith(_OPEN_FOLDERS):
            return True
        expected = f"Bearer {self.key}".encode()
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, expected)  # takes as long for every wrong key


class _Answer:
    """Passes an answer on, and remembers its status."""

    def __init__(self, gate: Gate, send: Send) -> None:
        self.gate = gate
        self.status = 0
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            message["headers"] = [*headers, (b"connection", b"close")] if self.gate.is_stopping else headers
        await self._send(message)
