"""A trained run pushed to the Hub: everything that a run folder needs, and nothing of the user's machine or data."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapter_tune.config.yaml_files import to_yaml
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import distributed
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.hub_calls import HubName, check_repository_name, parse_hub_name, pushing
from adapter_tune.foundation.hub_errors import resolved_revision
from adapter_tune.run_files.adapter_files import ADAPTER, CARD, CONFIG, WEIGHTS, read_adapter_config, read_weights
from adapter_tune.run_files.hub_checks import ADAPTER_FILES, TOKENIZER_CONFIG, TOKENIZER_FILES, check_contents
from adapter_tune.run_files.model_card import model_card
from adapter_tune.run_files.public_record import is_pinned, public_record
from adapter_tune.run_files.result import FILE, RunRecord, read_run, save_record
from adapter_tune.runs.loading import load
from adapter_tune.runs.save import CONFIG as RUN_CONFIG

log = logging.getLogger("adapter_tune")

_OF_THE_HUB = (".gitattributes", CARD)
"""Files that every repository may have."""


@dataclass(frozen=True)
class Pushed:
    """A run that has been pushed."""

    repository: str
    commit: str
    url: str
    files: list[str]
    """The paths of its files in the repository."""
    left_out: list[str]
    """Files of the adapter folder that were not uploaded."""


def push_run(
    run: Path, repository: str, *, private: bool = False, revision: str | None = None, model: str | None = None
) -> Pushed:
    """Upload a run as one commit: weights, configuration, result, tokenizer and model card.

    Paths of this machine are removed before, and texts of the user's own data are never part of a run folder.

    Args:
        run: the run folder.
        repository: ``ORG/NAME``; it is created if it does not exist.
        private: create it as a private one.
        revision: the branch; it is created if it does not exist. None is the main branch.
        model: id of the backbone on the Hub, if the run was trained on a local folder; it must have the same weights.

    Raises:
        UsageError: this is no run folder, the name is invalid, the backbone is a local folder, or the repository
            contains something else.
        RunError: there is no token, the Hub cannot be reached or refuses, or a file of the run is damaged.
    """
    distributed.check_launcher()
    name = HubName(check_repository_name(repository).repository, revision)
    record = read_run(run)
    adapter = read_adapter_config(run / ADAPTER)
    read_weights(run / ADAPTER, adapter)
    language = adapter.model.get("language_adapter")
    if language is not None and not is_pinned(language):
        raise UsageError(
            f"{run}: was trained on the language adapter in {language}, a folder that others do not have; only runs on "
            "a language adapter on the Hub (model.language_adapter=ORG/NAME) can be pushed"
        )
    _check_can_push()
    backbone = _backbone_on_hub(run, model)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / run.resolve().name
        left_out = _write_public_run(run, record, backbone, folder, name)
        commit, url = _upload(folder, name, private)
        files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return Pushed(name.repository, commit, url, files, left_out)


def _check_can_push() -> None:
    """Refuse before any work what the upload would refuse.

    Raises:
        RunError: calls to the Hub are turned off, or there is no token.
    """
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise RunError("the Hub cannot be reached, so nothing can be pushed; check the network (or HF_ENDPOINT)")
    if get_token() is None:
        raise RunError(
            "there is no token for the Hub; log in with 'hf auth login', or set HF_TOKEN to a token with write access"
        )


def _backbone_on_hub(run: Path, model: str | None) -> dict[str, Any]:
    """Id and commit of the run's backbone, from where anyone can load it.

    Raises:
        UsageError: it is a folder of this machine, and no id was given.
        RunError: the model that was given has other weights.
    """
    stored = read_adapter_config(run / ADAPTER).model
    model_id, commit = stored["id"], stored.get("revision")
    if model is not None:
        if Path(model).exists() or parse_hub_name(model) is None:
            raise UsageError(f"--model {model}: not the id of a model on the Hub, which others can load; give ORG/NAME")
        load(run, model=model)  # compares the weights
        return {"id": model, "revision": resolved_revision(model, None)}
    if model_id != DEMO and (commit is None or Path(model_id).exists()):
        raise UsageError(
            f"{run}: its backbone is the folder {model_id}, which others do not have; give the backbone's id on the "
            "Hub with --model ORG/NAME"
        )
    return {"id": model_id, "revision": commit}


def _write_public_run(run: Path, record: RunRecord, backbone: dict[str, Any], folder: Path, name: HubName) -> list[str]:
    """Write the files that are uploaded into a new folder; return those of the adapter that are not."""
    source = run / ADAPTER
    target = folder / ADAPTER
    target.mkdir(parents=True)
    public = public_record(record, backbone)
    save_record(public, folder)
    (folder / RUN_CONFIG).write_text(to_yaml(public.config), encoding="utf-8")
    (folder / CARD).write_text(model_card(public, str(name)), encoding="utf-8")
    adapter = read_adapter_config(source)
    adapter = adapter.model_copy(update={"model": {**adapter.model, **backbone}})
    (target / CONFIG).write_text(json.dumps(adapter.model_dump(), indent=2) + "\n", encoding="utf-8")
    for file in (WEIGHTS, *TOKENIZER_FILES):
        if (source / file).is_file():
            shutil.copyfile(source / file, target / file)
    _remove_tokenizer_paths(target / TOKENIZER_CONFIG)
    check_contents(str(run), folder)
    _check_no_paths(run, folder)
    return sorted(file.name for file in source.iterdir() if file.name not in (*ADAPTER_FILES, CARD))


def _remove_tokenizer_paths(path: Path) -> None:
    """Remove the files and the folder that a tokenizer was loaded from; it reads the files beside it."""
    if path.is_file():
        values = json.loads(path.read_text(encoding="utf-8"))
        left = {key: value for key, value in values.items() if key != "name_or_path" and not key.endswith("_file")}
        path.write_text(json.dumps(left, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_no_paths(run: Path, folder: Path) -> None:
    """Refuse to upload a file in which a path of this machine is left.

    Raises:
        RunError: there is one.
    """
    private = {str(path) for path in (run.resolve(), Path.home(), Path.cwd()) if len(path.parts) > 1}
    for file in (folder / FILE, folder / RUN_CONFIG, folder / CARD, *(folder / ADAPTER).glob("*_config.json")):
        text = file.read_text(encoding="utf-8")
        for path in private:
            if re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w-])", text):
                raise RunError(f"{file.name} would be pushed with the path {path} in it; please report this bug")


def _upload(folder: Path, name: HubName, private: bool) -> tuple[str, str]:
    """Create the repository and the branch if needed, and commit the folder; return the commit and its address."""
    from huggingface_hub import HfApi

    api = HfApi()
    with pushing(name):
        api.create_repo(name.repository, private=private or None, exist_ok=True)
        info = api.model_info(name.repository)
        if private and not info.private:
            raise UsageError(
                f"--private: {name.repository} exists and is public; make it private on the Hub, choose another name, "
                "or remove the option"
            )
        if name.revision is not None:
            api.create_branch(name.repository, branch=name.revision, exist_ok=True)
            info = api.model_info(name.repository, revision=name.revision)
        _check_is_ours(name, [file.rfilename for file in info.siblings or ()])
        commit = api.upload_folder(
            repo_id=name.repository,
            folder_path=folder,
            revision=name.revision,
            parent_commit=info.sha,
            commit_message="Push a run with adapter-tune",
            delete_patterns=[f"{ADAPTER}/*", FILE, RUN_CONFIG],  # a file of the last push may not be one of this
        )
        return commit.oid, f"{api.endpoint}/{name.repository}/tree/{commit.oid}"


def _check_is_ours(name: HubName, files: list[str]) -> None:
    """Refuse a repository that contains something other than a pushed run.

    Raises:
        UsageError: it does.
    """
    others = sorted(file for file in files if file not in _OF_THE_HUB)
    if others and f"{ADAPTER}/{CONFIG}" not in files:
        raise UsageError(f"{name.repository} contains something else ({others[0]}); choose another name")
