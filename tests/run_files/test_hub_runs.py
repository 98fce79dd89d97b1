"""Runs on the Hub: pushed, and used by name; against a Hub on this machine."""

import csv
import json
import logging
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, constants
from safetensors.torch import load_file

import adapter_tune
from adapter_tune import MultiTask
from adapter_tune.adapterhub.language import local_language, read_language_adapter
from adapter_tune.cli import main
from adapter_tune.config.schema import InitConfig
from adapter_tune.exchange.exporting import export_run
from adapter_tune.exchange.formats import Export, Exported, Format
from adapter_tune.exchange.importing import TaskChoice, import_adapter
from adapter_tune.exchange.pushing import Pushed, push_run
from adapter_tune.exchange.registry import FORMATS
from adapter_tune.exchange.stored_run import read_run_config
from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError
from adapter_tune.run_files.hub_runs import local_run
from adapter_tune.run_files.public_record import last_part, without_paths
from adapter_tune.run_files.result import read_run
from adapter_tune.runs.predict import predict_text
from adapter_tune.runs.reload import ablate_run, evaluate_run, predictor
from adapter_tune.runs.run import run
from adapter_tune.runs.run_config import config_with_data
from adapter_tune.runs.submit import submit
from tests.helpers import rows_of, write_language
from tests.hub_server import FULL, READ, TOKEN, HubServer

BACKBONE = f"{FULL}/bert"
WEIGHTS = "adapter/adapter_model.safetensors"
TEXTS = (["the cat sleeps", "a dog"], ["the cat rests", "a bird sings"])


@pytest.fixture(scope="module")
def hub(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub with the tests' backbone, and a cache and a token of its own."""
    server = HubServer()
    server.add_folder(BACKBONE, Path(backbone))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_TOKEN", TOKEN)
        yield server
    server.close()


@pytest.fixture(scope="module")
def trained(trained_runs: dict[str, str]) -> Path:
    """A trained run; to be read, not written."""
    return Path(trained_runs["rte"])


@pytest.fixture(scope="module")
def pushed(hub: HubServer, trained: Path) -> Pushed:
    """The run on the Hub."""
    return push_run(trained, f"{FULL}/rte", model=BACKBONE)


@pytest.fixture
def copy(hub: HubServer, pushed: Pushed) -> Callable[..., str]:
    """Adds a repository like the pushed one with some files changed; None removes a file."""

    def add(name: str, **changes: bytes | None) -> str:
        files = {**hub.files(pushed.repository), **changes}
        hub.add(f"{FULL}/{name}", {path: content for path, content in files.items() if content is not None})
        return f"{FULL}/{name}"

    return add


def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = model(**tokenizer(*TEXTS, padding=True, return_tensors="pt")).logits
    return result


def test_a_pushed_run_is_loaded_with_equal_logits(pushed: Pushed, trained: Path) -> None:
    assert pushed.url.endswith(f"/{FULL}/rte/tree/{pushed.commit}")
    assert torch.equal(logits(*adapter_tune.load(pushed.repository)), logits(*adapter_tune.load(trained)))


def test_eval_predict_ablate_and_export_take_its_name(
    pushed: Pushed, trained: Path, glue: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    moved = {"data.source": glue}
    name = Path(pushed.repository)
    pinned = f"{pushed.repository}@{pushed.commit}"
    result = evaluate_run(name, moved=moved)
    assert result.scores == evaluate_run(trained).scores
    assert result.storage.folder == pinned
    assert f"using {pushed.repository} at commit {pushed.commit}" in caplog.messages
    ablation = ablate_run(name, moved=moved)
    assert ablation.run == pinned
    assert ablation.spans == ablate_run(trained).spans
    assert predict_text(predictor(name, needs_data=False), "a", "b") == predict_text(
        predictor(trained, needs_data=False), "a", "b"
    )
    export_run(Export(name), tmp_path / "exported", format_name="adapterhub")
    assert (tmp_path / "exported" / "adapter_config.json").is_file()


def test_an_export_reads_model_and_data_of_one_commit(
    pushed: Pushed, glue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sources = []

    def write(export: Export, folder: Path) -> Exported:  # as an export with 8-bit weights reads a run
        assert read_run_config(export.run)[2].task == "rte"
        sources.append(config_with_data(export.run, export.moved).data.source)
        return Exported()

    monkeypatch.setitem(FORMATS, "probe", Format(name="probe", title="a probe", write=write))
    export = Export(Path(pushed.repository), moved={"data.source": glue})
    export_run(export, tmp_path / "exported", format_name="probe")
    assert sources == [glue]
    assert sum(message.startswith("using ") for message in caplog.messages) == 1


def test_multitask_and_several_runs_take_its_name(
    pushed: Pushed, trained: Path, trained_runs: dict[str, str], tmp_path: Path
) -> None:
    model = MultiTask(BACKBONE, precision="float32", device="cpu")
    model.add("pushed", pushed.repository)
    model.add("local", trained)
    ids = torch.arange(5, 19).view(2, 7)
    assert torch.equal(model(ids, tasks=["pushed"] * 2)[0], model(ids, tasks=["local"] * 2)[0])
    rows = tmp_path / "rows.csv"
    rows.write_text("sentence1,sentence2\na cat,a dog\n")
    output = tmp_path / "out.csv"
    main(["predict", pushed.repository, trained_runs["mrpc"], "--input", str(rows), "--output", str(output)])
    with output.open() as file:
        (row,) = csv.DictReader(file)
    assert row["rte_prediction"] in ("entailment", "not_entailment")
    assert "mrpc_prediction" in row


def test_runs_of_one_task_are_named_by_their_repositories(
    pushed: Pushed, trained: Path, copy: Callable[..., str], tmp_path: Path
) -> None:
    other = copy("other-rte")
    rows, output = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text("sentence1,sentence2\na cat,a dog\n")
    main(["predict", pushed.repository, other, "--input", str(rows), "--output", str(output)])
    assert "other-rte_prediction" in output.read_text().splitlines()[0]
    with pytest.raises(SystemExit):
        main(["predict", other, other, "--input", str(rows), "--output", str(output)])


def test_training_starts_from_a_pinned_commit(
    pushed: Pushed, make_config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = make_config("mrpc", max_steps=1)
    result = run(config.with_values({"init_from": InitConfig(run=pushed.repository)}))
    assert result.config["init_from"]["run"] == f"{pushed.repository}@{pushed.commit}"
    assert any(
        note.startswith(f"training started from {pushed.repository}@{pushed.commit} (rte") for note in result.warnings
    )
    assert sum(message.startswith("using ") for message in caplog.messages) == 1
    folder = Path(result.storage.folder)
    again = push_run(folder, f"{FULL}/mrpc", model=BACKBONE)
    assert read_run(local_run(again.repository)).config["init_from"] == result.config["init_from"]


def test_an_imported_run_is_pushed(pushed: Pushed, trained: Path, glue: str, tmp_path: Path) -> None:
    export_run(Export(trained), tmp_path / "exported", format_name="adapterhub")
    choice = TaskChoice(task="rte", max_length=32)
    import_adapter(tmp_path / "exported", tmp_path / "imported", model=BACKBONE, choice=choice)
    push_run(tmp_path / "imported", f"{FULL}/imported")
    scores = evaluate_run(Path(f"{FULL}/imported"), moved={"data.source": glue}).scores
    assert scores == evaluate_run(trained).scores


def test_submit_takes_its_name(pushed: Pushed, tmp_path: Path) -> None:
    (tmp_path / "twice.zip").touch()
    with pytest.raises(UsageError, match=f"two runs of rte: {pushed.repository}@{pushed.commit} and "):
        submit([Path(pushed.repository)] * 2, tmp_path / "twice.zip", allow_partial=True)


def test_only_what_a_run_needs_is_pushed_and_no_path(
    hub: HubServer, pushed: Pushed, trained: Path, backbone: str
) -> None:
    files = hub.files(pushed.repository)
    names = ["README.md", "adapter/adapter_config.json", WEIGHTS, "adapter/tokenizer.json"]
    names += ["adapter/tokenizer_config.json", "config.yaml", "result.json"]
    assert sorted(files) == [".gitattributes", *names]
    assert pushed.files == names
    for name, content in files.items():
        if name != WEIGHTS:
            text = content.decode()
            assert not {part for part in (str(trained), backbone, str(Path.home()), "/tmp", "/shm") if part in text}, (
                name
            )
    stored = json.loads(files["result.json"])
    assert stored["config_hash"] == read_run(trained).config_hash
    assert stored["storage"]["folder"] == trained.name


def test_a_path_that_is_left_is_not_pushed(
    hub: HubServer, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("adapter_tune.exchange.pushing.model_card", lambda *_: f"see `{tmp_path}/rows.csv`")
    message = push_error(RunError, trained, f"{FULL}/leak", model=BACKBONE)
    assert message.startswith(f"README.md would be pushed with the path {tmp_path}")
    monkeypatch.setattr("adapter_tune.exchange.pushing.public_record", lambda record, _: record)
    assert f"{trained}" in push_error(RunError, trained, f"{FULL}/leak", model=BACKBONE)
    assert f"{FULL}/leak" not in hub.repositories


def test_only_these_files_are_fetched(hub: HubServer, pushed: Pushed, copy: Callable[..., str]) -> None:
    name = copy("notes", **{"notes.txt": b"x", "adapter/model.onnx": b"x"})
    folder = local_run(name)
    fetched = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert fetched == {*pushed.files} - {"README.md", "config.yaml"}


def test_the_card_is_read_by_the_hub(hub: HubServer, pushed: Pushed, trained: Path) -> None:
    card = ModelCard(hub.files(pushed.repository)["README.md"].decode())
    data = card.data.to_dict()
    assert data["base_model"] == BACKBONE
    assert data["pipeline_tag"] == "text-classification"
    assert {"adapter-tune", "houlsby"} <= set(data["tags"])
    assert data["metrics"] == ["accuracy"]
    (result,) = card.data.eval_results
    assert result.metric_value == read_run(trained).scores["validation"]["accuracy"]  # type: ignore[union-attr]
    assert "- entailment" in card.text
    assert f"adapter-tune predict {FULL}/rte --text" in card.text
    assert f'adapter_tune.load("{FULL}/rte")' in card.text
    assert f'MultiTask("{BACKBONE}", revision="' in card.text


def test_a_second_push_replaces_the_first_whose_commit_stays(
    hub: HubServer, pushed: Pushed, trained: Path, trained_runs: dict[str, str]
) -> None:
    name = f"{FULL}/twice"
    first = push_run(trained, name, model=BACKBONE)
    hub.files(name)["adapter/vocab.txt"] = b"of another tokenizer"
    second = push_run(Path(trained_runs["mnli"]), name, model=BACKBONE)
    assert first.commit != second.commit
    assert "adapter/vocab.txt" not in hub.files(name)
    assert read_run(local_run(name)).task == "mnli"
    assert read_run(local_run(f"{name}@{first.commit}")).task == "rte"
    assert torch.equal(logits(*adapter_tune.load(f"{name}@{first.commit}")), logits(*adapter_tune.load(trained)))


def test_of_two_pushes_at_the_same_time_the_second_is_refused(
    hub: HubServer, pushed: Pushed, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_run(trained, f"{FULL}/shared", model=BACKBONE)
    first = hub.files(f"{FULL}/shared")

    def push_in_between(_: Any, files: list[str]) -> None:
        hub.repositories[f"{FULL}/shared"].commit("main", {**first, "note.txt": b"x"})

    monkeypatch.setattr("adapter_tune.exchange.pushing._check_is_ours", push_in_between)
    assert "it was changed at the same time" in push_error(RunError, trained, f"{FULL}/shared", model=BACKBONE)
    assert hub.files(f"{FULL}/shared") == {**first, "note.txt": b"x"}


def test_a_branch_is_created_and_read(hub: HubServer, pushed: Pushed, trained_runs: dict[str, str]) -> None:
    before = hub.repositories[pushed.repository].branches["main"]
    dev = push_run(Path(trained_runs["mnli"]), pushed.repository, revision="dev", model=BACKBONE)
    assert hub.repositories[pushed.repository].branches == {"main": before, "dev": dev.commit}
    assert read_run(local_run(f"{pushed.repository}@dev")).task == "mnli"
    assert read_run(local_run(pushed.repository)).task == "rte"
    assert f'load("{pushed.repository}@dev")' in hub.files(pushed.repository, "dev")["README.md"].decode()


def test_a_private_repository(hub: HubServer, trained: Path) -> None:
    push_run(trained, f"{FULL}/secret", private=True, model=BACKBONE)
    assert hub.repositories[f"{FULL}/secret"].private


def test_own_data_are_not_pushed(hub: HubServer, make_config: Any, tmp_path: Path) -> None:
    columns = rows_of("sst2", 40)
    texts = columns["sentence"]
    lines = ["text,label", *(f'"{text}",{"ab"[label]}' for text, label in zip(texts, columns["label"], strict=True))]
    file = tmp_path / "private" / "rows.csv"
    file.parent.mkdir()
    file.write_text("\n".join(lines))
    result = run(
        make_config("custom", data={"source": "nyu-mll/glue", "custom": {"train_file": str(file)}}, max_steps=1)
    )
    assert result.examples == {}
    push_run(Path(result.storage.folder), f"{FULL}/own", model=BACKBONE)
    files = hub.files(f"{FULL}/own")
    for name in ("README.md", "result.json", "config.yaml", "adapter/adapter_config.json"):
        text = files[name].decode()
        assert str(tmp_path) not in text
        assert not [row for row in texts if row in text]
    assert "- a\n- b" in files["README.md"].decode()
    with pytest.raises(UsageError, match=r"rows\.csv: no such file or folder \(data\.custom\.train_file\)"):
        evaluate_run(Path(f"{FULL}/own"))
    again = evaluate_run(Path(f"{FULL}/own"), moved={"data.custom.train_file": str(file)})
    assert again.scores == result.scores


def push_error(expected: type[AdapterTuneError], *args: Any, **options: Any) -> str:
    with pytest.raises(expected) as caught:
        push_run(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_push_that_cannot_be_is_refused_with_one_line(
    hub: HubServer, pushed: Pushed, trained: Path, bare_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = f"{FULL}/rte"
    for name in ("rte", "a/b/c", "../x", f"{FULL}/x..y", f"{FULL}/-x", f"{FULL}/{'x' * 100}"):
        assert "not the name of a repository" in push_error(UsageError, trained, name)
    assert "--revision dev" in push_error(UsageError, trained, f"{ours}@dev")
    assert "its backbone is the folder" in push_error(UsageError, trained, ours)
    assert "not the id of a model on the Hub" in push_error(UsageError, trained, ours, model=bare_backbone)
    hub.add_folder(f"{FULL}/other-bert", Path(bare_backbone))
    assert "fingerprint" in push_error(RunError, trained, ours, model=f"{FULL}/other-bert")
    assert "contains something else (config.json)" in push_error(UsageError, trained, BACKBONE, model=BACKBONE)
    assert "exists and is public" in push_error(UsageError, trained, ours, model=BACKBONE, private=True)
    assert "the token may not write there" in push_error(RunError, trained, f"{READ}/rte", model=BACKBONE)
    assert "no result.json" in push_error(UsageError, trained / "adapter", ours)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not accept the token" in push_error(RunError, trained, f"{FULL}/new", model=BACKBONE)
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token" in push_error(RunError, trained, ours, model=BACKBONE)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the Hub cannot be reached" in push_error(RunError, trained, ours, model=BACKBONE)
    assert f"{FULL}/new" not in hub.repositories


def test_a_hub_that_does_not_answer(
    hub: HubServer, pushed: Pushed, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("adapter_tune.exchange.pushing._backbone_on_hub", lambda *_: {"id": BACKBONE, "revision": None})
    assert "the Hub cannot be reached" in push_error(RunError, trained, f"{FULL}/rte")
    assert local_run(f"{FULL}/rte").name == pushed.commit
    with pytest.raises(RunError, match="no such folder, and the Hub cannot be reached"):
        local_run(f"{FULL}/never")


def test_damaged_weights_are_not_pushed(pushed: Pushed, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    file = tmp_path / "run" / WEIGHTS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "has changed since it was saved" in push_error(RunError, tmp_path / "run", f"{FULL}/rte", model=BACKBONE)


def test_push_prints_the_commit_and_what_stays(
    hub: HubServer, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "adapter" / "notes.bin").write_text("mine")
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    main(["push", str(tmp_path / "run"), f"{FULL}/printed", "--model", BACKBONE])
    commit = hub.repositories[f"{FULL}/printed"].branches["main"]
    out = capsys.readouterr().out
    assert "not uploaded: notes.bin" in out
    assert f"7 files pushed to {FULL}/printed at commit {commit}" in out
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit):
        main(["push", str(tmp_path / "run"), f"{FULL}/printed"])
    assert "error: HF_HUB_OFFLINE is set, so nothing can be pushed; unset it" in capsys.readouterr().err


def test_a_folder_wins_over_the_hub(
    hub: HubServer, pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(pushed.repository).mkdir(parents=True)
    calls = len(hub.calls)
    assert local_run(pushed.repository) == Path(pushed.repository)
    assert local_run("/nowhere/at/all") == Path("/nowhere/at/all")
    assert local_run("name") == Path("name")
    assert len(hub.calls) == calls


def test_a_name_that_is_neither_names_both(pushed: Pushed) -> None:
    with pytest.raises(RunError, match=f"{FULL}/nothing: no such folder, and no such repository on the Hub"):
        local_run(f"{FULL}/nothing")
    with pytest.raises(RunError, match="no such folder, and its repository on the Hub has no revision 'v2'"):
        local_run(f"{FULL}/rte@v2")


def test_offline_the_cache_is_used(
    hub: HubServer, pushed: Pushed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    online = local_run(pushed.repository)
    calls = len(hub.calls)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert local_run(pushed.repository) == online
    assert "from the cache" in caplog.messages[-1]
    with pytest.raises(RunError, match="no such folder, and the Hub cannot be reached"):
        local_run(f"{FULL}/never")
    assert len(hub.calls) == calls


class Bomb:
    """Writes a file if it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def changed_json(content: bytes, *keys: str, value: Any) -> bytes:
    """A JSON file with another value at a path of keys."""
    values = json.loads(content)
    section = values
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    return json.dumps(values).encode()


CONFIG, RESULT, TOKENIZER = "adapter/adapter_config.json", "result.json", "adapter/tokenizer_config.json"
POISONED = [
    (CONFIG, ("hook",), "os.system", "contains an unknown key 'hook'"),
    (CONFIG, ("model", "id"), "/etc", "its backbone is '/etc', which is not the id of a model"),
    (CONFIG, ("model", "id"), "../bert", r"its backbone is '\.\./bert'"),
    (CONFIG, ("model", "code"), True, "code"),
    (CONFIG, ("strategy", "hook"), True, "hook"),
    (CONFIG, ("model", "id"), "team/other", "the backbone is 'team/bert' in result.json, and 'team/other'"),
    (RESULT, ("task",), "mrpc", "the task is 'mrpc' in result.json"),
    (RESULT, ("config", "model", "id"), "team/x", "the backbone of the configuration is 'team/x'"),
    (RESULT, ("config", "data", "source"), "/etc", "config.data.source in its result.json is '/etc', a path outside"),
    (RESULT, ("config", "data", "custom", "train_file"), "../../rows.csv", r"train_file in its result.json is"),
    (RESULT, ("config", "output"), "C:\\Users", "config.output in its result.json"),
    (RESULT, ("data_paths",), {"data.source": "~/x"}, "data_paths.data.source in its result.json"),
    (TOKENIZER, ("auto_map",), {"AutoTokenizer": "x.Y"}, "its tokenizer has its own code"),
    (TOKENIZER, ("vocab_file",), "/etc/passwd", "vocab_file in its tokenizer_config.json names a file"),
]


@pytest.mark.parametrize(("file", "keys", "value", "message"), POISONED, ids=lambda value: str(value)[:30])
def test_a_poisoned_file_is_refused(
    hub: HubServer, pushed: Pushed, copy: Callable[..., str], file: str, keys: tuple[str, ...], value: Any, message: str
) -> None:
    name = copy("poisoned", **{file: changed_json(hub.files(pushed.repository)[file], *keys, value=value)})
    with pytest.raises(AdapterTuneError, match=message) as caught:
        adapter_tune.load(name)
    assert "\n" not in str(caught.value)


def test_a_pickle_beside_the_weights_is_refused(hub: HubServer, copy: Callable[..., str], tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    for path in ("pytorch_model.bin", "adapter/adapter_model.PT", "adapter/tokenization.py"):
        name = copy("pickled", **{path: bomb})
        with pytest.raises(RunError, match=f"refused, as its file '{path}' can execute code"):
            adapter_tune.load(name)
    name = copy("pickled-weights", **{WEIGHTS: bomb})
    with pytest.raises(RunError, match="damaged"):
        adapter_tune.load(name)
    assert not (tmp_path / "marker").exists()


def test_paths_out_of_the_repository_and_huge_files_are_refused(hub: HubServer, copy: Callable[..., str]) -> None:
    for path in ("../adapter.json", "/etc/x.json", "adapter/../../x.txt", "a\\..\\x.txt"):
        calls = len(hub.calls)
        with pytest.raises(RunError, match=f"its file {re.escape(repr(path))} leads out of its folder"):
            local_run(copy("outside", **{path: b"x"}))
        assert len(hub.calls) == calls + 1  # nothing but the list of files was read
    for path in (WEIGHTS, RESULT, "adapter/tokenizer.json"):
        name = copy("huge")
        hub.repositories[name].sizes[path] = 1 << 40
        with pytest.raises(RunError, match=f"refused, as {path} has 1,048,576 MiB"):
            local_run(name)


def test_a_repository_without_a_run_is_refused(hub: HubServer, copy: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match=r"has no adapter_config\.json, so it is no run"):
        local_run(BACKBONE)
    with pytest.raises(UsageError, match=r"has no adapter_model\.safetensors, so it is no run"):
        local_run(copy("no-weights", **{WEIGHTS: None}))
    peft = json.dumps({"peft_type": "LORA", "task_type": "SEQ_CLS"}).encode()
    with pytest.raises(UsageError, match="an adapter of peft; make a run of it"):
        local_run(copy("peft", **{CONFIG: peft}))


def test_another_backbone_is_refused(hub: HubServer, pushed: Pushed, copy: Callable[..., str]) -> None:
    files = hub.files(pushed.repository)
    hub.add(f"{FULL}/twin", {**hub.files(BACKBONE)})
    weights = load_tensors(hub.files(BACKBONE)["model.safetensors"])
    weights["bert.embeddings.LayerNorm.bias"] += 1
    from safetensors.torch import save

    hub.add(f"{FULL}/twin", {**hub.files(BACKBONE), "model.safetensors": save(weights, {"format": "pt"})})
    twin = {path: content.replace(BACKBONE.encode(), f"{FULL}/twin".encode()) for path, content in files.items()}
    name = copy("on-twin", **{CONFIG: unpinned(twin[CONFIG]), RESULT: twin[RESULT]})
    with pytest.raises(RunError, match="load it onto the backbone it was trained on"):
        adapter_tune.load(name)


def unpinned(config: bytes) -> bytes:
    return changed_json(config, "model", "revision", value=None)


def load_tensors(content: bytes) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    return load(content)


def test_an_adapter_folder_alone_is_loaded(hub: HubServer, pushed: Pushed, trained: Path) -> None:
    hub.add_folder(f"{FULL}/flat", trained / "adapter")
    files = hub.files(f"{FULL}/flat")
    files["adapter_config.json"] = hub.files(pushed.repository)[CONFIG]
    assert torch.equal(logits(*adapter_tune.load(f"{FULL}/flat")), logits(*adapter_tune.load(trained)))
    with pytest.raises(UsageError, match=r"no result\.json"):
        evaluate_run(Path(f"{FULL}/flat"))


def test_paths_are_removed_from_texts() -> None:
    text = "from /home/me/my runs/a (rte) with C:\\data\\x.csv, and/or 3/4 of org/name at ~/b"
    assert without_paths(text, ["/home/me/my runs/a"]) == "from a (rte) with x.csv, and/or 3/4 of org/name at b"
    assert [last_part(path) for path in ("/a/b/", "C:\\x\\y", "..", "rows.csv")] == ["b", "y", "local", "rows.csv"]


def test_a_run_on_a_language_adapter_of_the_hub_is_pushed_and_read(
    hub: HubServer, make_config: Any, backbone: str, tmp_path: Path
) -> None:
    language = write_language(tmp_path / "de")
    torch.save(load_file(language / "adapter.safetensors"), language / "pytorch_adapter.bin")
    (language / "adapter.safetensors").unlink()
    (language / "evil.py").write_text("raise SystemExit")
    commit = hub.add_folder(f"{READ}/de", language)
    section = {"id": backbone, "language_adapter": f"{READ}/de"}
    result = run(make_config("rte", model=section, max_steps=1))
    place = f"{READ}/de@{commit}"
    assert result.model.language_adapter == place
    assert not any(call.endswith("evil.py") for call in hub.calls)
    pushed = push_run(Path(result.storage.folder), f"{FULL}/rte-de", model=BACKBONE)
    expected = logits(*adapter_tune.load(result.storage.folder))
    assert torch.equal(logits(*adapter_tune.load(pushed.repository)), expected)
    assert place in hub.files(pushed.repository)["README.md"].decode()
    assert torch.equal(logits(*adapter_tune.load(pushed.repository, language_adapter=str(language))), expected)
    other = write_language(tmp_path / "sw", seed=1)
    assert not torch.equal(logits(*adapter_tune.load(pushed.repository, language_adapter=str(other))), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter_config.json": None}, "no adapter of AdapterHub"),
        ({"adapter.safetensors": None}, "no adapter of AdapterHub"),
        ({"adapter.safetensors": b"{}"}, "cannot be read"),
    ],
)
def test_a_language_adapter_of_the_hub_is_refused(
    hub: HubServer, tmp_path: Path, changes: dict[str, bytes | None], message: str
) -> None:
    hub.add_folder(f"{READ}/whole", write_language(tmp_path / "de"))
    files: dict[str, bytes | None] = {**hub.files(f"{READ}/whole"), **changes}
    hub.add(f"{READ}/damaged", {path: content for path, content in files.items() if content is not None})
    with pytest.raises(AdapterTuneError, match=message):
        read_language_adapter(local_language(f"{READ}/damaged"))
    with pytest.raises(RunError, match=r"no such repository on the Hub.*the folder of a language adapter"):
        local_language(f"{READ}/nothing")


def test_a_language_adapter_that_is_too_large_is_not_fetched(hub: HubServer, tmp_path: Path) -> None:
    hub.add_folder(f"{READ}/huge", write_language(tmp_path / "de"))
    hub.repositories[f"{READ}/huge"].sizes["adapter.safetensors"] = 1 << 40
    with pytest.raises(RunError, match=r"at most \d+ are read"):
        local_language(f"{READ}/huge")
    assert not any(f"{READ}/huge/resolve" in call for call in hub.calls)
