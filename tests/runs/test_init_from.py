"""Training that starts from a trained run: which tensors are taken, what must fit, and that the run can be repeated."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapter_tune.adapters.model_parts import head_parameters
from adapter_tune.cli import main
from adapter_tune.config.compose import compose
from adapter_tune.config.schema import InitConfig
from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError
from adapter_tune.modeling.build import build_model
from adapter_tune.report.collect import collect
from adapter_tune.run_files.init_from import start_from
from adapter_tune.runs import run as run_module
from adapter_tune.runs.loading import load
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.runs.resolve import resolve_run
from adapter_tune.runs.run import run
from adapter_tune.strategies import REGISTRY
from tests.helpers import interrupted, weights


def from_run(config: Any, folder: Path | str) -> Any:
    return resolve_run(config.with_values({"init_from": InitConfig(run=str(folder))}))


@pytest.mark.parametrize("strategy", [name for name in REGISTRY if name != "head"])
def test_all_trained_tensors_but_the_heads_are_taken(make_config: Any, bare_backbone: str, strategy: str) -> None:
    source = make_config("mnli", strategy, bare_backbone, max_steps=2)
    run(source)
    config = from_run(make_config("rte", strategy, bare_backbone), source.folder)
    fresh, prepared = build_model(config), build_model(config)
    start_from(config.init_from, prepared.model, "id", prepared.fingerprint, prepared.newly_initialized)
    theirs = weights(source)
    trained = {name: p for name, p in prepared.model.named_parameters() if p.requires_grad}
    head_ids = {id(p) for p in head_parameters(prepared.model)}
    head = {name for name, p in trained.items() if id(p) in head_ids}
    assert any("pooler" in name for name in trained)
    untouched = dict(fresh.model.named_parameters())
    for name, tensor in prepared.model.named_parameters():
        expected = theirs[name] if name in trained.keys() - head else untouched[name]
        assert torch.equal(tensor, expected), name
    assert not all(torch.equal(theirs[name], untouched[name]) for name in trained.keys() - head)


def test_running_statistics_are_taken(make_config: Any) -> None:
    strategy = {"name": "houlsby", "m": 4, "norm": "batch"}
    source = make_config("mnli", strategy, max_steps=2)
    run(source)
    config = from_run(make_config("rte", strategy), source.folder)
    prepared = build_model(config)
    start_from(config.init_from, prepared.model, "id", prepared.fingerprint, prepared.newly_initialized)
    state = prepared.model.state_dict()
    statistics = [name for name in weights(source) if "running" in name]
    assert statistics
    assert all(torch.equal(state[name], weights(source)[name]) for name in statistics)


def test_the_run_is_scored_again_without_its_origin_which_the_result_names(make_config: Any) -> None:
    source = make_config("mnli", max_steps=2)
    run(source)
    config = from_run(make_config("rte", epochs=1), source.folder)
    result = run(config)
    assert result.config["init_from"] == {"run": str(source.folder.resolve()), "digest": config.init_from.digest}
    assert any(f"started from {source.folder} (mnli, houlsby m=4), with a new head" in note for note in result.warnings)
    card = (config.folder / "adapter" / "README.md").read_text()
    assert f"started from the adapter of the run `{source.folder.name}` (digest `{config.init_from.digest}`)" in card
    labels = {run.result.task: run.label for run in collect([source.folder.parent]).runs}  # not the same method
    assert labels == {"mnli": "houlsby m=4", "rte": f"houlsby m=4 from {source.folder.name}"}
    shutil.rmtree(source.folder)
    assert evaluate_run(config.folder).scores == result.scores


def test_the_weights_of_the_origin_are_part_of_the_hash_and_its_place_is_not(
    make_config: Any, trained_runs: dict[str, str], tmp_path: Path
) -> None:
    plain = make_config("rte")
    config = from_run(plain, trained_runs["mnli"])
    shutil.copytree(trained_runs["mnli"], tmp_path / "copy")
    assert config.folder != plain.folder == resolve_run(plain).folder
    assert from_run(plain, tmp_path / "copy").folder == config.folder
    assert from_run(plain, tmp_path / "copy" / "adapter").folder == config.folder
    assert from_run(plain, trained_runs["qnli"]).folder != config.folder
    relative = Path(trained_runs["mnli"]).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(relative)
        assert from_run(plain, Path(trained_runs["mnli"]).name).init_from == config.init_from


def test_a_run_that_was_stopped_ends_like_one_that_was_not(
    make_config: Any, trained_runs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = from_run(make_config("sst2", epochs=3, logging_steps=4), trained_runs["mnli"])
    whole, tensors = run(config), weights(config)
    shutil.rmtree(config.folder)
    interrupted(config, monkeypatch, after=10)
    monkeypatch.setattr(run_module, "start_from", None)  # not applied again to what was trained further
    resumed = run(config)
    assert (resumed.scores, resumed.history, resumed.warnings) == (whole.scores, whole.history, whole.warnings)
    assert all(torch.equal(tensor, weights(config)[name]) for name, tensor in tensors.items())


def test_the_stored_configuration_repeats_the_run_or_says_that_its_origin_changed(
    make_config: Any, trained_runs: dict[str, str], tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    shutil.copytree(trained_runs["mnli"], origin)
    config = from_run(make_config("rte", epochs=1), origin)
    run(config)
    again = compose(str(config.folder / "config.yaml"))
    assert resolve_run(again).folder == config.folder
    path = origin / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, path)
    with pytest.raises(RunError, match=r"init_from: .* has other weights .* than the configuration says"):
        resolve_run(again)
    shutil.rmtree(origin)
    with pytest.raises(UsageError, match="no such folder; give the folder of a finished run"):
        resolve_run(again)


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    ({"name": "houlsby", "m": 8}, {}, "houlsby m=4, and this run has houlsby m=8; they must be the same: --m 4"),
    ({"name": "parallel", "m": 4}, {}, "this run has parallel m=4; they must be the same: --strategy houlsby --m 4"),
    ({"name": "houlsby", "m": 4, "layers": [0]}, {}, "must be the same: --set strategy.layers=all"),
    ({"name": "houlsby", "m": 4, "activation": "relu"}, {}, "must be the same: --set strategy.activation=gelu"),
    ("full", {}, "and this run has full; they must be the same: --strategy houlsby --m 4"),
]


@pytest.mark.parametrize(("strategy", "changes", "message"), WRONG)
def test_another_strategy_is_refused_before_anything_is_loaded(
    make_config: Any, trained_runs: dict[str, str], strategy: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        from_run(make_config("rte", strategy, **changes), trained_runs["mnli"])
    assert message in str(error.value)


def test_options_that_change_no_tensor_may_differ(make_config: Any, trained_runs: dict[str, str]) -> None:
    strategy = {"name": "houlsby", "m": 4, "dropout": 0.1, "init_std": 1e-3}
    assert from_run(make_config("rte", strategy), trained_runs["mnli"]).init_from.digest


def failing(config: Any) -> str:
    with pytest.raises(AdapterTuneError) as error:
        run(config)
    return str(error.value)


def test_another_backbone_a_frozen_pooler_and_a_lone_head_are_refused(
    make_config: Any, bare_backbone: str, trained_runs: dict[str, str]
) -> None:
    other = from_run(make_config("rte", model=bare_backbone), trained_runs["mnli"])
    assert "was trained on backbone" in failing(other)
    assert f"has {build_model(other).fingerprint[:16]}; train on the same backbone: --model" in failing(other)
    source = make_config("mnli", model=bare_backbone, max_steps=1)
    run(source)
    frozen = from_run(make_config("rte", model={"id": bare_backbone, "pooler": "frozen"}), source.folder)
    assert "trained its pooler, which is frozen here; remove model.pooler" in failing(frozen)
    head = make_config("mnli", "head", max_steps=1)
    run(head)
    lone_head = from_run(make_config("rte", "head"), head.folder)
    assert "trained only its head, and the head is new here" in failing(lone_head)


def test_a_pooler_that_was_frozen_may_be_trained_on(
    make_config: Any, backbone: str, trained_runs: dict[str, str]
) -> None:
    config = make_config("rte", model={"id": backbone, "pooler": "train"}, max_steps=1)
    assert run(from_run(config, trained_runs["mnli"])).parameters.groups.pooler > 0


def test_an_adapter_of_peft_is_not_called_damaged(make_config: Any, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x"}')
    for read in (lambda: from_run(make_config("rte"), tmp_path), lambda: load(tmp_path)):
        with pytest.raises(UsageError, match="an adapter of peft; make a run of it with 'adapter-tune import'"):
            read()


def test_damaged_weights_are_refused(make_config: Any, trained_runs: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(trained_runs["mnli"], tmp_path / "origin")
    path = tmp_path / "origin" / "adapter" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "has changed since it was saved" in failing(from_run(make_config("rte"), tmp_path / "origin"))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, Any]:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    return capsys.readouterr().err.strip().splitlines()[-1], stopped.value.code


def test_a_run_given_as_the_model_gets_a_hint_in_every_command(
    trained_runs: dict[str, str], backbone: str, glue: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained_runs["mnli"]
    data = ["--set", f"data.source={glue}"]
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_text("task: rte\n")
    for run_folder in (folder, f"{folder}/adapter"):
        for words in (["train", "--task", "rte", *data], ["inspect-data", "--task", "rte", *data], ["count-params"],
                      ["eval", trained_runs["rte"]], ["bench", "--steps", "1"]):  # fmt: skip
            error, code = refused(capsys, *words, "--model", run_folder)
            assert f"give --model {backbone} --init-from {run_folder}" in error, (words, error)
            assert code == 2
    unfinished = str(tmp_path / "unfinished")
    error, code = refused(capsys, "train", "--task", "rte", "--model", unfinished, *data)
    assert f"model {unfinished} is the folder of an unfinished run, not a backbone" in error
    error, code = refused(capsys, "train", "--task", "rte", "--model", backbone, "--init-from", unfinished, *data)
    assert "no finished run in it" in error
    assert code == 2


def test_bench_refuses_what_it_would_ignore(capsys: pytest.CaptureFixture[str]) -> None:
    error, code = refused(capsys, "bench", "--steps", "1", "--set", "init_from=runs/x")
    assert "init_from.run=runs/x: bench measures random weights; remove it" in error
    assert code == 2


def test_a_digest_is_written_by_the_run_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error, _ = refused(capsys, "train", "--task", "rte", "--set", "init_from.digest=abc")
    assert "init_from.digest is set by the run; remove it" in error
    (tmp_path / "my.yaml").write_text("task: rte\ninit_from: {digest: abc}\n")
    error, _ = refused(capsys, "train", "--config", str(tmp_path / "my.yaml"))
    assert "my.yaml:2: init_from.digest: goes with init_from.run, which is not set; remove it" in error
