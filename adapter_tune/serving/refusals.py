"""A request that is not answered with a prediction: a status, one line, and when to try again."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Response

_MAX_CHARACTERS = 500


class RefusedRequest(Exception):  # noqa: N818  (a refusal is no failure of the server)
    """A request that gets an error as its answer.

    Args:
        status: of HTTP.
        message: one line with the cause and the fix.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """``{"error": "..."}``, whatever characters the message has."""
    line = " ".join(message.encode("utf-8", "backslashreplace").decode().split())
    if len(line) > _MAX_CHARACTERS:
        line = f"{line[:_MAX_CHARACTERS]}..."
    return json_response({"error": line}, status, headers)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(json.dumps(content, ensure_ascii=False), status, headers, "application/json")
