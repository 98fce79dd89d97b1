"""The process that serves: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

import uvicorn

from adapter_tune.foundation.errors import INTERRUPTED, STOP_SIGNALS, TERMINATED, UsageError
from adapter_tune.serving.app import create_app
from adapter_tune.serving.gate import API_KEY, Gate
from adapter_tune.serving.logs import log, quiet_libraries
from adapter_tune.serving.service import Service

_LAST_REQUESTS = 0.3
"""Seconds after the sockets are closed in which requests on open connections are still read."""


def bind(host: str, port: int) -> socket.socket:
    """A socket with an address; nobody can connect to it yet.

    Raises:
        UsageError: the port is taken or not allowed, or the machine does not have the address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sends at once only with TCP
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {host} port {port}: {reason}; give another --host or --port") from None
    return listener


def run_server(service: Service, listener: socket.socket) -> None:
    """Answer requests until a signal asks to stop; what was accepted until then is answered.

    Raises:
        SystemExit: a second signal asked to stop at once.
    """
    quiet_libraries()
    host = listener.getsockname()[0]
    if service.api_key is None and not ipaddress.ip_address(host).is_loopback:
        log.warning("anyone who reaches %s can use this server: set %s, or give --host 127.0.0.1", host, API_KEY)
    server = create_server(service, listener)
    gc.collect()
    gc.freeze()  # what is loaded stays; looking through it again and again would delay batches
    server.run(sockets=[listener])
    if server.force_exit:
        sys.exit(INTERRUPTED if server.last_signal == signal.SIGINT else TERMINATED)


def create_server(service: Service, listener: socket.socket) -> Server:
    """The server for what computes, on a socket."""
    gate = create_app(service)
    config = uvicorn.Config(
        gate,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(2 * service.limits.seconds) + 1,
    )
    server = Server(config, gate)
    host, port = listener.getsockname()[:2]
    names = [task.name for task in service.tasks.all()]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    server.message = f"serving {_listed(names)} on {address} (stop with Ctrl-C)"
    return server


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more tasks" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


class Server(uvicorn.Server):
    """Uvicorn's server with other signals and another end: nothing that a client has sent is dropped.

    Args:
        config: of uvicorn.
        gate: the application.
    """

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self.gate = gate
        self.message = ""
        """Logged when the server listens."""
        self.last_signal = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the signals that end a command; uvicorn would raise them again at the end, as a failure."""
        if threading.current_thread() is not threading.main_thread():  # Python lets no other thread have signals
            yield
            return
        numbers = [number for number in (signal.SIGINT, *STOP_SIGNALS) if signal.getsignal(number) != signal.SIG_IGN]
        previous = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after what was accepted; at the second signal, at once."""
        self.last_signal = sig
        if self.should_exit:
            self.force_exit = True
            logging.getLogger("uvicorn.error").disabled = True  # it would log every request that it breaks off
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so.

        Raises:
            UsageError: another process has begun to listen on the port.
        """
        try:
            await super().startup(sockets)
        except OSError as error:
            raise UsageError(f"cannot listen: {error.strerror or error}; give another --port") from None
        log.info("%s", self.message)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the sockets, read what clients have sent already, and answer it."""
        log.info("stopping: no new connections; answering what was accepted")
        self.gate.is_stopping = True
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_REQUESTS)
        await super().shutdown(sockets)
