"""Loading from the Hub or a local copy: failures in one line, and the commit that was loaded."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from adapter_tune.foundation.errors import AdapterTuneError, RunError, first_line

_REASONS = (
    (
        ("no space left", "file too large", "quota exceeded"),
        "the disk is full ({first}); free some space, or set HF_HOME to another disk",
    ),
    (
        ("trust_remote_code",),
        "it brings code of its own, which is never run here; choose a model of a family that transformers has",
    ),
    (
        ("named model.safetensors",),
        "it has no model.safetensors, and other formats can execute code; convert it with transformers' "
        "save_pretrained, or {local}",
    ),
    (
        ("safetensorerror",),
        "its weights cannot be read ({first}); the file is damaged or cut short, fetch it again",
    ),
    (
        ("no file named", "does not appear to have a file"),
        "a file is not there ({first}); fetch it again, or {local}",
    ),
    (
        ("builderconfig",),
        "it is not served there ({first}); choose another task, or {local}",
    ),
    (
        ("corresponds to no data",),
        "a split has no rows ({first}); fetch it again",
    ),
    (
        ("couldn't connect", "couldn't reach", "connecterror", "offline", "localentrynotfound"),
        "the Hub cannot be reached and no copy is in the cache; check the network (or HF_ENDPOINT), name local folders "
        "with --model DIR and --set data.source=DIR, or see the tool at work without any: --demo",
    ),
    (
        ("notfound", "not a valid model", "doesn't exist", "hfvalidation"),
        "no such {what} on the Hub and no such folder; check the name, log in if it is private, or {local}",
    ),
)
"""What the loading libraries' messages mean, by words in them (lower case), the first that fits."""

_PATIENCE = 5.0  # seconds to wait for the Hub's first answer

log = logging.getLogger("adapter_tune")


def offline_if_unreachable() -> None:
    """Where the Hub does not answer, use the cache at once instead of after a minute of retries.

    It works through the environment, so it must come before any Hugging Face library is imported.
    """
    if os.environ.get("HF_HUB_OFFLINE") or getproxies():
        return
    url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        socket.create_connection((url.hostname, url.port or {"http": 80}.get(url.scheme, 443)), _PATIENCE).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
        log.info("the Hub cannot be reached; only local folders and the cache are used")


@contextmanager
def loading(what: str, name: str, local: str) -> Iterator[None]:
    """Turn whatever a loading library raises in the block into one line.

    Args:
        what: "model" or "data set".
        name: what was asked for.
        local: how a local copy is named instead.

    Raises:
        RunError: in place of any other error.
    """
    try:
        yield
    except AdapterTuneError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise RunError(f"{what} {name}: {_reason(error, what, local)}") from error


def resolved_revision(model_id: str, revision: str | None) -> str | None:
    """The commit under which a model's files lie in the Hub cache; None for a local folder."""
    if Path(model_id).is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model_id, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else revision


def _reason(error: Exception, what: str, local: str) -> str:
    texts = " ".join(f"{type(e).__name__} {e}" for e in (error, *_causes(error))).lower()
    first = first_line(error)
    for words, reason in _REASONS:
        if any(word in texts for word in words):
            return reason.format(first=first, what=what, local=local)
    return f"cannot be loaded ({first}); check its files, or {local}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    while (cause := error.__cause__ or error.__context__) is not None:
        yield cause
        error = cause
