"""An imported run is taken by every command that takes a run, or refused with one line."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import adapter_tune
from adapter_tune import MultiTask
from adapter_tune.cli import main
from adapter_tune.config.schema import InitConfig
from adapter_tune.exchange.exporting import export_run
from adapter_tune.exchange.formats import Export
from adapter_tune.exchange.importing import TaskChoice, import_adapter
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.report.collect import collect
from adapter_tune.run_files.result import read_result, read_run
from adapter_tune.runs.predict import predict_split, predict_text
from adapter_tune.runs.reload import ablate_run, evaluate_run, predictor
from adapter_tune.runs.run import run
from tests.helpers import rows_of


@pytest.fixture(scope="module")
def trained(trained_runs: dict[str, str]) -> Path:
    """A trained run; to be read, not written."""
    return Path(trained_runs["rte"])


@pytest.fixture(scope="module")
def hub(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in AdapterHub's format, without what only we write: as AdapterHub saves it."""
    folder = tmp_path_factory.mktemp("exchange") / "hub"
    export_run(Export(trained), folder, "adapterhub")
    settings = json.loads((folder / "adapter_config.json").read_text())
    section = settings.pop("adapter_tune")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_tune_layer_norms.safetensors").unlink()
    assert section["task"] == "rte"
    return folder


@pytest.fixture(scope="module")
def glue_run(hub: Path, backbone: str) -> Path:
    """Imported for a task of GLUE."""
    import_adapter(hub, hub.with_name("glue-run"), model=backbone, choice=TaskChoice(task="rte", max_length=32))
    return hub.with_name("glue-run")


@pytest.fixture(scope="module")
def own_run(hub: Path, backbone: str) -> Path:
    """Imported for the user's own data."""
    choice = TaskChoice(text_column="premise", text_pair_column="claim", max_length=32)
    import_adapter(hub, hub.with_name("own-run"), model=backbone, choice=choice)
    return hub.with_name("own-run")


def test_it_is_scored_ablated_and_predicts_like_a_trained_run(glue_run: Path, glue: str) -> None:
    moved = {"data.source": glue}
    result = evaluate_run(glue_run, moved=moved)
    assert result.headline.metric == "accuracy"
    assert result.history == []
    assert "imported from AdapterHub's adapters package, folder hub" in result.warnings
    ablation = ablate_run(glue_run, moved=moved)
    assert ablation.whole == result.scores["validation"]
    rows = predict_split(predictor(glue_run, moved=moved), "validation")
    correct = [row["prediction"] == ("entailment", "not_entailment")[row["label"]] for row in rows]
    assert sum(correct) / len(correct) == pytest.approx(result.headline.value)


def test_it_joins_other_runs_on_one_backbone(glue_run: Path, trained_runs: dict[str, str], backbone: str) -> None:
    model = MultiTask(backbone, precision="float32", device="cpu")
    model.add("imported", glue_run)
    model.add("trained", trained_runs["mnli"])
    ids = torch.arange(5, 33).view(4, 7)
    mixed = model(ids, tasks=["imported", "trained"] * 2)
    single, _ = adapter_tune.load(glue_run)
    with torch.inference_mode():
        expected = single(input_ids=ids).logits
    assert torch.allclose(mixed[0], expected[0], rtol=0, atol=1e-5)
    assert len(mixed[1]) == 3


def test_training_starts_from_it(glue_run: Path, make_config: Any) -> None:
    strategy = {"name": "houlsby", "m": 4, "layer_norm": "none"}
    config = make_config("sst2", strategy=strategy, max_steps=1)
    result = run(config.with_values({"init_from": InitConfig(run=str(glue_run))}))
    assert any("training started from" in note for note in result.warnings)


def test_it_has_no_scores_and_says_so(glue_run: Path, trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_run(trained) == read_result(trained)
    with pytest.raises(UsageError, match=r"was imported \(AdapterHub.*'eval' computes them"):
        read_result(glue_run)
    with caplog.at_level(logging.WARNING):
        collected = collect([glue_run, trained])
    assert [one.folder for one in collected.runs] == [trained]
    assert "it is left out" in caplog.text
    with pytest.raises(UsageError, match="only imported runs, which have no scores"):
        collect([glue_run])


def test_its_model_card_says_where_it_is_from(glue_run: Path) -> None:
    card = (glue_run / "adapter" / "README.md").read_text()
    assert "It was trained with another library and imported (AdapterHub" in card
    assert "It has not been scored here." in card
    assert "nyu-mll/glue" not in card


def test_on_the_users_own_data_it_predicts_files_and_has_no_splits(own_run: Path, tmp_path: Path) -> None:
    rows = rows_of("rte", 6)
    texts = [[rows["sentence1"][row], rows["sentence2"][row]] for row in range(6)]
    model = predictor(own_run, needs_data=False)
    predicted = [predict_text(model, *pair) for pair in texts]
    assert {row["prediction"] for row in predicted} <= {"entailment", "not_entailment"}
    file = tmp_path / "rows.jsonl"
    lines = [
        json.dumps({"premise": one, "claim": two, "label": row["prediction"]})
        for (one, two), row in zip(texts, predicted, strict=True)
    ]
    file.write_text("\n".join(lines))
    assert evaluate_run(own_run, input_file=str(file)).headline.value == 1
    for use in (evaluate_run, ablate_run, predictor):
        with pytest.raises(UsageError, match="was imported without data, so it has no splits; give a file instead"):
            use(own_run)


def test_the_command_line_exports_and_imports(
    trained: Path, backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, back = tmp_path / "hub", tmp_path / "back"
    main(["export", str(trained), "--format", "adapterhub", "--output", str(hub)])
    assert "warning: 4 LayerNorms were trained" in capsys.readouterr().out
    main(["import", str(hub), "--model", backbone, "--output", str(back)])
    assert "strategy    houlsby m=4" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["import", str(hub), "--model", backbone, "--output", str(back)])
    assert end.value.code == 2
    assert "exists already; choose a new folder" in capsys.readouterr().err


def test_an_import_that_cannot_be_written_leaves_nothing(
    hub: Path, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    for function in ("save_record", "save_adapter"):
        with monkeypatch.context() as patch, pytest.raises(RunError, match=f"cannot write to {output}: disk is full"):
            patch.setattr(f"adapter_tune.runs.save.{function}", full_disk)
            import_adapter(hub, output, model=backbone, choice=TaskChoice())
        assert not output.exists()
    with monkeypatch.context() as patch, pytest.raises(RunError, match=f"cannot write to {output}: disk is full"):
        patch.setattr("adapter_tune.exchange.importing.save_config", full_disk)
        import_adapter(hub, output, model=backbone, choice=TaskChoice())
    assert not output.exists()
    import_adapter(hub, output, model=backbone, choice=TaskChoice())


def full_disk(*_: Any) -> None:
    raise OSError("disk is full")


@pytest.mark.parametrize("output", [".", "..", "new/.."])
def test_an_output_without_a_name_is_refused(
    output: str, trained: Path, hub: Path, backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UsageError, match=r"--output: .* is no new folder; give one with a name of its own"):
        export_run(Export(trained), Path(output), "adapterhub")
    with pytest.raises(UsageError, match=r"--output: .* is no new folder"):
        import_adapter(hub, Path(output), model=backbone, choice=TaskChoice())
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]
    assert not any((tmp_path / "empty").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "RUN", "--format", "adapterhubs", "--output", "NEW"], "unknown format 'adapterhubs'; did you mean"),
        (["import", "missing", "--output", "NEW"], "missing: no such folder; give the folder of an adapter"),
        (["import", "RUN", "--output", "NEW"], "contains no adapter of a known format"),
        (["import", "HUB", "--output", "NEW", "--task", "rte", "--text-column", "a"], "--text-column is only for your"),
        (["import", "OURS", "--output", "NEW", "--label-column", "a"], "--label-column is only for your own data, and"),
        (["import", "HUB", "--output", "NEW", "--task", "mnli"], "classification with 3 outputs, but the head is for"),
        (["import", "HUB", "--output", "NEW", "--task", "sst2"], "its classes are negative, positive, but the head's"),
        (["import", "HUB", "--output", "NEW", "--task", "stsb"], "regression with 1 outputs"),
        (["import", "HUB", "--output", "NEW", "--task", "rt"], "unknown task 'rt'"),
        (["eval", "HUB"], "HUB: no result.json in it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_refused(
    words: list[str],
    message: str,
    hub: Path,
    trained: Path,
    backbone: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export_run(Export(trained), tmp_path / "ours", "adapterhub")
    places = {"RUN": str(trained), "HUB": str(hub), "OURS": str(tmp_path / "ours"), "NEW": str(tmp_path / "new")}
    words = [places.get(word, word) for word in words]
    if words[0] == "import":
        words += ["--model", backbone]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert message.replace("HUB", str(hub)) in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_of_adapterhub_in_the_place_of_an_adapter_is_named(hub: Path, backbone: str) -> None:
    with pytest.raises(UsageError, match="an adapter of AdapterHub; make a run of it with 'adapter-tune import'"):
        MultiTask(backbone, device="cpu").add("hub", hub)


def test_a_damaged_configuration_is_named(hub: Path, backbone: str, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    for file in hub.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(RunError, match=r"adapter_config.json: not valid JSON"):
        import_adapter(folder, tmp_path / "run", model=backbone, choice=TaskChoice())
