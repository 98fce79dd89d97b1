"""A language adapter beneath what is trained computes what AdapterHub's ``Stack`` computes, written out here.

``scripts/check_adapterhub.py`` compares with AdapterHub's own package.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from adapter_tune.adapterhub.language import read_language_adapter
from adapter_tune.adapters.bottleneck import Bottleneck
from adapter_tune.adapters.families import shape_of
from adapter_tune.adapters.invertible import AdditiveCoupling
from adapter_tune.adapters.model_parts import adapters_of, language_modules
from adapter_tune.adapters.parameter_count import count_parameters
from adapter_tune.adapters.surgery import attach, bypass, detach, sites
from adapter_tune.conformance.tiny_models import backbones, model_of
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.modeling.build import prepare
from adapter_tune.modeling.fast_paths import enable_fast_paths
from adapter_tune.modeling.language import attach_language
from adapter_tune.strategies import REGISTRY, parse_strategy
from tests.helpers import SHAPE, bert_config, write_language

IDS = torch.arange(5, 5 + 4 * 7).view(4, 7)


def plain_model() -> Any:
    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_config(bert_config(initializer_range=0.2)).eval()


def stacked(folder: Path, strategy: Any) -> Any:
    """A classifier with a language adapter beneath a task's, whose tensors are random."""
    model = plain_model()
    attach_language(model, read_language_adapter(folder))
    prepare(model, parse_strategy(strategy), train_pooler=False)
    torch.manual_seed(2)
    for adapted in adapters_of(model):
        for parameter in adapted.adapter.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def logits(model: Any) -> Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS).logits.clone()  # type: ignore[no-any-return]


def written_out(folder: Path, trained: Any, *, with_task: bool = True) -> Any:
    """A plain classifier whose blocks compute ``Stack("de", "task")``; the task's bottlenecks are ``trained``'s."""
    model, tensors = plain_model(), load_file(folder / "adapter.safetensors")
    model.classifier.load_state_dict(trained.classifier.state_dict())
    relu = torch.relu

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ tensors[f"bert.{name}.weight"].T + tensors[f"bert.{name}.bias"]

    def coupling(module: nn.Module, args: Any, x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        first = first + linear(relu(linear(second, "invertible_adapters.de.F.0")), "invertible_adapters.de.F.2")
        second = second + linear(relu(linear(first, "invertible_adapters.de.G.0")), "invertible_adapters.de.G.2")
        return torch.cat((first, second), -1)

    def block(own: Any, place: str, host: Any) -> Any:
        def forward(hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
            h = own.dense(hidden_states)
            if f"bert.{place}.adapter_up.weight" in tensors:
                down = linear(own.LayerNorm(h + input_tensor), f"{place}.adapter_down.0")
                h = h + linear(relu(down), f"{place}.adapter_up")
            n: Tensor = own.LayerNorm(h + input_tensor)
            if not with_task or not hasattr(host, "insertion") or host.in_backbone:
                return n
            if host.insertion == "after_sub_layer":
                return n + host.adapter(n)  # type: ignore[no-any-return]
            start, read = {"serial": (h, h), "after_norm": (h, n), "norm_skip": (n, n)}[host.insertion]
            return own.LayerNorm(start + host.adapter(read) + input_tensor)  # type: ignore[no-any-return]

        return forward

    model.bert.embeddings.register_forward_hook(coupling)
    for number, (layer, theirs) in enumerate(zip(model.bert.encoder.layer, trained.bert.encoder.layer, strict=True)):
        attention = f"encoder.layer.{number}.attention.output.adapters.de"
        layer.attention.output.forward = block(layer.attention.output, attention, theirs.attention.output.dropout)
        layer.output.forward = block(layer.output, f"encoder.layer.{number}.output.adapters.de", theirs.output.dropout)
    return model


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language(tmp_path_factory.mktemp("languages") / "de")


STACKED = [
    "houlsby",
    "pfeiffer",
    {"name": "houlsby", "layers": [1]},
    {"name": "pfeiffer", "skip": "norm"},
    "adapter_plus",
]


@pytest.mark.parametrize("strategy", STACKED)
def test_it_computes_what_a_stack_computes(language: Path, strategy: Any) -> None:
    model = stacked(language, strategy)
    expected = logits(written_out(language, model))
    assert torch.allclose(logits(model), expected, atol=1e-5)
    fast = copy.deepcopy(model)
    enable_fast_paths(fast)
    assert torch.allclose(logits(fast), expected, atol=1e-5)
    assert (expected - logits(plain_model())).abs().max() > 1e-2


def test_a_layer_that_is_left_out_has_no_language_adapter(tmp_path: Path) -> None:
    folder = write_language(tmp_path / "de", leave_out=[1])
    model = stacked(folder, "houlsby")
    assert torch.allclose(logits(model), logits(written_out(folder, model)), atol=1e-5)
    assert len(language_modules(model)) == 2  # the invertible one, and that of layer 0


def test_it_is_frozen(language: Path) -> None:
    model = plain_model()
    attach_language(model, read_language_adapter(language))
    assert not [p for module in language_modules(model) for p in module.parameters() if p.requires_grad]


def test_without_the_tasks_adapters_it_stays(language: Path) -> None:
    model = stacked(language, "pfeiffer")
    expected = logits(written_out(language, model, with_task=False))
    with bypass(model):
        assert torch.allclose(logits(model), expected, atol=1e-5)
    detach(model)
    assert torch.allclose(logits(model), expected, atol=1e-5)


@pytest.mark.parametrize("name", REGISTRY)
def test_no_strategy_trains_it_and_formula_and_model_agree(language: Path, name: str) -> None:
    strategy = parse_strategy({"name": name, "n": 1} if name == "top_n" else name)
    model = plain_model()
    attach_language(model, read_language_adapter(language))
    prepare(model, strategy, train_pooler=False)
    assert not any(p.requires_grad for module in language_modules(model) for p in module.parameters())
    count = count_parameters(model, strategy.formula(shape_of(model.config)))
    plain = plain_model()
    prepare(plain, strategy, train_pooler=False)
    without = count_parameters(plain)
    d, m = SHAPE["hidden_size"], SHAPE["hidden_size"] // 2
    size = SHAPE["num_hidden_layers"] * (2 * d * m + d + m) + 2 * (2 * m * (m // 2) + m + m // 2)
    assert count.language_adapter == size
    assert count.backbone == without.backbone + size
    assert count.groups == without.groups


def test_beneath_a_projection_without_dropout_it_stays_connected() -> None:
    model = model_of(*backbones(["distilbert"])[0])
    strategy: Any = parse_strategy({"name": "houlsby", "m": 3, "init_std": 0.3})
    beneath = [Bottleneck(model.config.dim, 3, strategy.bottleneck_config()) for _ in sites(model)]
    for site, bottleneck in zip(sites(model), beneath, strict=True):
        attach(model, site, bottleneck, in_backbone=True)
    ids = IDS % model.config.vocab_size
    with torch.inference_mode():
        before = model.base_model(ids)[0]
        prepare(model, strategy, train_pooler=False)
        assert language_modules(model) == beneath
        with bypass(model):
            assert torch.equal(model.base_model(ids)[0], before)
        above = model.base_model(ids)[0]
        assert not torch.equal(above, before)
        assert torch.equal(copy.deepcopy(model).base_model(ids)[0], above)
        nn.init.zeros_(beneath[0].up.weight)
        with bypass(model):
            assert not torch.equal(model.base_model(ids)[0], before)


def test_an_odd_width_has_a_longer_second_half() -> None:
    torch.manual_seed(0)
    coupling = AdditiveCoupling(7, 2, nn.Tanh())
    x = torch.randn(2, 5, 7)
    y = coupling(x)
    second = y[..., 3:] - coupling.G(y[..., :3])
    assert torch.allclose(torch.cat((y[..., :3] - coupling.F(second), second), -1), x, atol=1e-6)


def test_the_digest_depends_on_what_is_computed_alone(tmp_path: Path) -> None:
    first = read_language_adapter(write_language(tmp_path / "a"))
    renamed = write_language(tmp_path / "b", name="another")
    torch.save(load_file(renamed / "adapter.safetensors"), renamed / "pytorch_adapter.bin")
    (renamed / "adapter.safetensors").unlink()
    assert read_language_adapter(renamed).digest == first.digest
    assert read_language_adapter(write_language(tmp_path / "c", seed=1)).digest != first.digest
    assert read_language_adapter(write_language(tmp_path / "d", non_linearity="gelu")).digest != first.digest


def test_folders_of_adapter_transformers_1_are_read(tmp_path: Path) -> None:
    folder = write_language(tmp_path / "de")
    settings = json.loads((folder / "adapter_config.json").read_text())
    del settings["version"], settings["config"]["inv_adapter"], settings["config"]["inv_adapter_reduction_factor"]
    settings["config"]["invertible_adapter"] = {"block_type": "nice", "reduction_factor": 2, "non_linearity": "relu"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    tensors = {
        name.replace("output.adapters", "output.layer_text_lang_adapters").replace(
            "invertible_adapters", "invertible_lang_adapters"
        ): tensor
        for name, tensor in load_file(folder / "adapter.safetensors").items()
    }
    save_file(tensors, folder / "adapter.safetensors")
    assert read_language_adapter(folder).digest == read_language_adapter(write_language(tmp_path / "new")).digest


def change(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text())
    for key, value in values.items():
        (settings if key in settings else settings["config"])[key] = value
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inv_adapter": "glow"}, "inv_adapter is 'glow', which has no counterpart here"),
        ({"inv_adapter_reduction_factor": None}, "inv_adapter_reduction_factor is None; it should be above 0"),
        ({"inv_adapter_reduction_factor": 0}, "inv_adapter_reduction_factor is 0"),
        ({"inv_adapter_reduction_factor": 1}, "tensor invertible_adapters.de.F.0.weight is"),
        ({"inv_adapter": None}, "tensor invertible_adapters.de.F.0.bias has no counterpart here"),
        ({"reduction_factor": 4}, "tensor encoder.layer.0.output.adapters.de.adapter_down.0.weight is"),
        ({"leave_out": [0]}, "has no counterpart here"),
        ({"mh_adapter": True}, "encoder.layer.0.attention.output.adapters.de.adapter_down.0.weight is missing"),
        ({"model_type": "roberta"}, "model_type is roberta, but the backbone has bert"),
        ({"hidden_size": 768}, "hidden_size is 768, but the backbone has 32"),
        ({"is_parallel": True}, "is_parallel is true"),
        (
            {"original_ln_before": True, "residual_before_ln": False, "original_ln_after": False},
            "cannot be used beneath",
        ),
        ({"ln_after": True, "adapter_residual_before_ln": True}, "cannot be used beneath"),
        ({"use_gating": True}, "use_gating is true, which has no counterpart here"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    folder = write_language(tmp_path / "de")
    change(folder, **values)
    model = plain_model()
    with pytest.raises(RunError, match=message.replace("(", r"\(")):
        attach_language(model, read_language_adapter(folder))
    assert not language_modules(model)


def test_a_huge_bottleneck_is_refused_before_memory_is_allocated(tmp_path: Path) -> None:
    folder = write_language(tmp_path / "de")
    change(folder, reduction_factor=0.0005)
    with pytest.raises(RunError, match="adapter_down"):
        attach_language(plain_model(), read_language_adapter(folder))


@pytest.mark.parametrize("option", ["reduction_factor", "inv_adapter_reduction_factor"])
@pytest.mark.parametrize("factor", [5e-324, 1e-300, 1e-9])
def test_a_factor_close_to_zero_is_refused_by_name(tmp_path: Path, option: str, factor: float) -> None:
    folder = write_language(tmp_path / "de")
    change(folder, **{option: factor})
    with pytest.raises(RunError, match=r"adapter_config\.json: .*(reduction_factor is|should be a whole number)"):
        attach_language(plain_model(), read_language_adapter(folder))


def test_the_adapter_of_a_run_is_no_language_adapter(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"strategy": "houlsby"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"no adapter\.safetensors or pytorch_adapter\.bin in it"):
        read_language_adapter(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_language_adapter(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no adapter_config\.json in it"):
        read_language_adapter(tmp_path)


def test_a_tensor_without_dimensions_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_language(tmp_path / "de")
    tensors = load_file(folder / "adapter.safetensors")
    save_file({**tensors, "bert.encoder.strange": torch.tensor(1.0)}, folder / "adapter.safetensors")
    adapter = read_language_adapter(folder)
    assert len(adapter.digest) == 16
    with pytest.raises(RunError, match=r"tensor encoder\.strange has no counterpart here"):
        attach_language(plain_model(), adapter)


def test_lora_refuses_a_projection_that_it_has_replaced() -> None:
    pytest.importorskip("peft")
    model = model_of(*backbones(["distilbert"])[0])
    config: Any = parse_strategy({"name": "houlsby", "m": 3})
    attach(model, sites(model)[0], Bottleneck(model.config.dim, 3, config.bottleneck_config()), in_backbone=True)
    lora = parse_strategy({"name": "lora", "projections": ["query", "attention_output"]})
    with pytest.raises(UsageError, match=r"strategy\.projections: attention_output is followed by a bottleneck"):
        prepare(model, lora, train_pooler=False)
