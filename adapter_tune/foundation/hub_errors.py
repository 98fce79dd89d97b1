"""Loading from the Hub or a local copy: every failure as one line, and the commit that was loaded."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

from adapter_tune.foundation.errors import AdapterTuneError, RunError, first_line

_CONNECT_SECONDS = 5.0  # how long to wait for the Hub to accept a connection


class _Reason(NamedTuple):
    meaning: str
    """With the fields ``first``, ``what`` and ``local``."""
    words: tuple[str, ...] = ()
    """Any of them in a message (lower case) has this meaning."""
    types: tuple[type[BaseException], ...] = ()
    """Any error of these types has this meaning."""


log = logging.getLogger("adapter_tune")


def offline_if_unreachable() -> None:
    """If the Hub cannot be reached, use the cache at once instead of after a minute of retries.

    This sets an environment variable, so it must run before any Hugging Face library is imported.
    """
    if os.environ.get("HF_HUB_OFFLINE") or getproxies():
        return
    url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = url.port or {"http": 80}.get(url.scheme, 443)
    try:
        socket.create_connection((url.hostname, port), _CONNECT_SECONDS).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
        log.info("the Hub cannot be reached; only local folders and the cache are used")


@contextmanager
def loading(what: str, name: str, local: str) -> Iterator[None]:
    """Turn any error that a loading library raises in the block into one line.

    Args:
        what: "model" or "data set".
        name: the id or path that is loaded.
        local: how to name a local copy instead, as part of a sentence.

    Raises:
        RunError: in place of any other error, except this package's own errors and MemoryError.
    """
    try:
        yield
    except (AdapterTuneError, MemoryError):
        raise
    except Exception as error:
        reason = _reason(error).format(first=first_line(error), what=what, local=local)
        raise RunError(f"{what} {name}: {reason}") from error


def resolved_revision(model_id: str, revision: str | None) -> str | None:
    """The commit of a model's files in the Hub cache, or None for a local folder."""
    if Path(model_id).is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model_id, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else revision


def _reason(error: Exception) -> str:
    """What an error of a loading library means, and the fix; with the fields ``first``, ``what`` and ``local``."""
    chain = [error, *_causes(error)]
    messages = " ".join(f"{type(each).__name__} {each}" for each in chain).lower()
    for reason in _reasons():
        if any(isinstance(each, reason.types) for each in chain) or any(word in messages for word in reason.words):
            return reason.meaning
    return "cannot be loaded ({first}); check its files, or {local}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    while (cause := error.__cause__ or error.__context__) is not None:
        yield cause
        error = cause


def _reasons() -> tuple[_Reason, ...]:
    """The known failures; the first row that fits an error or one of its causes is the reason."""
    from huggingface_hub import errors as hub
    from safetensors import SafetensorError

    return (
        _Reason(
            "the disk is full ({first}); free some space, or set HF_HOME to another disk",
            words=("no space left", "file too large", "quota exceeded"),
        ),
        _Reason(
            "it contains its own code, which is never executed; choose a model family that is part of transformers",
            words=("trust_remote_code",),
        ),
        _Reason(
            "it has no model.safetensors, and other formats can execute code; convert it with transformers' "
            "save_pretrained, or {local}",
            words=("named model.safetensors",),
        ),
        _Reason(
            "its weights cannot be read ({first}); the file is damaged or incomplete, download it again",
            types=(SafetensorError,),
        ),
        _Reason(
            "a file is missing ({first}); download it again, or {local}",
            words=("no file named", "does not appear to have a file"),
        ),
        _Reason(
            "the data set has no such task ({first}); choose another task, or {local}",
            words=("builderconfig",),
        ),
        _Reason(
            "a split has no rows ({first}); download it again",
            words=("corresponds to no data",),
        ),
        _Reason(
            "the Hub cannot be reached and no copy is in the cache; check the network (or HF_ENDPOINT), give local "
            "folders with --model DIR and --set data.source=DIR, or use --demo, which needs no Hub",
            words=("couldn't connect", "couldn't reach", "connecterror", "offline"),
            types=(hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError),
        ),
        _Reason(
            "no such {what} on the Hub and no such folder; check the name, log in if it is private, or {local}",
            words=("not a valid model", "doesn't exist"),
            types=(
                hub.HFValidationError,
                hub.RepositoryNotFoundError,
                hub.RevisionNotFoundError,
                hub.EntryNotFoundError,
                FileNotFoundError,
            ),
        ),
    )
