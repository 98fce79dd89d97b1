"""Runs on the Hub: ``ORG/NAME[@revision]`` in the place of a run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_tune.foundation.errors import RunError
from adapter_tune.foundation.hub_calls import HubName, is_network_error, parse_hub_name, reading
from adapter_tune.run_files.hub_checks import FETCHED, check_contents, check_names, files_to_fetch

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger("adapter_tune")

_MAIN = "main"
_FROM_CACHE = " (from the cache, as the Hub is not reached)"

_checked: dict[tuple[HubName, str], Path] = {}
"""The folders of the commits that this process has fetched and checked as a kind; a commit never changes."""


@dataclass(frozen=True)
class Kind:
    """What can be fetched from a repository."""

    folder: str
    """What a folder of this kind is of, for messages."""
    patterns: list[str]
    """All files that are ever fetched."""
    files: Callable[[str, Mapping[str, int | None]], list[str]]
    """Chooses the files, given the name of the repository and the sizes of its files; refuses what can do harm."""
    check: Callable[[str, Path], None]
    """Refuses what has been fetched, given the name with the commit, and the folder."""


def _check_run(name: str, folder: Path) -> None:
    check_names(name, [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()])
    check_contents(name, folder)


_RUN = Kind("a finished run", FETCHED, files_to_fetch, _check_run)


def local_run(run: str | Path) -> Path:
    """The folder of a run on this machine; a run on the Hub is fetched into the Hub cache.

    A path that exists is returned as it is, and so is one that cannot be the name of a repository. Only safetensors
    files, JSON files and the tokenizer's text files are fetched, all of one commit, which is logged.

    Args:
        run: a run folder, or ``ORG/NAME`` or ``ORG/NAME@revision`` on the Hub.

    Raises:
        UsageError: the repository has no adapter of this package.
        RunError: there is neither such a folder nor such a repository, the Hub cannot be reached, or the repository
            contains something that a run does not need and that can do harm.
    """
    return local_folder(run, _RUN)


def local_folder(place: str | Path, kind: Kind) -> Path:
    """A folder on this machine, as in ``local_run``, of another kind of repository.

    Raises:
        AdapterTuneError: as ``local_run``.
    """
    path = Path(place)
    name = None if path.exists() else parse_hub_name(path.as_posix())
    if name is None:
        return path
    checked = _checked.get((name, kind.folder))
    if checked is not None and checked.exists():
        return checked
    with reading(name, kind.folder):
        folder, note = _fetched(name, kind)
    pinned = HubName(name.repository, folder.name)
    kind.check(str(pinned), folder)
    _checked[pinned, kind.folder] = folder
    log.info("using %s at commit %s%s", name.repository, folder.name, note)
    return folder


def _fetched(name: HubName, kind: Kind) -> tuple[Path, str]:
    """The folder in the cache with the files, whose name is the commit; and a note for the log."""
    from huggingface_hub import HfApi, constants

    api = HfApi()
    if constants.is_offline_mode():
        return _cached(api, name, kind), _FROM_CACHE
    try:
        info = api.model_info(name.repository, revision=name.revision, files_metadata=True)
    except Exception as error:
        if is_network_error(error):
            return _cached(api, name, kind), _FROM_CACHE
        raise
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    names = kind.files(str(name), sizes)
    # By its branch and not by its commit, so that the cache knows which commit the branch is when offline.
    folder = Path(api.snapshot_download(name.repository, revision=name.revision or _MAIN, allow_patterns=names))
    if folder.name != info.sha:
        raise RunError(f"{name}: was changed on the Hub while it was fetched; run the same command again")
    return folder, ""


def _cached(api: HfApi, name: HubName, kind: Kind) -> Path:
    """The folder in the cache, if it has been fetched before."""
    revision = name.revision or _MAIN
    return Path(
        api.snapshot_download(name.repository, revision=revision, allow_patterns=kind.patterns, local_files_only=True)
    )
