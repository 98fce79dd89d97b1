"""A step's loss is one mean over all its rows, in however many batches they come, and whatever their weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertForPreTraining

from adapter_tune.demo.glue import rows
from adapter_tune.runs.run import run
from adapter_tune.tasks.glue import Task, get_task
from adapter_tune.training.loss_weights import batch_loss_scale, own_rows_of_last_batch, weighted_loss
from tests.helpers import TOKENIZER, bert_config

TASKS: dict[str, list[Any]] = {
    "classification": ["rare", *["usual"] * 3],
    "multi_label": [["rare"], [], ["usual"], ["usual", "rare"], []],
}


@pytest.fixture
def trained(make_config: Any, tmp_path: Path) -> Any:
    """Trains on a few rows without dropout, all of them in every step, and returns what was trained."""
    folder = tmp_path / "still"
    config = bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertForPreTraining(config).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)

    def train(problem: str, count: int, **training: Any) -> torch.Tensor:
        labels = TASKS[problem]
        texts = [row["sentence"] for row, _ in zip(rows("sst2", "train", count), range(count), strict=False)]
        file = tmp_path / f"{problem}-{count}.jsonl"
        lines = [{"text": text, "label": labels[number % len(labels)]} for number, text in enumerate(texts)]
        file.write_text("\n".join(map(json.dumps, lines)))
        custom = {"train_file": str(file), "validation_file": str(file), "problem": problem}
        config = make_config(
            "custom",
            model=str(folder),
            data={"source": "nyu-mll/glue", "custom": custom},
            epochs=1,  # one step
            warmup=0.0,
            precision="float32",
            adam_epsilon=0.01,  # else the first step depends only on the signs of the gradient
            learning_rate=0.03,
            **training,
        )
        result = run(config, force=True)
        tensors = load_file(Path(result.storage.folder) / "adapter" / "adapter_model.safetensors")
        return torch.cat([tensors[name].flatten() for name in sorted(tensors)])

    return train


@pytest.mark.parametrize("problem", TASKS)
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_batches_of_a_step_count_by_their_rows(trained: Any, problem: str, weights: str) -> None:
    whole = trained(problem, 7, class_weights=weights, batch_size=7)
    for batch_size, accumulation in ((1, 7), (2, 4), (3, 3)):
        parts = trained(problem, 7, class_weights=weights, batch_size=batch_size, gradient_accumulation=accumulation)
        assert torch.allclose(parts, whole, rtol=0, atol=1e-5), (parts - whole).abs().max()


@pytest.mark.parametrize("problem", TASKS)
def test_weights_have_an_effect_with_one_row_a_batch(trained: Any, problem: str) -> None:
    plain = trained(problem, 5, batch_size=1, class_weights="none")
    assert not torch.allclose(plain, trained(problem, 5, batch_size=1, class_weights="balanced"), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("step", "processes"),
    [
        ([[4, 4]], 2),
        ([[4, 4], [4, 4], [4, 1]], 2),  # the last batch of an epoch has 5 rows
        ([[4, 0]], 2),
        ([[2], [2], [2], [1]], 1),
        ([[3, 3, 3, 3], [3, 2, 0, 0]], 4),
    ],
)
def test_the_average_over_batches_and_processes_is_the_mean_over_all_rows(
    step: list[list[int]], processes: int
) -> None:
    losses = torch.randn(sum(map(sum, step)), generator=torch.Generator().manual_seed(0))
    remaining = iter(torch.split(losses, [rows for batch in step for rows in batch]))
    total = 0.0
    for batch in step:
        for count in batch:
            own = next(remaining)
            mean = float(own.mean()) if count else 0.0
            total += mean * batch_loss_scale(count, len(losses), len(step), processes) / len(step) / processes
    assert total == pytest.approx(float(losses.mean()), abs=1e-6)


@pytest.mark.parametrize(("last_rows", "own"), [(12, [8, 4]), (3, [3, 0]), (8, [8, 0]), (15, [8, 7])])
def test_the_last_batch_of_an_epoch_is_filled_process_by_process(last_rows: int, own: list[int]) -> None:
    assert [own_rows_of_last_batch(last_rows, 8, process) for process in range(2)] == own


def test_the_loss_of_several_labels_weighs_the_rows_that_have_one() -> None:
    task = Task("custom", "", ("text",), ("a", "b"), ("f1_micro",), "f1_micro", is_multi_label=True)
    logits = torch.zeros(2, 2)
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    loss = weighted_loss(logits, labels, torch.tensor([3.0, 5.0]), task)
    assert float(loss) == pytest.approx((3 + 1 + 1 + 1) / 4 * torch.log(torch.tensor(2.0)).item())


def test_the_loss_of_classes_is_divided_by_rows() -> None:
    logits = torch.zeros(4, 2)
    loss = weighted_loss(logits, torch.tensor([0, 1, 1, 1]), torch.tensor([2.0, 2 / 3]), get_task("rte"))
    assert float(loss) == pytest.approx(torch.log(torch.tensor(2.0)).item())
