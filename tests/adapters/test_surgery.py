import copy
from typing import Any

import pytest
import torch
from transformers import BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

from adapter_tune.adapters.adapted import Adapted
from adapter_tune.adapters.bottleneck import Bottleneck, truncated_normal_
from adapter_tune.adapters.model_parts import adapters_of, added_parameters, layer_norms
from adapter_tune.adapters.surgery import attach, sites
from adapter_tune.foundation.errors import RunError
from adapter_tune.modeling.build import prepare
from adapter_tune.strategies import REGISTRY, Houlsby, parse_strategy
from tests.helpers import bert_config

BOTTLENECKS: list[Any] = [
    {"name": "houlsby", "norm": "batch"},
    {"name": "parallel", "norm": "layer", "depth": 2, "scale": "learnt", "dropout": 0.1},
    {"name": "multiplicative", "norm": "batch", "scale": 2.0, "m": [0, 5]},
    {"name": "attention_only", "layers": [1], "activation": "tanh"},
    {"name": "top_n", "n": 2, "embeddings": True},
]


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    return BertForSequenceClassification(bert_config(num_labels=3)).eval()


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(5, 20, (4, 9))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 2, 0])}


def adapted_copy(model: Any, strategy: Any) -> Any:
    """A copy with the strategy applied and the head it had before."""
    copied = copy.deepcopy(model)
    prepare(copied, strategy, train_pooler=False)
    copied.classifier.load_state_dict(model.classifier.state_dict())
    return copied


def randomise_added(model: Any) -> None:
    """Make every added parameter nonzero, so that every gradient can be seen."""
    with torch.no_grad():
        for parameter in added_parameters(model):
            parameter.normal_(std=0.5)


@pytest.mark.parametrize("name", [name for name in REGISTRY if name != "lora"])  # peft renames what it wraps
def test_names_in_the_backbones_state_dict_stay(model: Any, name: str) -> None:
    before = {key: value.shape for key, value in model.state_dict().items()}
    prepare(model, REGISTRY[name](), train_pooler=False)
    after = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: after.get(key) for key in before} == before


def test_two_adapters_a_layer_attention_first(model: Any) -> None:
    prepare(model, Houlsby(m=4), train_pooler=False)
    adapters = adapters_of(model)
    layers = model.bert.encoder.layer
    expected = [block for layer in layers for block in (layer.attention.output.dropout, layer.output.dropout)]
    assert [id(a) for a in adapters] == [id(a) for a in expected]
    assert len(adapters) == 4


@pytest.mark.parametrize(("init_std", "bound"), [(1e-3, 1e-3), (1e-2, 5e-2)])
def test_the_adapted_model_starts_as_the_frozen_one(model: Any, batch: Any, init_std: float, bound: float) -> None:
    adapted = adapted_copy(model, Houlsby(m=64, init_std=init_std))
    moved = (adapted(**batch).logits - model(**batch).logits).abs().max().item()
    assert 0 < moved <= bound


def test_the_adapted_model_is_the_frozen_one_exactly_where_up_is_zero(model: Any, batch: Any) -> None:
    adapted = adapted_copy(model, Houlsby(m=64, init_std=0.5))
    for site in adapters_of(adapted):
        torch.nn.init.zeros_(site.adapter.get_parameter("up.weight"))
    assert torch.equal(adapted(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize(
    "strategy",
    [*REGISTRY, *BOTTLENECKS, {"name": "houlsby", "layer_norm": "all"}, {"name": "houlsby", "layer_norm": "none"}],
    ids=str,
)
@pytest.mark.parametrize("train_pooler", [True, False])
def test_gradients_reach_exactly_what_is_trained(model: Any, batch: Any, strategy: Any, train_pooler: bool) -> None:
    parsed = parse_strategy(strategy)
    prepare(model, parsed, train_pooler=train_pooler or parsed.trains_pooler)
    randomise_added(model)
    model.train()
    model(**batch).loss.backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    # The bias of the keys moves every attention score of a row alike: its gradient is zero but for rounding.
    zero = {name for name in trained if name.endswith("attention.self.key.bias")}
    assert reached - zero == trained - zero
    assert {"classifier.weight", "classifier.bias"} <= trained
    assert ("bert.pooler.dense.weight" in trained) == (train_pooler or parsed.trains_pooler)


def test_layer_norm_option_trains_the_norms_it_names(model: Any) -> None:
    trained = {}
    for option in ("adapter", "all", "none"):
        adapted = adapted_copy(model, Houlsby(m=4, layer_norm=option))
        trained[option] = [norm.weight.requires_grad for norm in layer_norms(adapted)]
    assert trained == {"adapter": [False, *[True] * 4], "all": [True] * 5, "none": [False] * 5}


def test_adapters_take_the_training_mode_of_their_site(model: Any) -> None:
    prepare(model.eval(), Houlsby(m=4), train_pooler=False)
    assert not any(m.training for m in model.modules())


def test_a_strategy_cannot_be_applied_twice(model: Any) -> None:
    prepare(model, Houlsby(m=4), train_pooler=False)
    with pytest.raises(RunError, match=r"layer 0 \(attention\) has an adapter already"):
        attach(model, sites(model)[0], Bottleneck(32, 4, Houlsby().bottleneck_config()))


def test_an_unknown_family_is_refused_with_a_list_of_the_known_ones() -> None:
    gpt2 = GPT2ForSequenceClassification(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=10, pad_token_id=0))
    with pytest.raises(RunError, match=r"'gpt2' are not supported; known: bert.*adapters/families.py"):
        prepare(gpt2, Houlsby(m=4), train_pooler=False)


def test_a_layer_equals_the_formula_step_by_step(model: Any) -> None:
    """Dense, dropout, adapter, add, LayerNorm: in both sub-layers, in training mode under one seed."""
    prepare(model, Houlsby(m=4, init_std=0.5), train_pooler=False)
    model.train()
    block = model.bert.encoder.layer[0].output
    for p in block.LayerNorm.parameters():
        truncated_normal_(p.data, 1.0)
    hidden = torch.randn(2, 3, 48)
    residual = torch.randn(2, 3, 32)
    torch.manual_seed(5)
    actual = block(hidden, residual)
    torch.manual_seed(5)
    x = torch.nn.functional.dropout(hidden @ block.dense.weight.T + block.dense.bias, 0.1, training=True)
    a = block.dropout.adapter
    x = x + torch.nn.functional.gelu(x @ a.down.weight.T + a.down.bias) @ a.up.weight.T + a.up.bias
    x = x + residual
    x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-12)
    assert torch.allclose(actual, x * block.LayerNorm.weight + block.LayerNorm.bias, atol=1e-5)
    assert isinstance(block.dropout, Adapted)
