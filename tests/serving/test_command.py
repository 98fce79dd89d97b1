"""The command refuses what cannot work before anything is loaded."""

import gc
import importlib.util
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from adapter_tune.cli import main
from adapter_tune.foundation.errors import UsageError
from adapter_tune.serving import server as server_module
from adapter_tune.serving.server import bind, create_server, run_server


def error_of(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *words])
    assert stopped.value.code == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_without_the_extra_the_command_says_how_to_install_it(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    hidden = ("fastapi", "uvicorn")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name in hidden else find_spec(name))
    assert "needs fastapi, uvicorn: pip install 'adapter-tune[serve]'" in error_of([str(runs)], capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--allow-changes"], "--allow-changes needs --adapters"),
        (["--adapters", "."], "--adapters is only for --allow-changes"),
        (["--allow-changes", "--adapters", "nowhere"], "--adapters nowhere: no such folder"),
        (["--max-queue", "5"], "--max-rows 128 is more than --max-queue 5"),
        (["--resident", "0"], "Invalid value for '--resident'"),
        (["--host", "no such host"], "cannot listen on no such host port 8000"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 8000"),
        (["--device", "tpu"], "'tpu' is not one of"),
    ],
)
def test_options_that_cannot_work_are_refused(
    runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error_of([str(runs), *words], capsys)


def test_a_port_that_is_taken_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1 port {port}" in error_of([str(runs), "--port", port], capsys)


def test_of_two_servers_that_start_at_once_the_second_is_refused(make_service: Any) -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with bind("127.0.0.1", port) as second:  # nobody listens yet
            first.listen()
            with pytest.raises(UsageError, match="cannot listen: Address already in use"):
                create_server(make_service(), second).run(sockets=[second])


def test_a_wrong_key_and_a_folder_without_runs_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "contains no finished run" in error_of([str(tmp_path)], capsys)
    monkeypatch.setenv("ADAPTER_TUNE_API_KEY", "")
    assert "ADAPTER_TUNE_API_KEY" in error_of([str(runs)], capsys)


def test_a_run_on_another_backbone_is_refused_at_the_start(
    runs: Path, backbone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of([str(runs), "--model", backbone, "--port", "0", "--device", "cpu"], capsys, code=1)
    assert "trained on another backbone" in message


@pytest.mark.parametrize(
    ("host", "key", "is_warned"),
    [("127.0.0.1", None, False), ("0.0.0.0", None, True), ("0.0.0.0", "key", False), ("::1", None, False)],
)
def test_a_server_that_others_can_reach_without_a_key_says_so(
    make_service: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    host: str, key: str | None, is_warned: bool,
) -> None:  # fmt: skip
    try:
        listener = bind(host, 0)
    except UsageError:
        pytest.skip("this machine has no IPv6")
    monkeypatch.setattr(server_module.Server, "run", lambda *_, **__: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    with listener, caplog.at_level(logging.WARNING, "adapter_tune"):
        run_server(make_service(api_key=key), listener)
    assert ("anyone who reaches 0.0.0.0 can use this server: set ADAPTER_TUNE_API_KEY" in caplog.text) == is_warned
