import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import adapter_tune
from adapter_tune.config.resolved import resolved
from adapter_tune.config.schema import parse_config
from adapter_tune.demo.glue import DEMO_TASKS
from adapter_tune.demo.location import BACKBONE, DEMO
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.build import build_model
from adapter_tune.run_files import checkpoints
from adapter_tune.run_files.result import Result, finished_runs, read_result
from adapter_tune.runs import run as run_module
from adapter_tune.runs.loading import load
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.runs.run import run
from adapter_tune.strategies import REGISTRY
from adapter_tune.tasks.glue import TASKS
from adapter_tune.training.arguments import arguments
from adapter_tune.training.trainer import AdapterTrainer
from tests.helpers import StopError, interrupted, weights

KEYS = [
    "format", "task", "strategy", "model", "seed", "config", "scores", "headline", "parameters", "speed", "storage",
    "history", "warnings", "versions", "config_hash", "data_paths", "examples",
]  # fmt: skip
PARTS = {
    "model": "id revision fingerprint language_adapter",
    "headline": "split metric value",
    "parameters": "backbone language_adapter groups trained total trained_percent trained_percent_encoder per_adapter "
    "adapter_count adapter_norms formula",
    "speed": "device precision threads real_token_share train_seconds train_examples_per_second "
    "train_tokens_per_second eval_examples_per_second peak_memory_bytes",
    "storage": "folder adapter_bytes",
}


@pytest.mark.parametrize("task", [TASKS[name] for name in DEMO_TASKS], ids=lambda t: t.name)
def test_every_task_trains_and_evaluates(make_config: Any, task: Any) -> None:
    result = run(make_config(task.name, epochs=1))
    assert tuple(result.scores) == task.validation
    assert all(tuple(scores) == task.metrics for scores in result.scores.values())
    assert result.headline.metric == task.headline
    assert result.headline.value == result.scores[task.validation[0]][task.headline]


@pytest.mark.parametrize("strategy", REGISTRY)
def test_every_strategy_learns_and_moves_nothing_it_did_not_declare(
    make_config: Any, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Any] = []

    def build(config: Any, kept: Any = None) -> Any:
        prepared.append(build_model(config))
        return prepared[-1]

    monkeypatch.setattr(run_module, "build_model", build)
    config = make_config("cola", strategy=strategy, model=DEMO, epochs=6, learning_rate=3e-3)
    result = run(config)
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    assert sum(losses[-4:]) < sum(losses[:4])  # the last epoch's and the first's
    trained = dict(prepared[0].model.named_parameters())
    declared = {name for name, p in trained.items() if p.requires_grad}
    loaded = AutoModelForSequenceClassification.from_pretrained(BACKBONE, dtype=torch.float32).state_dict()
    for name, tensor in trained.items():
        if name not in declared:
            before = loaded[name.replace(".base_layer.", ".")]  # peft's name for what it wraps
            assert torch.equal(tensor.cpu(), before.to(tensor.dtype)), (
                name
            )  # held in bf16 where the machine is quick at it
    moved = load_file(config.folder / "adapter" / "adapter_model.safetensors")
    assert moved.keys() == declared
    assert not [name for name in declared & loaded.keys() if torch.equal(moved[name], loaded[name])]


def test_a_run_folder_holds_the_run_and_no_more(make_config: Any) -> None:
    config = make_config("mnli")
    result = run(config)
    files = {path.relative_to(config.folder).as_posix() for path in config.folder.rglob("*") if path.is_file()}
    assert files == {
        "config.yaml", "result.json", "adapter/README.md", "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors", "adapter/tokenizer.json", "adapter/tokenizer_config.json",
    }  # fmt: skip
    stored = json.loads((config.folder / "result.json").read_text())
    assert list(stored) == KEYS
    for part, keys in PARTS.items():
        assert list(stored[part]) == keys.split()
    assert list(stored["parameters"]["groups"]) == ["adapters", "layer_norm", "head", "pooler", "other"]
    assert Result.model_validate(stored) == result
    assert stored["config"] == config.model_dump()
    assert stored["storage"]["adapter_bytes"] > 4 * result.parameters.trained
    assert stored["versions"].keys() >= {"python", "torch", "transformers", "adapter-tune"}
    assert 0 < stored["speed"]["real_token_share"] <= 1
    card = (config.folder / "adapter" / "README.md").read_text()
    for word in ("metrics:", "model-index:", "validation_mismatched", f"{result.parameters.trained:,}"):
        assert word in card


def test_a_result_without_adapters_has_nulls(make_config: Any) -> None:
    config = make_config("sst2", strategy="head", epochs=1)
    run(config)
    stored = json.loads((config.folder / "result.json").read_text())
    assert (stored["parameters"]["formula"], stored["parameters"]["per_adapter"]) == (None, None)
    assert stored["parameters"]["adapter_count"] == 0
    assert "-m" not in config.folder.name


def test_the_same_configuration_gives_the_same_result(make_config: Any, tmp_path: Path) -> None:
    first = run(make_config("rte", epochs=1))
    again = run(make_config("rte", epochs=1), force=True)
    other = run(make_config("rte", epochs=1, seed=7))
    assert (first.scores, first.history) == (again.scores, again.history)
    assert first.history != other.history


def test_a_finished_run_is_not_run_twice(make_config: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    config = make_config("rte", epochs=1)
    first = run(config)
    monkeypatch.setattr(run_module, "train", None)
    with caplog.at_level("INFO", logger="adapter_tune"):
        assert run(config) == first
    assert "is finished" in caplog.text
    monkeypatch.undo()
    assert run(config, force=True).scores == first.scores


@pytest.mark.parametrize("task", ["mnli", "stsb"])
@pytest.mark.parametrize("strategy", ["houlsby", "full"])
def test_eval_gives_trainings_scores_to_the_last_bit(make_config: Any, task: str, strategy: str) -> None:
    config = make_config(task, strategy=strategy)
    result = run(config)
    before = {path: path.read_bytes() for path in config.folder.rglob("*") if path.is_file()}
    assert evaluate_run(config.folder).scores == result.scores
    assert evaluate_run(config.folder).scores == result.scores
    assert before == {path: path.read_bytes() for path in config.folder.rglob("*") if path.is_file()}


def test_eval_of_one_split_and_another_batch_size(make_config: Any) -> None:
    config = make_config("mnli", epochs=1)
    result = run(config)
    other = evaluate_run(config.folder, split="validation_mismatched", batch_size=5)
    assert list(other.scores) == ["validation_mismatched"]
    assert other.scores["validation_mismatched"] == result.scores["validation_mismatched"]
    assert list(evaluate_run(config.folder, split="train").scores) == ["train"]
    with pytest.raises(UsageError, match="not public"):
        evaluate_run(config.folder, split="test_matched")


def test_a_loaded_model_is_ready_and_knows_its_labels(make_config: Any) -> None:
    config = make_config("rte", epochs=1)
    run(config)
    model, tokenizer = load(config.folder)
    assert not model.training
    assert model.config.id2label == {0: "entailment", 1: "not_entailment"}
    batch = tokenizer(["a good film"], ["a bad film"], return_tensors="pt")
    again, _ = load(config.folder / "adapter")
    assert torch.equal(model(**batch).logits, again(**batch).logits)
    assert len(adapter_tune.adapters_of(model)) == 4


def test_a_larger_backbone_is_not_taken_for_damage(make_config: Any) -> None:
    config = make_config("rte", epochs=1)
    run(config)
    with pytest.raises(RunError, match=r"needs [\d,]+ trained parameters, but .*; use the backbone it"):
        load(config.folder, model="demo")


def test_another_backbone_is_refused(make_config: Any, bare_backbone: str) -> None:
    config = make_config("rte", epochs=1)
    run(config)
    with pytest.raises(RunError, match=r"the adapter belongs to backbone .* with fingerprint"):
        load(config.folder, model=bare_backbone)


def test_a_backbone_that_moved_is_found(make_config: Any, backbone: str, tmp_path: Path) -> None:
    first = tmp_path / "first"
    shutil.copytree(backbone, first)
    config = make_config("rte", model=str(first), epochs=1)
    result = run(config)
    first.rename(tmp_path / "second")
    with pytest.raises(RunError, match="no such model"):
        load(config.folder)
    assert evaluate_run(config.folder, model=str(tmp_path / "second")).scores == result.scores


def test_a_model_of_the_hub_is_pinned_to_the_commit_it_was_trained_on(make_config: Any, backbone: str) -> None:
    cache = Path(constants.HF_HUB_CACHE) / "models--some--bert"
    commits = ("a" * 40, "b" * 40)
    for commit in commits:  # the branch has moved on since the first one
        shutil.copytree(backbone, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commits[0])
    config = make_config("rte", model="some/bert", epochs=1)
    result = run(config)
    assert result.model.revision == commits[0]
    (cache / "refs" / "main").write_text(commits[1])
    shutil.rmtree(cache / "snapshots" / commits[1])
    assert evaluate_run(config.folder).scores == result.scores


def examples(result: Result) -> int:
    """Rows trained on, as the speed says."""
    speed = result.speed
    assert speed.train_seconds
    assert speed.train_examples_per_second
    return round(speed.train_seconds * speed.train_examples_per_second)


@pytest.mark.parametrize("strategy", ["houlsby", "full"])
def test_a_run_that_was_stopped_ends_like_one_that_was_not(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, strategy: str
) -> None:
    config = make_config("sst2", strategy=strategy, epochs=3, logging_steps=4)
    whole, tensors = run(config), weights(config)
    shutil.rmtree(config.folder)
    interrupted(config, monkeypatch, after=10)  # in the third epoch of four steps
    assert not (config.folder / "result.json").exists()
    with caplog.at_level("INFO", logger="adapter_tune"):
        resumed = run(config)
    assert "is unfinished; resuming from checkpoint-8" in caplog.text
    assert resumed.scores == whole.scores
    assert resumed.history == whole.history
    assert examples(resumed) == examples(whole) == 3 * 64
    assert weights(config).keys() == tensors.keys()
    assert all(torch.equal(tensor, weights(config)[name]) for name, tensor in tensors.items())


def test_batches_are_of_like_length_and_other_ones_in_every_epoch(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {"training_step": [], "prediction_step": []}

    def watch(name: str) -> None:
        original = getattr(AdapterTrainer, name)

        def step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            seen[name].append(inputs["attention_mask"].sum(1))
            return original(self, model, inputs, *args, **kwargs)

        monkeypatch.setattr(AdapterTrainer, name, step)

    for name in seen:
        watch(name)
    result = run(make_config("rte", batch_size=8, epochs=2, eval_batch_size=8, device="cpu"))
    first, second = seen["training_step"][:8], seen["training_step"][8:]
    assert [t.tolist() for t in first] != [t.tolist() for t in second]
    for epoch in (first, second):
        assert sorted(torch.cat(epoch).tolist()) == sorted(torch.cat(first).tolist())
        lengths = torch.cat(epoch)
        assert sum(int(t.max() - t.min()) for t in epoch) <= int(lengths.max() - lengths.min())  # as if in order
    evaluated = torch.cat(seen["prediction_step"][:3]).tolist()
    assert evaluated == sorted(evaluated, reverse=True)
    assert result.speed.real_token_share is not None
    assert result.speed.real_token_share > 0.9


def test_no_resume_starts_anew(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("sst2", epochs=3)
    interrupted(config, monkeypatch, after=6)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "load_splits", lambda *_: (_ for _ in ()).throw(StopError))
        with pytest.raises(StopError):
            run(config, resume=False)
    assert (config.folder / "checkpoint-4").is_dir()  # nothing goes before data and model are there
    steps = 0
    original = AdapterTrainer.training_step

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        return original(self, *args, **kwargs)

    monkeypatch.setattr(AdapterTrainer, "training_step", training_step)
    run(config, resume=False)
    assert steps == 12


@pytest.mark.parametrize("file", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
def test_a_checkpoint_that_cannot_be_read_is_named(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    config = make_config("sst2", epochs=3)
    interrupted(config, monkeypatch, after=10)
    path = config.folder / "checkpoint-8" / file
    path.write_bytes(path.read_bytes()[:50])
    checkpoints.seal(path.parent)  # it is as it was written, and yet no library can read it
    with pytest.raises(RunError, match=r"checkpoint-8: cannot be read .*--no-resume"):
        run(config)


def test_patience_lasts_over_a_resume(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config("sst2", epochs=9, early_stopping=3)
    falling = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    monkeypatch.setattr(
        "adapter_tune.training.scorer.Scorer.__call__", lambda *_: {"accuracy": next(falling), "distinct": 2.0}
    )
    interrupted(config, monkeypatch, after=10)
    assert run(config).history[-1]["epoch"] == 4


def test_the_learning_rate_rises_and_falls_as_in_the_paper(make_config: Any) -> None:
    history = run(make_config("sst2", epochs=5, warmup=0.2, learning_rate=1e-3)).history
    rates = [entry["learning_rate"] for entry in history if "learning_rate" in entry]
    assert rates == pytest.approx([1e-3 * (k / 4 if k < 4 else (20 - k) / 16) for k in range(20)])


def test_the_trainers_arguments_are_the_papers(make_config: Any, tmp_path: Path) -> None:
    args = arguments(resolved(parse_config({"task": "rte", "training": {"device": "cpu"}})), tmp_path)
    wanted = {
        "learning_rate": 3e-4, "per_device_train_batch_size": 32, "weight_decay": 0.01, "adam_beta1": 0.9,
        "adam_beta2": 0.999, "adam_epsilon": 1e-6, "max_grad_norm": 1.0, "warmup_steps": 0.1, "num_train_epochs": 3,
        "lr_scheduler_type": "linear", "metric_for_best_model": "validation_accuracy", "load_best_model_at_end": True,
        "ddp_find_unused_parameters": False,
    }  # fmt: skip
    assert {name: getattr(args, name) for name in wanted} == wanted


def test_gradients_are_clipped(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.stack([g.norm() for g in grads]).norm().item())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run(make_config("sst2", epochs=1, max_grad_norm=0.01))
    assert norms == pytest.approx([0.01] * 4, rel=1e-3)


def test_eval_goes_by_the_stored_result(make_config: Any) -> None:
    config = make_config("rte", epochs=1)
    result = run(config)
    path = config.folder / "config.yaml"
    path.write_text(path.read_text().replace("task: rte", "task: sst2"))
    assert evaluate_run(config.folder).scores == result.scores


def test_labels_that_are_not_the_tasks_are_refused(make_config: Any) -> None:
    config = make_config("rte", epochs=1)
    run(config)
    path = config.folder / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": ["not_entailment", "entailment"]}))
    with pytest.raises(RunError, match=r"labels .* are not those of rte"):
        load(config.folder)


def test_checkpoints_hold_what_is_trained_and_the_optimisers_state(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("sst2", epochs=3)
    interrupted(config, monkeypatch, after=6)
    checkpoint = config.folder / "checkpoint-4"
    trained = {name for name, p in build_model(config).model.named_parameters() if p.requires_grad}
    assert load_file(checkpoint / "adapter_model.safetensors").keys() == trained
    assert {path.name for path in checkpoint.iterdir()} == {
        "adapter_model.safetensors", "checkpoint.json", "optimizer.pt", "scheduler.pt", "rng_state.pth",
        "trainer_state.json",
    }  # fmt: skip


def test_the_best_checkpoint_comes_back_head_and_layer_norms_too(
    make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores that fall after the first epoch: what is kept is what the first epoch ended with."""
    config = make_config("sst2", epochs=3)
    kept: list[dict[str, torch.Tensor]] = []
    falling = iter([0.9, 0.8, 0.7])

    def scores(self: Any, prediction: Any) -> dict[str, float]:
        kept.append({})
        return {"accuracy": next(falling), "distinct": 2.0}

    monkeypatch.setattr("adapter_tune.training.scorer.Scorer.__call__", scores)
    save = AdapterTrainer._save_checkpoint

    def save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        kept[-1].update({n: p.detach().cpu().clone() for n, p in model.named_parameters() if p.requires_grad})
        save(self, model, trial)

    monkeypatch.setattr(AdapterTrainer, "_save_checkpoint", save_checkpoint)
    result = run(config)
    assert result.headline.value == 0.9
    best, last, final = kept[0], kept[-1], weights(config)
    assert all(torch.equal(final[name], tensor) for name, tensor in best.items())
    for part in ("classifier.weight", "output.LayerNorm.weight", "adapter.up.weight"):
        assert any(name.endswith(part) and not torch.equal(best[name], last[name]) for name in best)


@pytest.mark.parametrize("lost", [False, True])
def test_the_best_checkpoint_is_found_in_a_folder_that_moved(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: bool
) -> None:
    config = make_config("sst2", epochs=3)
    falling = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr(
        "adapter_tune.training.scorer.Scorer.__call__", lambda *_: {"accuracy": next(falling), "distinct": 2.0}
    )
    interrupted(config, monkeypatch, after=10)
    best = load_file(config.folder / "checkpoint-4" / "adapter_model.safetensors")
    if lost:
        shutil.rmtree(config.folder / "checkpoint-4")
    Path(config.output).rename(tmp_path / "moved")
    moved = config.model_copy(update={"output": str(tmp_path / "moved")})
    if lost:
        with pytest.raises(RunError, match=r"best checkpoint \(step 4\) is missing"):
            run(moved)
        return
    assert run(moved).headline.value == 0.9
    assert all(torch.equal(tensor, best[name]) for name, tensor in weights(moved).items())


def test_early_stopping_and_max_steps(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    short = run(make_config("sst2", max_steps=3))
    assert short.history[-1]["step"] == 3
    assert short.scores["validation"].keys() == {"accuracy"}
    monkeypatch.setattr("adapter_tune.training.scorer.Scorer.__call__", lambda *_: {"accuracy": 0.5, "distinct": 2.0})
    stopped = run(make_config("sst2", epochs=9, early_stopping=2))
    assert stopped.history[-1]["epoch"] == 3


def test_gradient_accumulation_takes_the_same_step_as_one_batch(
    make_config: Any, backbone: str, tmp_path: Path
) -> None:
    still = tmp_path / "still"  # a backbone without dropout
    shutil.copytree(backbone, still)
    values = json.loads((still / "config.json").read_text())
    values.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    (still / "config.json").write_text(json.dumps(values))

    def final(**training: Any) -> dict[str, torch.Tensor]:
        config = make_config(
            "sst2", model=str(still), data={"max_train_samples": 32}, epochs=1, max_grad_norm=0.0, weight_decay=0.0,
            warmup=0.0, adam_epsilon=1.0, learning_rate=1.0, **training,
        )  # fmt: skip
        run(config)
        return weights(config)

    one, two = final(batch_size=32), final(batch_size=16, gradient_accumulation=2)
    start = build_model(make_config("sst2", model=str(still))).model.state_dict()
    norms = [name for name in one if "LayerNorm" in name]  # the head starts at random, these from the checkpoint
    assert len(norms) == 8
    for name in norms:
        moved = one[name] - start[name]
        assert moved.abs().max() > 0
        assert torch.allclose(two[name] - start[name], moved, atol=0.05 * moved.abs().max().item()), name


def test_gradient_checkpointing_learns_the_same(make_config: Any) -> None:
    plain = run(make_config("sst2", epochs=1))
    checkpointed = run(make_config("sst2", epochs=1, gradient_checkpointing=True))
    losses = [[e["loss"] for e in r.history if "loss" in e] for r in (plain, checkpointed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(set(losses[0])) > 1


def test_weight_decay_spares_layer_norms_and_biases(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[set[str]] = []
    create = AdapterTrainer.create_optimizer

    def create_optimizer(self: Any, *args: Any) -> Any:
        optimizer = create(self, *args)
        names = {id(p): n for n, p in self.model.named_parameters()}
        groups.extend({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
        return optimizer

    monkeypatch.setattr(AdapterTrainer, "create_optimizer", create_optimizer)
    run(make_config("sst2", epochs=1))
    decayed, spared = groups
    assert all(name.endswith(".weight") and "LayerNorm" not in name for name in decayed)
    assert any("adapter.down.weight" in name for name in decayed)
    assert all(name.endswith(".bias") or "LayerNorm" in name for name in spared)


@pytest.mark.parametrize(("task", "word"), [("cola", "one class"), ("stsb", "the same value")])
def test_a_collapsed_run_says_so(make_config: Any, monkeypatch: pytest.MonkeyPatch, task: str, word: str) -> None:
    def collapse(prepared: Any) -> None:
        with torch.no_grad():
            prepared.model.classifier.weight.zero_()

    def build(config: Any, kept: Any = None) -> Any:
        prepared = build_model(config)
        collapse(prepared)
        return prepared

    monkeypatch.setattr(run_module, "build_model", build)
    result = run(make_config(task, epochs=1, learning_rate=1e-12))
    assert any(note.startswith("collapsed") and word in note for note in result.warnings)
    assert math.isfinite(result.headline.value)


def test_finished_runs_newest_first(make_config: Any) -> None:
    import os

    folders = []
    for age, seed in enumerate((1, 2)):
        config = make_config("sst2", max_steps=1, seed=seed)
        run(config)
        os.utime(config.folder / "result.json", (1000 - age, 1000 - age))
        folders.append(config.folder)
    assert finished_runs(folders[0].parent) == folders


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ('{"format": 1}', "task is missing"), ('{"format": 99}', "too new for this version")],
)
def test_a_damaged_result_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read_result(tmp_path)


def test_keys_of_a_later_version_are_passed_over(make_config: Any) -> None:
    config = make_config("sst2", max_steps=1)
    result = run(config)
    path = config.folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert read_result(config.folder) == result
