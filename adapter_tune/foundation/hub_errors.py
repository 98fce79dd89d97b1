"""Loading from the Hub or a local copy: every failure as one line, and the commit that was loaded."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError, first_line

_PORTS = {"http": 80, "https": 443}
_CONNECT_SECONDS = 5.0  # how long to wait for the Hub to accept a connection

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


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

    Raises:
        UsageError: HF_ENDPOINT is not an address.
    """
    if os.environ.get("HF_HUB_OFFLINE") or uses_proxy():
        return
    try:
        socket.create_connection(hub_address(), _CONNECT_SECONDS).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
        log.info("the Hub cannot be reached; only local folders and the cache are used")


def hub_address() -> tuple[str, int]:
    """The host and the port of the Hub, or of the server that HF_ENDPOINT names.

    Raises:
        UsageError: HF_ENDPOINT is not an address.
    """
    try:
        url = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        host = (url.hostname or "").encode("idna").decode()
        port = url.port or _PORTS[url.scheme]
    except (KeyError, ValueError):  # no scheme; a port that is no number, or a name that no server can have
        host, port = "", 0
    if not host:  # the value is not in the message, because it may contain a password
        raise UsageError(
            "HF_ENDPOINT is not the address of a server; give https://HOST or https://HOST:PORT, or unset it"
        )
    return host, port


def uses_proxy() -> bool:
    """Whether calls to the Hub go through a proxy. NO_PROXY alone is none, and can name the Hub itself."""
    has_proxy = bool({"http", "https", "all"} & getproxies().keys())
    return has_proxy and not proxy_bypass(hub_address()[0])


@contextmanager
def as_one_line(line: Callable[[Exception], str]) -> Iterator[None]:
    """Turn any error that a library raises in the block into one line.

    Args:
        line: the line about an error: its cause and the fix.

    Raises:
        RunError: in place of any other error, except this package's own errors and MemoryError.
    """
    try:
        yield
    except (AdapterTuneError, MemoryError):
        raise
    except Exception as error:
        raise RunError(line(error)) from error


def loading(what: str, name: str, local: str) -> AbstractContextManager[None]:
    """Turn any error that a loading library raises in the block into one line.

    Args:
        what: "model" or "data set".
        name: the id or path that is loaded.
        local: how to name a local copy instead, as part of a sentence.

    Raises:
        RunError: in place of any other error, except this package's own errors and MemoryError.
    """
    return as_one_line(lambda error: f"{what} {name}: {_reason(error, what, name, local)}")


def resolved_revision(model_id: str, revision: str | None) -> str | None:
    """The commit of a model's files in the Hub cache, or None for a local folder."""
    if Path(model_id).is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(model_id, "config.json", revision=revision)
    return Path(path).parent.name if isinstance(path, str) else revision


def _reason(error: Exception, what: str, name: str, local: str) -> str:
    """What an error of a loading library means, and the fix; the arguments are those of ``loading``."""
    chain = [error, *causes(error)]
    messages = " ".join(f"{type(each).__name__} {each}" for each in chain)
    source = name.partition(" (")[0]
    for own in (str(Path(source).absolute()), source):  # words of the user's own name say nothing about the error
        messages = messages.replace(own, "")
    special = unwritable_cache(chain) or _unreadable_sentencepiece(messages.lower())
    if special is not None:
        return special
    first, _, _ = first_line(error).partition(" with any supported extension")  # datasets lists a hundred of them
    if isinstance(error, KeyError):  # its text is the key alone
        first = f"unknown name {first}"
    for reason in _reasons():
        has_type = any(isinstance(each, reason.types) for each in chain)
        if has_type or any(word in messages.lower() for word in reason.words):
            return reason.meaning.format(first=first, what=what, local=local)
    return f"cannot be loaded ({first}); check its files, or {local}"


def unwritable_cache(chain: Sequence[BaseException]) -> str | None:
    """The cache that an error is about, and how to move it; None if no cache is the reason."""
    for error in chain:
        if not isinstance(error, OSError) or not isinstance(error.filename, str):
            continue
        path = Path(error.filename).absolute()
        for variable, folder in caches():
            is_refused = error.errno in _NOT_WRITABLE or not folder.exists()
            if is_refused and folder in (path, *path.parents):
                setting = f"{variable} ({folder})" if os.environ.get(variable) else f"HF_HOME ({folder.parent})"
                return f"{setting} cannot be written ({error.strerror}); set {variable} to a folder that can be written"
    return None


def caches() -> tuple[tuple[str, Path], ...]:
    """The caches of the Hugging Face libraries: the environment variable that moves each, and its folder."""
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    return ("HF_DATASETS_CACHE", Path(HF_DATASETS_CACHE).absolute()), ("HF_HUB_CACHE", Path(HF_HUB_CACHE).absolute())


def _unreadable_sentencepiece(messages: str) -> str | None:
    """Why a sentencepiece tokenizer cannot be read, or None if there is none.

    transformers takes it for a tiktoken file then, and asks for the package tiktoken, which does not help.
    """
    from transformers.utils import is_protobuf_available, is_sentencepiece_available

    if not any(word in messages for word in ("sentencepiece", "tiktoken", "protobuf", "spm.model", "bpe.model")):
        return None
    if is_sentencepiece_available() and is_protobuf_available():
        return "its sentencepiece model (the tokenizer) cannot be read; the file is damaged, download it again"
    return (
        "its tokenizer is a sentencepiece model, which needs the packages sentencepiece and protobuf: "
        "pip install 'adapter-tune[sentencepiece]'"
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that an error was raised for, the nearest first."""
    while (cause := error.__cause__ or error.__context__) is not None:
        yield cause
        error = cause


def _reasons() -> tuple[_Reason, ...]:
    """The known failures; the first row that fits an error or one of its causes is the reason."""
    from datasets.exceptions import DatasetNotFoundError
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
            words=("not a valid model",),
            types=(hub.HFValidationError, hub.RepositoryNotFoundError, hub.RevisionNotFoundError, DatasetNotFoundError),
        ),
        _Reason(
            "a file is missing ({first}); download it again, or {local}",
            types=(FileNotFoundError, hub.EntryNotFoundError),
        ),
        _Reason(
            "a package is missing ({first}); install it with pip, or {local}",
            types=(ImportError,),
        ),
    )
