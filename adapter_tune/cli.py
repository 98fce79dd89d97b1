"""The command line: its commands, and what a failure looks like. Each command is a file in ``commands/``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from adapter_tune.commands import (
    ablate,
    bench,
    configs,
    count_params,
    evaluate,
    inspect_data,
    listing,
    predict,
    report,
    submit,
    sweep,
    train,
)
from adapter_tune.commands import options as o
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import INTERRUPTED, TERMINATED, AdapterTuneError, first_line, is_out_of_memory

app = typer.Typer(
    name="adapter-tune",
    help="Adapter tuning of BERT-family encoders: few trained parameters, nearly full accuracy.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("inspect-data")(inspect_data.inspect_data)
app.command("ablate")(ablate.ablate)
app.command("submit")(submit.submit)
app.command("count-params")(count_params.count_params)
app.command("sweep")(sweep.sweep)
app.command("report")(report.report)
app.command("bench")(bench.bench)
app.command("list")(listing.list_)

config_app = typer.Typer(help="Look at configurations and check them.")
config_app.command("show")(configs.config_show)
config_app.command("validate")(configs.config_validate)
app.add_typer(config_app, name="config")


@app.callback()
def options(version: o.Version = False, debug: o.Debug = False) -> None:
    """Adapter tuning of BERT-family encoders: few trained parameters, nearly full accuracy."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line; every failure is one line on stderr and an exit code."""
    given = (sys.argv[1:] if argv is None else argv) or ["--help"]
    arguments = sorted(given, key=lambda word: word != "--debug")  # --debug may stand anywhere
    _log_to_stderr()
    if not distributed.is_main_process():  # one of several speaks
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        logging.getLogger("adapter_tune").setLevel(logging.ERROR)
    try:
        with _ending_well():
            _run(arguments)
    except SystemExit as end:
        if end.code == TERMINATED:
            _stopped("terminated", TERMINATED, arguments)
        raise


def _run(arguments: list[str]) -> None:
    try:
        if app(arguments, standalone_mode=False) == INTERRUPTED:  # typer makes an interruption an exit code
            raise KeyboardInterrupt
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        _stopped("interrupted", INTERRUPTED, arguments)
    except Exception as error:
        if "--debug" in arguments:
            raise
        message, code = _explain(error)
        which = "" if distributed.is_main_process() else f" in process {distributed.rank()}"
        print(f"error{which}: {message}", file=sys.stderr)
        sys.exit(code)


@contextmanager
def _ending_well() -> Iterator[None]:
    """Make SIGTERM an exit like any other, so that what is half written goes and what is held is let go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stopped(how: str, code: int, arguments: list[str]) -> NoReturn:
    command = next((word for word in arguments if not word.startswith("-")), "")
    goes_on = command in ("train", "sweep") and not {"--force", "--no-resume", "--dry-run"} & set(arguments)
    if not distributed.is_main_process():
        sys.exit(code)
    print(how + ("; the same command goes on from the last checkpoint" if goes_on else ""), file=sys.stderr)
    sys.exit(code)


def _explain(error: Exception) -> tuple[str, int]:
    """One line and an exit code for whatever went wrong."""
    if isinstance(error, AdapterTuneError):
        return " ".join(str(error).split()), error.exit_code
    if hasattr(error, "format_message"):  # click's own: an option that is not there, a value it cannot read
        return f"{' '.join(error.format_message().split())} (--help lists the options)", 2
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (nobody reads on)
        return "the reader of the output is gone", 1
    if isinstance(error, NotADirectoryError | FileExistsError | IsADirectoryError):
        return f"{error.filename}: {error.strerror}; choose another path", 2
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}; free some space or choose another path", 1
    return _explain_other(error), 1


def _explain_other(error: Exception) -> str:
    first = first_line(error)
    if distributed.world_size() > 1 and any(word in str(error) for word in ("peer", "gloo", "NCCL", "ProcessGroup")):
        return "another process of this run is gone; the same command goes on from the last checkpoint"
    if is_out_of_memory(error):
        return (
            f"out of memory ({first}); halve --batch-size and --set training.gradient_accumulation=2, or --set "
            "training.gradient_checkpointing=true, or training.precision=bf16 where it is float32"
        )
    return f"{type(error).__name__}: {first} (unexpected; --debug shows where)"


def _log_to_stderr() -> None:
    """The package's own messages, plain, on stderr."""
    logger = logging.getLogger("adapter_tune")
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler()]
    logger.propagate = False
