"""Whether the Hugging Face Hub can be reached."""

from __future__ import annotations

import socket
import threading
import time

from adapter_tune.foundation.hub_calls import offline_variable
from adapter_tune.foundation.hub_errors import hub_address, uses_proxy

_SECONDS = 2.0


def hub_state() -> str:
    """Return one line: reachable, not reachable, offline, or through a proxy. It takes two seconds at most."""
    if variable := offline_variable():
        return f"offline ({variable} is set)"
    if uses_proxy():
        return "through a proxy (not tried)"
    host, port = hub_address()
    answers: list[str] = []
    # Resolving a name has no time limit of its own, so a thread is left behind if it takes longer.
    thread = threading.Thread(target=lambda: answers.append(_connect(host, port)), daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return answers[0] if answers else f"{host} not reachable within {_SECONDS:g} s; runs use the cache only"


def _connect(host: str, port: int) -> str:
    start = time.perf_counter()
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError as error:
        return f"{host} not reachable ({error.strerror or error}); runs use the cache only"
    return f"{host} reachable ({1000 * (time.perf_counter() - start):.0f} ms)"
