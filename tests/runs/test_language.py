"""Runs on a language adapter: trained, scored again, predicted with another language, ablated, exported, refused."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import adapter_tune
from adapter_tune.adapters.model_parts import language_modules
from adapter_tune.bench.exported import bench_exported
from adapter_tune.cli import main
from adapter_tune.exchange.exporting import export_run
from adapter_tune.exchange.formats import Export
from adapter_tune.exchange.importing import TaskChoice, import_adapter
from adapter_tune.exchange.pushing import push_run
from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError
from adapter_tune.modeling.language import with_language
from adapter_tune.run_files import checkpoints
from adapter_tune.run_files.data_paths import LANGUAGE
from adapter_tune.run_files.hub_checks import check_contents
from adapter_tune.run_files.result import read_run
from adapter_tune.runs.reload import ablate_run, evaluate_run, predictor
from adapter_tune.runs.resolve import resolve_run
from tests.helpers import interrupted, write_language

IDS = torch.arange(5, 5 + 4 * 7).view(4, 7)


@pytest.fixture(scope="module")
def world(
    make_configs: Any, backbone: str, glue: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path, Path]:
    """What makes configurations on the language adapter ``de``, the folder of it, and that of another one."""
    folder = tmp_path_factory.mktemp("world")
    german, swahili = write_language(folder / "de"), write_language(folder / "sw", seed=1, name="sw")
    make = make_configs(backbone, glue, folder / "runs")

    def on_german(task: str = "rte", **options: Any) -> Any:
        model = {"id": backbone, "language_adapter": str(german)}
        return make(task, model=options.pop("model", model), **{"max_steps": 2, **options})

    return on_german, german, swahili


@pytest.fixture(scope="module")
def trained(world: tuple[Any, Path, Path]) -> adapter_tune.Result:
    return adapter_tune.run(world[0]())


def logits(run: str | Path, **options: Any) -> torch.Tensor:
    model, _ = adapter_tune.load(run, **options)
    with torch.inference_mode():
        return model(input_ids=IDS).logits.clone()  # type: ignore[no-any-return]


def test_the_record_names_it(trained: adapter_tune.Result, world: tuple[Any, Path, Path]) -> None:
    folder = Path(trained.storage.folder)
    record = json.loads((folder / "result.json").read_text())
    assert record["model"]["language_adapter"] == str(world[1])
    assert record["config"]["model"]["language_digest"]
    assert record["parameters"]["language_adapter"] > 0
    assert record["parameters"]["groups"]["other"] == 0
    assert any(note.startswith("language adapter de (") for note in record["warnings"])
    adapter = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert adapter["model"]["language_adapter"] == str(world[1])
    card = (folder / "adapter" / "README.md").read_text()
    assert "the frozen language adapter `de`" in card
    assert "MultiTask" not in card
    assert str(world[1].parent) not in card


def test_its_scores_come_back_to_the_bit(trained: adapter_tune.Result) -> None:
    again = evaluate_run(Path(trained.storage.folder))
    assert again.scores == trained.scores
    ablation = ablate_run(Path(trained.storage.folder))
    assert ablation.whole["accuracy"] == trained.scores["validation"]["accuracy"]


def test_the_language_is_exchanged_at_prediction(
    trained: adapter_tune.Result, world: tuple[Any, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder, (_, german, swahili) = trained.storage.folder, world
    own = logits(folder)
    with caplog.at_level(logging.INFO, "adapter_tune"):
        assert torch.equal(logits(folder, language_adapter=str(german)), own)
        assert "another language adapter" not in caplog.text
        assert not torch.allclose(logits(folder, language_adapter=str(swahili)), own, atol=1e-3)
    assert f"another language adapter than in training: {swahili}, and not {german}" in caplog.text
    result = evaluate_run(Path(folder), moved={LANGUAGE: str(swahili)})
    assert any(note.startswith("another language adapter than in training") for note in result.warnings)
    loaded = predictor(Path(folder), moved={LANGUAGE: str(swahili)})
    assert loaded.prepared.config.language_adapter == str(swahili)


def test_it_is_found_where_it_has_moved(
    trained: adapter_tune.Result, world: tuple[Any, Path, Path], tmp_path: Path
) -> None:
    run = shutil.copytree(trained.storage.folder, tmp_path / "run")
    path = run / "adapter" / "adapter_config.json"
    values = json.loads(path.read_text())
    values["model"]["language_adapter"] = str(tmp_path / "gone")
    path.write_text(json.dumps(values))
    with pytest.raises(UsageError, match="is not there; bring it back, or say where it is now with --language-adapter"):
        adapter_tune.load(run)
    assert torch.equal(logits(run, language_adapter=str(world[1])), logits(trained.storage.folder))
    with pytest.raises(UsageError, match=r"model\.language_adapter: .*nowhere: no such folder"):
        adapter_tune.load(run, language_adapter=str(tmp_path / "nowhere"))
    shutil.copytree(world[2], tmp_path / "gone")
    with pytest.raises(RunError, match=r"and the run was trained on .*; bring that one back"):
        adapter_tune.load(run)


def test_a_run_without_one_refuses_one(trained_runs: dict[str, str], world: tuple[Any, Path, Path]) -> None:
    with pytest.raises(UsageError, match="the run was trained without one"):
        adapter_tune.load(trained_runs["rte"], language_adapter=str(world[1]))


def test_another_backbone_is_refused(trained: adapter_tune.Result, bare_backbone: str) -> None:
    with pytest.raises(RunError, match="load it onto the backbone it was trained on"):
        adapter_tune.load(trained.storage.folder, model=bare_backbone)


def test_the_hash_depends_on_it_and_not_on_its_folder(world: tuple[Any, Path, Path], tmp_path: Path) -> None:
    make, german, swahili = world
    first = resolve_run(make())
    copied = shutil.copytree(german, tmp_path / "copied")
    values = {"id": first.model.id}
    assert resolve_run(make(model={**values, "language_adapter": str(copied)})).hash() == first.hash()
    assert resolve_run(make(model={**values, "language_adapter": str(swahili)})).hash() != first.hash()
    assert resolve_run(make(model=values)).hash() != first.hash()
    assert with_language("a", "b") != with_language("a", "c") != with_language("a", None) == "a"


def test_a_stopped_run_goes_on_to_the_same_bits(
    world: tuple[Any, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve_run(world[0]("sst2", epochs=2, max_steps=None))
    whole = adapter_tune.run(config.model_copy(update={"output": str(tmp_path / "whole")}))
    part = config.model_copy(update={"output": str(tmp_path / "part")})
    interrupted(part, monkeypatch, after=5)
    assert checkpoints.newest(part.folder) is not None
    resumed = adapter_tune.run(part)
    assert resumed.scores == whole.scores
    assert torch.equal(logits(resumed.storage.folder), logits(whole.storage.folder))


def test_the_cache_of_frozen_layers_has_it_in_its_key(world: tuple[Any, Path, Path], tmp_path: Path) -> None:
    make, _, swahili = world
    options = {
        "strategy": {"name": "houlsby", "m": 4, "layers": [1]},
        "backbone_dropout": "off",
        "epochs": 2,
        "max_steps": None,
        "cache_frozen_prefix": "on",
    }
    scores = {}
    for name, changes in {
        "de": {},
        "sw": {"model": {"id": make().model.id, "language_adapter": str(swahili)}},
    }.items():
        config = make("sst2", **options, **changes)
        cached = adapter_tune.run(config.model_copy(update={"output": str(tmp_path)}))
        off = config.with_values({"training.cache_frozen_prefix": "off", "output": str(tmp_path / "off")})
        assert cached.scores == adapter_tune.run(off).scores
        scores[name] = cached.history
    assert scores["de"] != scores["sw"]
    assert len([path for path in (tmp_path / ".frozen-prefix").iterdir() if path.is_dir()]) == 2


@pytest.mark.parametrize("strategy", ["full", "bias", {"name": "lora", "projections": ["feed_forward_output"]}])
def test_other_strategies_leave_it_as_it_is(world: tuple[Any, Path, Path], strategy: Any) -> None:
    result = adapter_tune.run(world[0](strategy=strategy, learning_rate=0.1))
    assert evaluate_run(Path(result.storage.folder)).scores == result.scores
    model, _ = adapter_tune.load(result.storage.folder)
    stored = load_file(world[1] / "adapter.safetensors")
    coupling = language_modules(model)[0]
    assert torch.equal(coupling.get_parameter("F.0.weight"), stored["bert.invertible_adapters.de.F.0.weight"])
    saved = load_file(Path(result.storage.folder) / "adapter" / "adapter_model.safetensors")
    assert not any("invertible" in name for name in saved)


def test_it_is_exported_and_imported(
    trained: adapter_tune.Result, world: tuple[Any, Path, Path], tmp_path: Path
) -> None:
    run = Path(trained.storage.folder)
    exported = export_run(Export(run), tmp_path / "hub", "adapterhub")
    assert any("Stack(LANGUAGE, 'rte')" in note for note in exported.notes)
    model = trained.model.id
    with pytest.raises(RunError, match="fingerprint"):
        import_adapter(tmp_path / "hub", tmp_path / "without", model=model, choice=TaskChoice())
    import_adapter(
        tmp_path / "hub", tmp_path / "back", model=model, language_adapter=str(world[1]), choice=TaskChoice()
    )
    assert torch.equal(logits(tmp_path / "back"), logits(run))
    assert read_run(tmp_path / "back").model.language_adapter == str(world[1])


@pytest.mark.slow
def test_onnx_contains_it(trained: adapter_tune.Result, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    exported = export_run(Export(Path(trained.storage.folder)), tmp_path / "onnx", "onnx")
    assert exported.facts
    [in_torch, _], _ = bench_exported(tmp_path / "onnx", "8", turns=1)
    model, _ = adapter_tune.load(trained.storage.folder)
    assert in_torch.model_bytes == 4 * sum(p.numel() for p in model.parameters())


def refused(call: Any) -> str:
    with pytest.raises(AdapterTuneError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_has_no_place_for_it_is_refused(
    trained: adapter_tune.Result, world: tuple[Any, Path, Path], trained_runs: dict[str, str], tmp_path: Path
) -> None:
    make, german, _ = world
    run = Path(trained.storage.folder)
    assert "the run alone" in refused(lambda: adapter_tune.MultiTask(trained.model.id).add("rte", run))
    bias = adapter_tune.run(make(strategy="bias"))
    export = Export(Path(bias.storage.folder))
    assert "--format onnx" in refused(lambda: export_run(export, tmp_path / "merged", "merged"))
    parallel = adapter_tune.run(make(strategy={"name": "parallel", "m": 4}))
    export_parallel = Export(Path(parallel.storage.folder))
    assert "Stack leaves out" in refused(lambda: export_run(export_parallel, tmp_path / "hub", "adapterhub"))
    pushed = shutil.copytree(run / "adapter", tmp_path / "pushed")
    values = json.loads((pushed / "adapter_config.json").read_text())
    values["model"]["id"] = "google-bert/bert-base-uncased"
    (pushed / "adapter_config.json").write_text(json.dumps(values))
    assert "which is no commit on the Hub" in refused(lambda: check_contents("org/name", pushed))
    assert "can be pushed" in refused(lambda: push_run(run, "org/name"))
    start = make().model_copy(update={"init_from": make().init_from.model_copy(update={"run": trained_runs["rte"]})})
    assert "was trained without a language adapter" in refused(lambda: adapter_tune.run(start))
    plain = make(model={"id": trained.model.id})
    start = plain.model_copy(update={"init_from": plain.init_from.model_copy(update={"run": str(run)})})
    assert f"set model.language_adapter={german}" in refused(lambda: adapter_tune.run(start))


def command(*words: Any) -> int:
    """The exit status of a command."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_line(
    trained: adapter_tune.Result,
    world: tuple[Any, Path, Path],
    trained_runs: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, (_, german, swahili) = trained.storage.folder, world
    texts = ["--text", "a b", "--text-pair", "c d"]
    assert command("predict", run, *texts, "--language-adapter", str(swahili)) == 0
    assert "another language adapter than in training" in capsys.readouterr().err
    assert command("eval", run, "--language-adapter", str(swahili)) == 0
    output = capsys.readouterr().out
    assert "language adapter" in output
    assert "note: another language adapter than in training" in output
    assert command("predict", run, trained_runs["rte"], *texts) == 2
    assert "language adapter" in capsys.readouterr().err
    several = [trained_runs["rte"], trained_runs["sst2"], *texts]
    assert command("predict", *several, "--language-adapter", str(german)) == 2
    assert "--language-adapter is only for one run" in capsys.readouterr().err
    assert command("export", run, "--format", "merged", "--output", "x", "--language-adapter", str(german)) == 2
    assert "--language-adapter is only for --format onnx" in capsys.readouterr().err
    assert command("import", str(german), "--output", str(tmp_path / "imported")) == 2
    assert f"--set model.language_adapter={german}" in capsys.readouterr().err
    words = ["--model", trained.model.id, "--set", f"model.language_adapter={german}"]
    assert command("count-params", *words, "--strategy", "houlsby", "--m", "4") == 0
    output = capsys.readouterr().out
    assert "of it the language adapter" in output
    assert "note: language adapter de" in output
    assert command("bench", *words, "--strategy", "houlsby") == 2
    assert command("train", "--task", "rte", *words[:2], "--set", "model.language_adapter=nowhere") == 2
    assert "model.language_adapter: nowhere: no such folder" in capsys.readouterr().err
    assert command("serve", run) == 2
    assert "predict with the run alone" in capsys.readouterr().err
