"""``training.compile``: where it is refused, what it is applied to, and that a compiled model learns the same."""

from typing import Any

import pytest
import torch
from torch import nn

import adapter_tune
from adapter_tune.foundation.errors import UsageError
from adapter_tune.runs.reload import evaluate_run
from adapter_tune.training import arguments
from adapter_tune.training.arguments import check_training
from tests.helpers import batch, gradients, perturbed_model


@pytest.mark.parametrize(
    ("device", "training", "missing", "message"),
    [
        ("cpu", {}, "g++ clang++ cl", "needs a C.. compiler; install g"),
        ("cuda", {}, "triton", "pip install triton"),
        ("mps", {}, "", "only for GPUs"),
        ("cpu", {"fast": False}, "", "one of the fast paths; remove it"),
        ("cpu", {"gradient_checkpointing": True}, "", "chooses what is recomputed; remove it"),
    ],
)
def test_it_is_refused_where_it_cannot_work(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, device: str, training: Any, missing: str, message: str
) -> None:
    settings = type("Settings", (), {"device": device, "precision": "float32"})
    monkeypatch.setattr(arguments, "resolve_compute", lambda _: settings)
    monkeypatch.setattr(arguments, "check_gpus", lambda *_: None)
    monkeypatch.setattr("shutil.which", lambda name: None if name in missing.split() else f"/usr/bin/{name}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing.split() else object())
    with pytest.raises(UsageError, match=message):
        check_training(make_config("rte", compile=True, **training))
    check_training(make_config("rte", **training))


@pytest.mark.parametrize("is_on", [True, False])
def test_the_model_of_a_run_is_compiled_for_all_lengths(
    make_config: Any, monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    compiled: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append(options))
    config = make_config("rte", compile=is_on, max_steps=1)
    adapter_tune.run(config)
    assert compiled == [{"dynamic": True}] * is_on
    evaluate_run(config.folder)  # another machine may have no compiler
    assert len(compiled) == is_on


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["houlsby", {"name": "houlsby", "norm": "batch"}, "lora"], ids=str)
def test_every_length_is_one_graph_with_the_plain_models_gradients(strategy: Any) -> None:
    from torch._dynamo.utils import counters

    from adapter_tune.modeling.fast_paths import enable_fast_paths
    from adapter_tune.modeling.fused_projections import fuse_projections

    torch._dynamo.reset()
    counters.clear()
    plain = perturbed_model("bert", strategy)
    compiled = perturbed_model("bert", strategy)
    enable_fast_paths(compiled)
    fuse_projections(compiled)
    compiled.compile(dynamic=True, backend="aot_eager")
    for tokens in (9, 7, 5, 12):
        expected = gradients(plain, batch(tokens=tokens))
        actual = gradients(compiled, batch(tokens=tokens))
        for name, tensor in expected.items():
            assert torch.allclose(actual[name], tensor, rtol=0, atol=1e-5), name
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] <= 3


@pytest.mark.slow
def test_dropout_does_not_split_the_graph() -> None:
    from torch._dynamo.utils import counters

    from adapter_tune.modeling.fast_paths import Dropout, enable_fast_paths

    torch._dynamo.reset()
    counters.clear()
    model = perturbed_model("bert")
    enable_fast_paths(model)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = 0.5
    model.compile(dynamic=True, backend="aot_eager")
    inputs = batch()  # it sets the seed
    logits = [gradients(model, inputs)["logits"] for _ in range(2)]
    assert not torch.equal(*logits)
    assert not counters["graph_break"]


@pytest.mark.slow
def test_a_compiled_run_learns_what_a_plain_one_does(make_config: Any) -> None:
    results = [
        adapter_tune.run(make_config("rte", compile=compiles, epochs=1, precision="float32"), force=True)
        for compiles in (False, True)
    ]
    for plain, compiled in zip(results[0].history, results[1].history, strict=True):
        assert compiled == pytest.approx(plain, rel=1e-3)
