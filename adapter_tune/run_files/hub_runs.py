"""Runs on the Hub: ``ORG/NAME[@revision]`` in the place of a run folder."""

from __future__ import annotations

import logging
from pathlib import Path

from adapter_tune.foundation.hub_calls import HubName, parse_hub_name, reading
from adapter_tune.run_files.hub_checks import FETCHED, check_contents, check_names, files_to_fetch

log = logging.getLogger("adapter_tune")


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
    path = Path(run)
    name = None if path.exists() else parse_hub_name(path.as_posix())
    if name is None:
        return path
    with reading(name):
        folder, note = _fetched(name)
    pinned = HubName(name.repository, folder.name)
    check_contents(str(pinned), folder)
    log.info("using %s at commit %s%s", name.repository, folder.name, note)
    return folder


def _fetched(name: HubName) -> tuple[Path, str]:
    """The folder in the cache with the run's files, whose name is the commit; and a note for the log."""
    from huggingface_hub import HfApi, constants

    api = HfApi()
    if constants.is_offline_mode():
        revision = name.revision or "main"
        cached = api.snapshot_download(
            name.repository, revision=revision, allow_patterns=FETCHED, local_files_only=True
        )
        folder = Path(cached)
        check_names(str(name), [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()])
        return folder, " (from the cache, as the Hub is not used)"
    info = api.model_info(name.repository, revision=name.revision, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    names = files_to_fetch(str(name), sizes)
    return Path(api.snapshot_download(name.repository, revision=info.sha, allow_patterns=names)), ""
