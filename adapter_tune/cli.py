"""The command line: its commands, and the error messages. Each command is a file in ``commands/``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from adapter_tune.commands import (
    ablate,
    ask,
    bench,
    configs,
    count_params,
    env,
    evaluate,
    exchange,
    init,
    inspect_data,
    listing,
    predict,
    push,
    report,
    serve,
    submit,
    sweep,
    train,
)
from adapter_tune.commands.examples import examples
from adapter_tune.commands.help import Command, Group
from adapter_tune.commands.options import general
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import (
    INTERRUPTED,
    STOP_SIGNALS,
    TERMINATED,
    AdapterTuneError,
    UsageError,
    first_line,
    is_out_of_memory,
    similar_name,
)

_NAME = "adapter-tune"

_COMMANDS: dict[str, dict[str, Callable[..., Any]]] = {
    "Train and use": {
        "init": init.init,
        "train": train.train,
        "eval": evaluate.evaluate,
        "predict": predict.predict,
        "ask": ask.ask,
        "serve": serve.serve,
        "submit": submit.submit,
    },
    "Many runs": {"sweep": sweep.sweep, "report": report.report},
    "Inspect": {
        "inspect-data": inspect_data.inspect_data,
        "count-params": count_params.count_params,
        "ablate": ablate.ablate,
        "bench": bench.bench,
    },
    "Other libraries": {"export": exchange.export, "import": exchange.import_, "push": push.push},
    "Information": {"list": listing.list_, "env": env.env},
}
"""The commands by the group in which the help lists them."""

_CONFIG_COMMANDS: dict[str, Callable[..., Any]] = {
    "show": configs.config_show,
    "cp": configs.config_cp,
    "diff": configs.config_diff,
    "validate": configs.config_validate,
    "schema": configs.config_schema,
}

app = typer.Typer(
    name=_NAME,
    cls=Group,
    help="Adapter tuning of BERT-family encoders: few trained parameters, nearly the accuracy of full fine-tuning.",
    epilog="adapter-tune train --demo --task mnli\nadapter-tune train --help",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(cls=Group, help="Show, copy, compare or check configurations.", epilog=examples("config cp"))


def _add_commands() -> None:
    for group, commands in _COMMANDS.items():
        for name, function in commands.items():
            app.command(name, cls=Command, rich_help_panel=group, epilog=examples(name))(function)
    for name, function in _CONFIG_COMMANDS.items():
        config_app.command(name, cls=Command, epilog=examples(f"config {name}"))(function)
    app.add_typer(config_app, name="config", rich_help_panel="Information")


_add_commands()


@app.callback()
def options(version: general.Version = False, debug: general.Debug = False) -> None:
    """Adapter tuning of BERT-family encoders: few trained parameters, nearly the accuracy of full fine-tuning."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line; every failure is one line on stderr and an exit code.

    Args:
        argv: the arguments; those of the process by default.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = sorted(words or ["--help"], key=lambda word: word != "--debug")  # --debug may be anywhere
    _log_to_stderr()
    if not distributed.is_main_process():  # only the main process prints
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        logging.getLogger("adapter_tune").setLevel(logging.ERROR)
    try:
        with _stop_signals_as_exit():
            _run(arguments)
    except SystemExit as end:
        if end.code == TERMINATED:
            _exit_stopped("terminated", TERMINATED, arguments)
        raise


def _run(arguments: list[str]) -> None:
    """Run a command; an error is printed as one line, or raised with ``--debug``."""
    try:
        _check_utf8(arguments)
        if (
            app(arguments, prog_name=_NAME, standalone_mode=False) == INTERRUPTED
        ):  # typer turns KeyboardInterrupt into an exit code
            raise KeyboardInterrupt
        sys.stdout.flush()
        _leave_process_group()
    except (KeyboardInterrupt, typer.Abort):
        _exit_stopped("interrupted", INTERRUPTED, arguments)
    except Exception as error:
        if "--debug" in arguments:
            raise
        message, code = _explain(error)
        process = "" if distributed.is_main_process() else f" in process {distributed.rank()}"
        print(f"error{process}: {message}", file=sys.stderr)
        sys.exit(code)


def _leave_process_group() -> None:
    """Leave the other processes of a run in good order; torch warns about a group that is still open at the end."""
    dist = sys.modules.get("torch.distributed")
    if distributed.world_size() > 1 and dist is not None and dist.is_initialized():
        dist.destroy_process_group()


def _check_utf8(arguments: list[str]) -> None:
    """Refuse an argument with bytes that are not UTF-8, which Python passes on as half characters (surrogates).

    Raises:
        UsageError: there is one; neither a tokenizer nor a file of the run could take it.
    """
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            byte = ord(word[error.start]) & 0xFF
            shown = word.encode(errors="backslashreplace").decode().replace(r"\udc", r"\x")
            fix = "set the terminal to UTF-8, rename the file, or give texts in a file with --input"
            raise UsageError(f"argument {shown}: not UTF-8 (byte 0x{byte:02x}); {fix}") from None


@contextmanager
def _stop_signals_as_exit() -> Iterator[None]:
    """Make the signals that end a command raise SystemExit, so that unfinished files are removed and locks released.

    A signal that the shell lets a command ignore (nohup) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous_handlers = {number: signal.signal(number, lambda *_: sys.exit(TERMINATED)) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def _exit_stopped(message: str, code: int, arguments: list[str]) -> NoReturn:
    """Print that the command was stopped, and how to resume it if that is possible; exit."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    starts_again = {"--force", "--no-resume", "--dry-run"} & set(arguments)
    if command in ("train", "sweep") and not starts_again:
        message += "; run the same command again to resume"
    if distributed.is_main_process():
        print(message, file=sys.stderr)
    sys.exit(code)


def _explain(error: Exception) -> tuple[str, int]:
    """Return one line and an exit code for an error."""
    if isinstance(error, AdapterTuneError):
        return " ".join(str(error).split()), error.exit_code
    if hasattr(error, "format_message"):  # an error of click: an unknown option, a value of the wrong type
        return _explain_click_error(error), 2
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (for what is still to be printed)
        return "the output was closed by the program that reads it; let it read to the end", 1
    if isinstance(error, NotADirectoryError | FileExistsError | IsADirectoryError):
        return f"{error.filename}: {error.strerror}; choose another path", 2
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}; free some space or choose another path", 1
    return _explain_unexpected(error), 1


def _explain_click_error(error: Any) -> str:
    """Return one line for an error of click; for an unknown option with the most similar one of the command."""
    if not hasattr(error, "possibilities"):
        return f"{' '.join(error.format_message().split())} (--help lists the options)"
    flags = [flag for parameter in error.ctx.command.params for flag in (*parameter.opts, *parameter.secondary_opts)]
    similar = similar_name(error.option_name, flags)
    hint = f"did you mean '{similar}'? " if similar else ""
    return f"unknown option '{error.option_name}'; {hint}'{error.ctx.command_path} --help' lists the options"


def _explain_unexpected(error: Exception) -> str:
    """Return one line for an error that no part of the package has explained."""
    message = first_line(error)
    if distributed.world_size() > 1 and any(word in str(error) for word in ("peer", "gloo", "NCCL", "ProcessGroup")):
        return "another process of this run has ended; run the same command again to resume"
    if is_out_of_memory(error):
        return (
            f"out of memory ({message}); halve --batch-size and add --set training.gradient_accumulation=2, "
            "or add --set training.gradient_checkpointing=true, or add --set training.precision=bf16"
        )
    return f"{type(error).__name__}: {message} (unexpected; --debug shows where)"


def _log_to_stderr() -> None:
    """Print the messages of the package's logger on stderr, without time and level."""
    logger = logging.getLogger("adapter_tune")
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler()]
    logger.propagate = False
