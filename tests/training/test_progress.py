import io
from typing import Any

import pytest
from rich.console import Console

from adapter_tune.foundation import console
from adapter_tune.report.terminal import show
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.runs.run import run
from adapter_tune.training import progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    for module in (console, progress):
        monkeypatch.setattr(module, "console", Console(file=screen, force_terminal=True, width=100, highlight=False))
    return screen


def test_a_bar_on_a_terminal(make_config: Any, terminal: io.StringIO) -> None:
    config = make_config("mnli", epochs=1)
    run(config)
    shown = terminal.getvalue()
    for part in ("training, loss", "4/4", "evaluating", "epoch 1: validation_matched_accuracy"):
        assert part in shown
    terminal.truncate(0)
    evaluate_run(config.folder)
    assert "evaluating" in terminal.getvalue()
    assert "epoch" not in terminal.getvalue()


def test_the_bar_goes_when_training_fails(
    make_config: Any, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(progress.BarProgress, "close", lambda self: closed.append(self._bar.stop()))
    monkeypatch.setattr("adapter_tune.training.trainer.AdapterTrainer.training_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(make_config("rte"))
    assert len(closed) == 1


def test_a_handful_of_plain_lines_elsewhere(make_config: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(make_config("rte", epochs=15))
    said = capsys.readouterr().err.splitlines()
    steps = [line for line in said if line.startswith("step")]
    assert 5 <= len(steps) <= 11
    assert len([line for line in said if line.startswith("epoch")]) == 15


@pytest.mark.parametrize("terminal_", [True, False])
def test_tables_and_plain_columns(capsys: pytest.CaptureFixture[str], terminal_: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal_, width=60)
    show("counts", ["name", "size"], [["adapters", "1,000"], ["head", "7"]], console)
    if terminal_:
        assert "┃" in screen.getvalue()
    else:
        assert capsys.readouterr().out.splitlines() == [
            "counts", "  name       size", "  adapters  1,000", "  head          7",
        ]  # fmt: skip
