"""What one request may ask for, and how long it may take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request

from adapter_tune.foundation.errors import UsageError
from adapter_tune.serving.refusals import RefusedRequest


@dataclass(frozen=True)
class Limits:
    """Limits of the server.

    Raises:
        UsageError: a request with the most rows would not fit into the queue.
    """

    body: int = 1 << 20
    """Bytes of a request's body."""
    rows: int = 128
    """Rows of a request: texts times tasks."""
    characters: int = 20_000
    """Characters of a text. What the tokenizer reads of it is limited by its task."""
    queue: int = 1024
    """Rows that are accepted and not answered yet."""
    seconds: float = 60.0
    """From the whole request to its answer; and for reading its body."""

    def __post_init__(self) -> None:
        if self.rows > self.queue:
            raise UsageError(f"--max-rows {self.rows} is more than --max-queue {self.queue}; give a smaller one")


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    Raises:
        RefusedRequest: it is too large, too slow, or not declared as JSON.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RefusedRequest(415, "the body must be JSON; send the header Content-Type: application/json")
    try:
        return await asyncio.wait_for(_read(request, limits.body), limits.seconds)
    except asyncio.TimeoutError:
        raise RefusedRequest(408, f"the body did not arrive within {limits.seconds:g} seconds; send it again") from None


async def _read(request: Request, limit: int) -> bytes:
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise RefusedRequest(413, f"the body is larger than {limit:,} bytes; send fewer texts at once")
        parts.append(part)
    return b"".join(parts)
