"""One JSON line on standard output for each request; other messages are one line on standard error."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from adapter_tune.foundation.errors import first_line

_MAX_PATH = 200
log = logging.getLogger("adapter_tune")


class OneLine(logging.Formatter):
    """A message on one line; of an exception only its type and its first line, without a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message = record.getMessage()
        if "Traceback (most recent call last)" in message:  # uvicorn passes some on as text
            message = message.strip().splitlines()[-1]
        text = " ".join(message.split())
        error = record.exc_info[1] if record.exc_info else None
        return text if error is None else f"{text}: {describe(error)}"


def describe(error: BaseException) -> str:
    """The type of an error and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"


def quiet_libraries() -> None:
    """Make the messages of the HTTP server one line each, on standard error, from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "concurrent.futures"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.WARNING)
        logger.propagate = False


def log_request(method: str, path: str, status: int, seconds: float, facts: dict[str, Any]) -> None:
    """Print the line of a request. It has no text of the request, and nothing of its query.

    Args:
        method: of HTTP.
        path: the address without the query.
        status: of the answer; 499 if the client hung up before it.
        seconds: from the request to the answer.
        facts: what else is known, such as its tasks and the number of rows.
    """
    line = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "method": method,
        "path": path[:_MAX_PATH],
        "status": status,
        "ms": round(1e3 * seconds, 1),
        **facts,
    }
    with suppress(OSError, ValueError):  # if nobody reads the log any more, requests are answered all the same
        print(json.dumps(line), flush=True)
