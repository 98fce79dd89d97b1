"""Repositories on the Hub: their names, and every failure of a call to the Hub as one line."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from adapter_tune.foundation.errors import UsageError, first_line
from adapter_tune.foundation.hub_errors import as_one_line, causes, unwritable_cache

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(.+))?", re.ASCII)

_PART = r"[A-Za-z0-9](?:[\w.-]*\w)?"
_VALID = re.compile(f"{_PART}/{_PART}", re.ASCII)
_REFUSED = re.compile(r"--|\.\.|\.git$|\.ipynb$")
_MAX_LENGTH = 96
"""What the Hub accepts as the name of a repository."""


class HubName(NamedTuple):
    """A repository on the Hub, as in ``ORG/NAME@revision``."""

    repository: str
    revision: str | None = None
    """Branch, tag or commit; None for the newest commit of the main branch."""

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def parse_hub_name(text: str) -> HubName | None:
    """The repository that a text may be the name of, or None if it can only be a path.

    >>> parse_hub_name("someone/rte@dev"), parse_hub_name("../runs/rte")
    (HubName(repository='someone/rte', revision='dev'), None)
    """
    match = _NAME.fullmatch(text)
    return None if match is None else HubName(match[1], match[2])


def name_of_snapshot(folder: Path) -> HubName | None:
    """The repository and the commit that a folder in the Hub cache is a copy of; None for any other folder."""
    for path in (folder, *folder.parents):
        cached = path.parent.parent.name
        if path.parent.name == "snapshots" and cached.startswith("models--"):
            return HubName(cached.removeprefix("models--").replace("--", "/"), path.name)
    return None


def run_title(folder: Path) -> str:
    """The path of a run folder, or its repository and commit if it is a copy of a repository."""
    name = name_of_snapshot(folder)
    return str(folder) if name is None else str(name)


def check_repository_name(text: str) -> HubName:
    """The repository to push to.

    Raises:
        UsageError: it has no such form, or the Hub would not accept the name.
    """
    name = parse_hub_name(text)
    if name is not None and name.revision is not None:
        raise UsageError(f"{text}: give the branch with --revision {name.revision}, and {name.repository} as the name")
    if _VALID.fullmatch(text) is None or len(text) > _MAX_LENGTH or _REFUSED.search(text):
        raise UsageError(
            f"{text}: not the name of a repository on the Hub; give ORG/NAME, of letters, digits and single - _ . "
            f"inside, at most {_MAX_LENGTH} characters"
        )
    return HubName(text)


def offline_variable() -> str | None:
    """The environment variable with which the user has turned off all calls to the Hub, or None."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return variable
    return None


def reading(name: HubName, kind: str) -> AbstractContextManager[None]:
    """Turn any error of the Hub's library in the block into one line about a repository that is read.

    Args:
        name: the repository.
        kind: what a folder in its place would be of, as in "a finished run".

    Raises:
        RunError: in place of any other error, except this package's own errors and MemoryError.
    """
    return as_one_line(lambda error: f"{name}: no such folder, and {_reading_problem(error, name, kind)}")


def pushing(name: HubName) -> AbstractContextManager[None]:
    """Turn any error of the Hub's library in the block into one line about a run that is pushed.

    Raises:
        RunError: in place of any other error, except this package's own errors and MemoryError.
    """
    return as_one_line(lambda error: f"cannot push to {name}: {_pushing_problem(error, name)}")


def _reading_problem(error: Exception, name: HubName, kind: str) -> str:
    """Why a repository cannot be read, and the fix; it goes on after "no such folder, and"."""
    from huggingface_hub import errors as hub

    cache = unwritable_cache([error, *causes(error)])
    if cache is not None:
        return f"the Hub cannot be used: {cache}"
    if isinstance(error, hub.GatedRepoError):
        return "the repository on the Hub is gated; ask for access on its page, and log in with 'hf auth login'"
    if isinstance(error, hub.RepositoryNotFoundError | hub.HFValidationError) or _status(error) in (401, 403):
        return (
            "no such repository on the Hub; check the name, log in with 'hf auth login' if it is private, or give "
            f"the folder of {kind}"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return f"its repository on the Hub has no revision '{name.revision}'; give a branch, a tag or a whole commit"
    if is_network_error(error):
        return (
            "the Hub cannot be reached (no copy is in its cache); check the network (or HF_ENDPOINT and "
            f"HF_HUB_OFFLINE), or give the folder of {kind}"
        )
    return f"the Hub does not give it ({first_line(error)}); try again, or give the folder of {kind}"


def _pushing_problem(error: Exception, name: HubName) -> str:
    """Why a run cannot be pushed, and the fix."""
    from huggingface_hub import errors as hub

    owner = name.repository.partition("/")[0]
    refused = {
        401: "the Hub does not accept the token; log in with 'hf auth login', or set HF_TOKEN to a valid token",
        403: f"the token may not write there; use one with write access to {owner}, or a repository of your own",
        412: "it was changed at the same time; look at the change, and run the same command again",
    }
    status = _status(error)
    if status in refused:
        return refused[status]
    if isinstance(error, hub.RepositoryNotFoundError):
        return f"there is no {owner} on the Hub, or the token may not see the repository; check the name and the token"
    if isinstance(error, hub.RevisionNotFoundError):
        return f"there is no branch '{name.revision}'; check --revision"
    if is_network_error(error):
        return "the Hub cannot be reached; check the network (or HF_ENDPOINT)"
    return f"{first_line(error)}; try again"


def _status(error: Exception) -> Any:
    """The status of the answer that an error is about, or None."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_network_error(error: Exception) -> bool:
    """Whether the Hub was not reached, or the cache has no copy, which is all that is tried then."""
    from huggingface_hub import errors as hub

    chain = [error, *causes(error)]
    if any(
        isinstance(each, hub.OfflineModeIsEnabled | hub.LocalEntryNotFoundError | ConnectionError) for each in chain
    ):
        return True
    clients = ("httpx", "httpcore", "requests", "urllib3")  # without an answer, their errors are about the connection
    return _status(error) is None and any(type(each).__module__.startswith(clients) for each in chain)
