"""Loading from the Hub or a local copy: failures in one line, and the commit that was loaded."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapter_tune.errors import AdapterTuneError, RunError

_UNREACHABLE = ("couldn't connect", "couldn't reach", "connection error", "offline", "cannot reach", "max retries",
                "name or service not known", "localentrynotfound")  # fmt: skip


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
    chain = [error, *_causes(error)]
    texts = " ".join(f"{type(e).__name__} {e}" for e in chain).lower()
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) for e in chain):
        return f"the disk is full ({first}); free some space, or set HF_HOME to another disk"
    if "safetensor" in texts:
        return f"its weights cannot be read ({first}); the file is damaged or cut short, fetch it again"
    if "builderconfig" in texts:
        return f"it is not served there ({first}); choose another task, or {local}"
    if "corresponds to no data" in texts:
        return f"a split has no rows ({first}); fetch it again"
    if any(word in texts for word in _UNREACHABLE):
        return f"the Hub cannot be reached and no copy is in the cache; check the network (or HF_ENDPOINT), or {local}"
    if any(word in texts for word in ("notfound", "not a valid model", "doesn't exist", "hfvalidation", "404")):
        return f"no such {what} on the Hub and no such folder; check the name, log in if it is private, or {local}"
    return f"cannot be loaded: {first}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    while (cause := error.__cause__ or error.__context__) is not None:
        yield cause
        error = cause
