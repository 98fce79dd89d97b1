"""Every strategy with every option, on every family of backbones."""

import copy
import itertools
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForSequenceClassification

import adapter_tune
from adapter_tune.adapters.adapted import Adapted
from adapter_tune.adapters.families import FAMILIES, shape_of
from adapter_tune.adapters.formula import Shape
from adapter_tune.adapters.model_parts import added_parameters, base_of, head_parameters, layers_of
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.adapters.surgery import bypass, detach, sites
from adapter_tune.foundation.errors import FieldError, RunError, UsageError
from adapter_tune.modeling.build import prepare
from adapter_tune.report.strategy_listing import show_strategy
from adapter_tune.strategies import REGISTRY, Injection, parse_strategy
from adapter_tune.strategies.lora import PROJECTIONS
from tests.helpers import BACKBONES, LAYERS, OWN, SIZES, D, applied, config_of, model_of

INJECTIONS = [name for name, cls in REGISTRY.items() if issubclass(cls, Injection)]


@pytest.fixture(params=BACKBONES, ids=lambda b: f"{b[0]}-{len(b[1])}")
def model(request: pytest.FixtureRequest) -> Any:
    return model_of(*request.param)


@pytest.fixture
def bert() -> Any:
    return model_of("bert", {})


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(5, 30, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(**batch).logits
    return out


def perturb(model: Any) -> None:
    """Add noise to every trained parameter."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)


def is_refused(model: Any, name: str) -> bool:
    """Whether the strategy reads LayerNorms that this backbone does not have."""
    if name not in ("pfeiffer", "adapter_plus") or sites(model)[0].norm is not None:
        return False
    with pytest.raises(UsageError, match="its adapters read the LayerNorm after a sub-layer"):
        applied(model, name)
    return True


# Options ------------------------------------------------------------------------------------------------------------


def layer_ranges() -> st.SearchStrategy[Any]:
    ranges = st.tuples(st.integers(0, LAYERS - 1), st.integers(0, LAYERS - 1)).map(sorted)
    return st.one_of(
        st.just("all"),
        st.integers(1, LAYERS).map(lambda n: f"top-{n}"),
        ranges.map(lambda r: f"{r[0]}-{r[1]}"),
        st.lists(st.integers(0, LAYERS - 1), min_size=1, unique=True),
    )


def injections() -> st.SearchStrategy[Any]:
    sizes = st.lists(st.integers(0, 9), min_size=LAYERS, max_size=LAYERS).filter(any)
    activations = Injection.model_json_schema()["properties"]["activation"]["enum"]
    return st.fixed_dictionaries(
        {"name": st.sampled_from(INJECTIONS)},
        optional={
            "m": st.integers(1, 40) | sizes,
            "layers": layer_ranges(),
            "activation": st.sampled_from(activations),
            "depth": st.integers(1, 3),
            "norm": st.sampled_from(["none", "layer", "batch"]),
            "init_std": st.floats(1e-4, 1),
            "dropout": st.floats(0, 0.9),
            "layer_norm": st.sampled_from(["adapter", "all", "none"]),
            "scale": st.sampled_from(["learnt", "channel"]) | st.floats(0.1, 10),
            "input_norm": st.booleans(),
            "output_norm": st.sampled_from(["none", "adapter", "sum"]),
        },
    ) | st.fixed_dictionaries(
        {
            "name": st.sampled_from([name for name in INJECTIONS if "sub_layer" in REGISTRY[name].model_fields]),
            "sub_layer": st.sampled_from(["both", "attention", "feed_forward"]),
            "layer_norm": st.sampled_from(["adapter", "all", "none"]),
        }
    )


def others() -> st.SearchStrategy[Any]:
    top = st.fixed_dictionaries({"name": st.just("top_n"), "n": st.integers(1, LAYERS), "embeddings": st.booleans()})
    lora = st.fixed_dictionaries(
        {"name": st.just("lora"), "r": st.integers(1, 9), "layers": layer_ranges()},
        optional={
            "projections": st.lists(st.sampled_from(PROJECTIONS), min_size=1),
            "layer_norm": st.sampled_from(["all", "none"]),
        },
    )
    skip = st.fixed_dictionaries({"name": st.just("pfeiffer"), "skip": st.sampled_from(["sub_layer", "norm"])})
    plain = st.sampled_from([{"name": name} for name in REGISTRY if name not in INJECTIONS])
    return top | lora | skip | plain


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_formula_and_model_agree_whatever_the_options(count: int) -> None:
    @settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(options=injections() | others(), backbone=st.sampled_from(BACKBONES))
    def agree(options: Any, backbone: Any) -> None:
        assert_formula_and_model_agree(options, backbone)

    agree()


def assert_formula_and_model_agree(options: Any, backbone: Any) -> None:
    strategy = parse_strategy(options)
    config = config_of(*backbone)
    try:
        formula = strategy.formula(shape_of(config))
    except UsageError as error:  # nothing to train is refused by both routes' one check
        assert any(reason in str(error) for reason in ("no biases", "no adapter", "LayerNorms before them"))
        return
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    prepare(model, strategy, train_pooler=strategy.trains_pooler)
    count = count_parameters(model, formula)  # raises where they do not agree
    assert count.trained == formula.trained + count.groups.head + count.groups.pooler
    assert count.backbone == shape_of(config).total
    assert formula.text


# What adapters promise; tests/conformance has what every strategy promises -----------------------------------------


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("norm", [{"norm": "layer"}, {"norm": "batch"}, {"output_norm": "adapter"}], ids=str)
def test_with_a_norm_inside_it_starts_as_the_frozen_model_exactly(
    bert: Any, batch: Any, name: str, norm: dict[str, str]
) -> None:
    assert torch.equal(logits(applied(bert, {"name": name, **norm}), batch), logits(bert, batch))


@pytest.mark.parametrize("name", INJECTIONS)
def test_every_adapter_reaches_the_logits(model: Any, batch: Any, name: str) -> None:
    if is_refused(model, name):
        return
    adapted = applied(model, {"name": name, "m": 4})
    before = logits(adapted, batch)
    adapters = adapter_tune.adapters_of(adapted)
    assert len(adapters) == LAYERS * len(parse_strategy(name).chosen_sub_layers())  # type: ignore[attr-defined]
    for one in adapters:
        with torch.no_grad():
            one.adapter.get_parameter("up.bias").add_(3 * torch.randn(D))
            moved = logits(adapted, batch)
        assert not torch.allclose(moved, before, atol=1e-6)
        before = moved


@pytest.mark.parametrize("name", INJECTIONS)
def test_detached_the_model_is_the_one_it_was(model: Any, batch: Any, name: str) -> None:
    if is_refused(model, name):
        return
    adapted = applied(model, {"name": name, "m": 4, "norm": "batch", "layer_norm": "all"})
    perturb(adapted)
    head = {k: v for k, v in adapted.state_dict().items() if not k.startswith(adapted.base_model_prefix)}
    expected = copy.deepcopy(model)
    expected.load_state_dict(head, strict=False)
    frozen, with_head = logits(model, batch), logits(expected, batch)
    for one in (copy.deepcopy(adapted), adapted):
        assert not torch.allclose(logits(one, batch), frozen, atol=1e-3)
        detach(one)
        assert one.state_dict().keys() == model.state_dict().keys()
        assert not adapter_tune.adapters_of(one)
        assert torch.equal(logits(one, batch), with_head)
        assert not any(p.requires_grad for p in base_of(one).parameters())
        assert not any(m._forward_pre_hooks or m._forward_hooks for m in one.modules())
    with pytest.raises(RunError, match="no adapters to remove"):
        detach(adapted)
    prepare(adapted, parse_strategy({"name": name, "m": 4}), train_pooler=False)  # and it can be adapted again


@pytest.mark.parametrize("name", ["houlsby", "adapter_plus"])
def test_bypassed_adapters_are_as_if_they_were_not_there(model: Any, batch: Any, name: str) -> None:
    if is_refused(model, name):
        return
    adapted = applied(model, {"name": name, "m": 4, **({"sub_layer": "both"} if name == "adapter_plus" else {})})
    perturb(adapted)
    before = logits(adapted, batch)
    without = copy.deepcopy(adapted)
    for site in sites(without):
        if site.layer in (0, 1) and site.adapted is not None:
            torch.nn.init.zeros_(site.adapted.adapter.up.weight)
            torch.nn.init.zeros_(site.adapted.adapter.up.bias)
    with bypass(adapted, "0-1"):
        assert torch.allclose(logits(adapted, batch), logits(without, batch), atol=1e-6)
        with bypass(adapted, "top-1", sub_layer="attention"):
            assert not torch.allclose(logits(adapted, batch), logits(without, batch))
    assert torch.equal(logits(adapted, batch), before)
    undo = bypass(adapted)
    assert not torch.equal(logits(adapted, batch), before)
    undo.close()
    assert torch.equal(logits(adapted, batch), before)


def test_bypass_refuses_layers_without_adapters(bert: Any) -> None:
    with pytest.raises(RunError, match="no adapters in layers all"):
        bypass(bert)
    adapted = applied(bert, {"name": "houlsby", "m": 4, "layers": [0]})
    with pytest.raises(RunError, match="no adapters in layers 1-2"):
        bypass(adapted, "1-2")
    with pytest.raises(UsageError, match="layer_range: there is no layer 7"):
        bypass(adapted, [7])


@pytest.mark.parametrize("pair", [*itertools.product(INJECTIONS, ["houlsby", "parallel", "lora"])], ids=str)
def test_nothing_is_applied_on_top_of_adapters(bert: Any, pair: tuple[str, str]) -> None:
    first, second = (parse_strategy(name) for name in pair)
    first.apply(bert)
    adapted = {s.sub_layer for s in sites(bert) if s.adapted}
    if second.name == "lora" or adapted & set(second.chosen_sub_layers()):  # type: ignore[attr-defined]
        with pytest.raises(RunError, match="already"):
            second.apply(bert)


def test_lora_is_not_applied_twice(bert: Any) -> None:
    parse_strategy("lora").apply(bert)
    with pytest.raises(RunError, match="already"):
        parse_strategy("lora").apply(bert)


def test_lora_trains_what_was_trained_before_it_came(model: Any) -> None:
    prepare(model, parse_strategy({"name": "lora", "r": 2}), train_pooler=False)
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in added_parameters(model)} < trained
    assert len(trained) == len(added_parameters(model)) + len(head_parameters(model))


@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_lora_computes_what_the_paper_says(model: Any, batch: Any, rank_stabilized: bool) -> None:
    options = {"name": "lora", "r": 4, "alpha": 3.0, "rank_stabilized": rank_stabilized, "projections": [*PROJECTIONS]}
    updated = applied(model, options)
    perturb(updated)
    expected = copy.deepcopy(model)
    expected.load_state_dict({k: v for k, v in updated.state_dict().items() if k in model.state_dict()}, strict=False)
    wrapped = {path: module for path, module in updated.named_modules() if hasattr(module, "lora_A")}
    assert len(wrapped) == LAYERS * len(set(FAMILIES[model.config.model_type].linear.values()))
    with torch.no_grad():
        for path, module in wrapped.items():
            update = module.lora_B["default"].weight @ module.lora_A["default"].weight
            expected.get_submodule(path).weight += update * 3.0 / (2 if rank_stabilized else 4)
    assert torch.allclose(logits(updated.eval(), batch), logits(expected, batch), rtol=0, atol=1e-4)
    assert not torch.allclose(logits(updated, batch), logits(model, batch), rtol=0, atol=1e-2)


def test_loras_projections_have_one_order_and_occur_once() -> None:
    one, other = (parse_strategy({"name": "lora", "projections": p}) for p in (["value", "key"], ["key", "value"] * 2))
    assert one == other
    assert one.to_dict()["projections"] == ["key", "value"]


def test_loras_options_are_listed_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    show_strategy("lora")
    printed = capsys.readouterr().out
    assert "[query,value]" in printed
    assert "r(d_in + d_out) = 8*(768 + 768)" in printed


@pytest.mark.parametrize("name", INJECTIONS)
def test_gradient_checkpointing_changes_nothing(bert: Any, batch: Any, name: str) -> None:
    """Also the running statistics, which the recomputation must not count twice."""
    results = []
    for checkpointing in (False, True):
        adapted = applied(bert, {"name": name, "m": 4, "norm": "batch"})
        perturb(adapted)
        if checkpointing:
            adapted.gradient_checkpointing_enable({"use_reentrant": False})  # renamed in transformers 5.2x
        torch.manual_seed(3)
        adapted.train()(**batch).logits.square().sum().backward()
        grads = [p.grad for p in adapted.parameters() if p.requires_grad]
        results.append([*grads, *(one.adapter.norm[0].running_mean for one in adapter_tune.adapters_of(adapted))])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*results, strict=True))
    assert results[0][-1].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_with_batch_normalisation_a_row_is_scored_alone(family: str, batch: Any) -> None:
    """Neither padding nor the other rows change a row's score in evaluation."""
    adapted = applied(model_of(family, OWN.get(family, [{}])[0]), {"name": "houlsby", "m": 4, "norm": "batch"})
    perturb(adapted)
    adapted.train()
    logits(adapted, batch)
    adapted.eval()
    alone = {key: value[1:2, :6] for key, value in batch.items()}
    assert torch.allclose(logits(adapted, alone), logits(adapted, batch)[1:2], atol=1e-5)


def test_batch_statistics_leave_padding_out(bert: Any, batch: Any) -> None:
    means = []
    for length in (9, 14):
        adapted = applied(bert, {"name": "houlsby", "m": 4, "norm": "batch", "init_std": 0.5})
        bert_dropout = [m for m in adapted.modules() if isinstance(m, torch.nn.Dropout)]
        adapted.train()
        for dropout in bert_dropout:
            dropout.p = 0.0
        padded = {k: torch.nn.functional.pad(v, (0, length - 9)) for k, v in batch.items()}
        torch.manual_seed(0)
        for one in adapter_tune.adapters_of(adapted):
            torch.nn.init.normal_(one.adapter.down.weight)
        logits(adapted, padded)
        means.append([one.adapter.norm[0].running_mean for one in adapter_tune.adapters_of(adapted)])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*means, strict=True))


def test_a_mask_that_is_not_of_rows_and_tokens_is_refused(bert: Any, batch: Any) -> None:
    adapted = applied(bert, {"name": "houlsby", "norm": "batch"})
    with pytest.raises(ValueError, match=r"\(rows, tokens\)"):
        adapted(input_ids=batch["input_ids"], attention_mask=torch.ones(3, 1, 9, 9))


def test_top_n_of_all_layers_with_embeddings_is_full_fine_tuning(model: Any) -> None:
    strategy = parse_strategy({"name": "top_n", "n": LAYERS, "embeddings": True})
    prepare(model, strategy, train_pooler=True)
    assert all(p.requires_grad for p in model.parameters())


def test_layers_and_sizes_say_where_adapters_are(bert: Any) -> None:
    prepare(bert, parse_strategy({"name": "houlsby", "m": [3, 0, 5], "layers": "1-2"}), train_pooler=False)
    sizes = [(s.layer, s.adapted.adapter.down.out_features) for s in sites(bert) if s.adapted]
    assert sizes == [(2, 5), (2, 5)]
    assert isinstance(layers_of(bert)[2].get_submodule("output.dropout"), Adapted)


# What is refused -----------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"layers": [0, 3]}, "there is no layer 3; the backbone has layers 0 to 2"),
    ({"layers": "1-5"}, "there is no layer"),
    ({"layers": "5-9"}, "there is no layer 5"),
    ({"layers": "top-4"}, "top-4 is more than the backbone's 3 layers"),
    ({"m": [1, 2, 3, 4]}, "the list has 4 numbers, but the backbone has 3 layers"),
    ({"m": [1, 2]}, "the list has 2 numbers"),
    ({"m": [4, 0, 0], "layers": "top-2"}, "there would be no adapter"),
    ({"name": "top_n", "n": 4}, "strategy.n: 4 is more than the backbone's 3 layers"),
    ({"name": "lora", "layers": [9]}, "there is no layer 9"),
]
MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"layers": "2-1"}, "write all, a range"),
    ({"layers": []}, "write all"),
    ({"layers": [1, 1]}, "write all"),
    ({"layers": 3}, "write all"),
    ({"layers": "top-0"}, "write all"),
    ({"m": 0}, "from 1 to 65536"),
    ({"m": [0, 0]}, "at least one above 0"),
    ({"m": True}, "from 1 to 65536"),
    ({"activation": "gelo"}, "'gelu'"),
    ({"depth": 0}, "greater than or equal to 1"),
    ({"norm": "group"}, "'batch'"),
    ({"dropout": 1.0}, "less than 1"),
    ({"scale": 0.0}, "greater than 0"),
    ({"name": "top_n", "n": 0}, "greater than or equal to 1"),
    ({"name": "top_n", "m": 4}, "unknown option 'm'"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_what_does_not_fit_the_backbone_is_refused_by_both_routes(bert: Any, options: Any, message: str) -> None:
    strategy = parse_strategy({"name": "houlsby", **options})
    with pytest.raises(UsageError, match=message):
        strategy.formula(shape_of(bert.config))
    with pytest.raises(UsageError, match=message):
        strategy.apply(bert)


@pytest.mark.parametrize(("options", "message"), MALFORMED, ids=str)
def test_what_no_backbone_takes_is_refused_at_once(options: Any, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        parse_strategy({"name": "houlsby", **options})


def test_albert_is_refused_with_the_reason() -> None:
    albert = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model("albert", **SIZES, embedding_size=8, num_labels=2)
    )
    with pytest.raises(RunError, match="share one set of weights"):
        prepare(albert, parse_strategy("houlsby"), train_pooler=False)


def test_shape_of_bert_base() -> None:
    shape = shape_of(AutoConfig.for_model("bert"))
    assert isinstance(shape, Shape)
    assert (shape.total, shape.norms, shape.layer) == (109_482_240, 38_400, 7_084_800)


# The paper, written out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_houlsby_is_the_paper_step_by_step(batch: Any, training: bool) -> None:
    """A whole BERT with adapters in plain tensor operations, under one random seed."""
    config = config_of("bert", {})
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).double().train(training)
    prepare(model, parse_strategy({"name": "houlsby", "m": 4}), train_pooler=True)
    model.double()
    perturb(model)
    w = dict(model.named_parameters())

    def drop(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(x, 0.1, training)

    def dense(x: torch.Tensor, name: str) -> torch.Tensor:
        out: torch.Tensor = x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        return out

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        out: torch.Tensor = x * w[f"{name}.weight"] + w[f"{name}.bias"]
        return out

    def gelu(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))

    def sub_layer_end(x: torch.Tensor, before: torch.Tensor, name: str) -> torch.Tensor:
        """Dense, dropout, adapter with its skip, residual addition, LayerNorm."""
        x = drop(dense(x, f"{name}.dense"))
        x = x + dense(gelu(dense(x, f"{name}.dropout.adapter.down")), f"{name}.dropout.adapter.up")
        return norm(x + before, f"{name}.LayerNorm")

    torch.manual_seed(3)
    ids = batch["input_ids"]
    mask = batch["attention_mask"]
    e = "bert.embeddings"
    rows, length = ids.shape
    x = w[f"{e}.word_embeddings.weight"][ids] + w[f"{e}.token_type_embeddings.weight"][0]
    x = drop(norm(x + w[f"{e}.position_embeddings.weight"][:length], f"{e}.LayerNorm"))
    for index in range(LAYERS):
        layer = f"bert.encoder.layer.{index}"
        q, k, v = (dense(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        q, k, v = (part.view(rows, length, 2, D // 2).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-1, -2) / (D // 2) ** 0.5
        scores = scores.masked_fill(mask[:, None, None, :] == 0, float("-inf"))
        mixed = (drop(scores.softmax(-1)) @ v).transpose(1, 2).reshape(rows, length, D)
        x = sub_layer_end(mixed, x, f"{layer}.attention.output")
        x = sub_layer_end(gelu(dense(x, f"{layer}.intermediate.dense")), x, f"{layer}.output")
    expected = dense(drop(torch.tanh(dense(x[:, 0], "bert.pooler.dense"))), "classifier")

    torch.manual_seed(3)
    actual = model(**batch).logits
    assert torch.allclose(actual, expected, atol=1e-6)
