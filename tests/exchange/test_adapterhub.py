"""Folders in AdapterHub's layout, written by hand: what they compute is imported, and what has no place is refused.

``scripts/check_adapterhub.py`` does the same with AdapterHub's own package.
"""

import json
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForSequenceClassification, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM

import adapter_tune
from adapter_tune.adapterhub.from_strategy import _factor
from adapter_tune.exchange.exporting import export_run
from adapter_tune.exchange.formats import Export
from adapter_tune.exchange.importing import TaskChoice, import_adapter
from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError
from adapter_tune.foundation.tensor_files import read_tensors
from tests.helpers import SHAPE, TOKENIZER, bert_config, save_tokenizer, saved_task

D = SHAPE["hidden_size"]
LAYERS = SHAPE["num_hidden_layers"]
IDS = torch.arange(5, 5 + 4 * 7).view(4, 7)
PLACES = {"mh_adapter": "attention.output", "output_adapter": "output"}
HOULSBY = {"mh_adapter": True, "output_adapter": True, "reduction_factor": 8, "non_linearity": "swish"}
PFEIFFER = {**HOULSBY, "mh_adapter": False, "original_ln_before": True, "non_linearity": "relu", "reduction_factor": 16}
PLUS = {**PFEIFFER, "original_ln_after": False, "residual_before_ln": False, "scaling": "channel"}
HEAD = {
    "head_type": "classification",
    "num_labels": 3,
    "layers": 2,
    "activation_function": "tanh",
    "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2},
    "use_pooler": False,
    "bias": True,
    "dropout_prob": None,
}
POOLED = {**HEAD, "layers": 1, "use_pooler": True, "activation_function": None}


def sizes(options: dict[str, Any]) -> dict[int, int]:
    """The bottleneck size of each layer that has an adapter, as AdapterHub computes it."""
    factor = options["reduction_factor"]
    by_layer = factor if isinstance(factor, dict) else {"default": factor}
    chosen = [layer for layer in range(LAYERS) if layer not in options.get("leave_out", ())]
    return {layer: max(1, int(D // by_layer.get(str(layer), by_layer.get("default")))) for layer in chosen}


def adapter_tensors(options: dict[str, Any], prefix: str = "bert.") -> dict[str, torch.Tensor]:
    tensors = {}
    for layer, m in sizes(options).items():
        for option, place in PLACES.items():
            if not options[option]:
                continue
            name = f"{prefix}encoder.layer.{layer}.{place}.adapters.task"
            down = "adapter_down.0"
            if options.get("ln_before"):  # one LayerNorm under two names
                down = "adapter_down.1"
                for part in ("weight", "bias"):
                    tensors[f"{name}.adapter_norm_before.{part}"] = torch.randn(D)
                    tensors[f"{name}.adapter_down.0.{part}"] = tensors[f"{name}.adapter_norm_before.{part}"]
            tensors[f"{name}.{down}.weight"] = torch.randn(m, D) * 0.3
            tensors[f"{name}.{down}.bias"] = torch.randn(m) * 0.3
            tensors[f"{name}.adapter_up.weight"] = torch.randn(D, m) * 0.3
            tensors[f"{name}.adapter_up.bias"] = torch.randn(D) * 0.3
            if options.get("ln_after"):
                tensors[f"{name}.adapter_norm_after.weight"] = torch.randn(D)
                tensors[f"{name}.adapter_norm_after.bias"] = torch.randn(D)
            if isinstance(options.get("scaling"), str):
                tensors[f"{name}.scaling"] = torch.randn(D if options["scaling"] == "channel" else 1)
    return tensors


def write_folder(folder: Path, options: dict[str, Any], head: dict[str, Any] | None = None, **settings: Any) -> Path:
    """A folder as ``save_adapter`` writes it; ``settings`` go to the top of its configuration."""
    torch.manual_seed(3)
    head = HEAD if head is None else head
    folder.mkdir(parents=True)
    common = {"name": "task", "model_type": "bert", "hidden_size": D, "version": "adapters.1.3.0", "model_name": ""}
    common = {**common, "model_class": "BertAdapterModel", **settings}
    (folder / "adapter_config.json").write_text(json.dumps({**common, "config": options}))
    (folder / "head_config.json").write_text(json.dumps({**common, "config": head}))
    torch.save(adapter_tensors(options), folder / "pytorch_adapter.bin")
    layers = [(D, D), (head["num_labels"], D)] if head.get("layers") == 2 else [(head["num_labels"], D)]
    tensors = {}
    for number, (rows, columns) in zip((1, 4), layers, strict=False):
        tensors[f"heads.task.{number}.weight"] = torch.randn(rows, columns) * 0.3
        tensors[f"heads.task.{number}.bias"] = torch.randn(rows) * 0.3
    torch.save(tensors, folder / "pytorch_model_head.bin")
    return folder


def imported(folder: Path, backbone: str, output: Path, **choice: Any) -> Any:
    """The classifier of an imported adapter."""
    import_adapter(folder, output, model=backbone, choice=TaskChoice(**choice))
    return adapter_tune.load(output)[0]


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model.eval()(input_ids=IDS).logits
    return out


# What AdapterHub computes, by its documentation ----------------------------------------------------------------------


def block(own: nn.Module, place: str, options: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Callable[..., Any]:
    """The forward of BERT's output blocks with an adapter of AdapterHub."""
    dense, norm = own.get_submodule("dense"), own.get_submodule("LayerNorm")
    activation = {"swish": nn.SiLU(), "relu": nn.ReLU(), "gelu_new": nn.GELU("tanh")}[options["non_linearity"]]
    name = f"bert.encoder.layer.{place}.adapters.task"

    def layer_norm(x: torch.Tensor, which: str) -> torch.Tensor:
        return nn.functional.layer_norm(x, (D,), tensors[f"{name}.{which}.weight"], tensors[f"{name}.{which}.bias"])

    def adapter(x: torch.Tensor) -> Any:
        down = "adapter_down.0"
        if options.get("ln_before"):
            x = layer_norm(x, "adapter_norm_before")
            down = "adapter_down.1"
        x = activation(x @ tensors[f"{name}.{down}.weight"].T + tensors[f"{name}.{down}.bias"])
        up = x @ tensors[f"{name}.adapter_up.weight"].T + tensors[f"{name}.adapter_up.bias"]
        scaling = options.get("scaling", 1)
        return up * (tensors[f"{name}.scaling"] if isinstance(scaling, str) else scaling)

    def added(output: Any, residual: torch.Tensor) -> Any:
        if not options.get("ln_after"):
            return output + residual
        if options.get("adapter_residual_before_ln") and not options.get("is_parallel"):
            return layer_norm(output + residual, "adapter_norm_after")
        return layer_norm(output, "adapter_norm_after") + residual

    def forward(hidden_states: torch.Tensor, input_tensor: torch.Tensor) -> Any:
        h = dense(hidden_states)
        if options.get("is_parallel"):
            return norm(added(adapter(input_tensor), h) + input_tensor)
        x = norm(h + input_tensor) if options.get("original_ln_before") else h
        out = added(adapter(x), h if options.get("residual_before_ln", True) else x)
        return norm(out + input_tensor) if options.get("original_ln_after", True) else out

    return forward


def expected_logits(folder: Path, backbone: str, options: dict[str, Any], head: dict[str, Any]) -> Any:
    model: Any = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=3).eval()
    tensors = torch.load(folder / "pytorch_adapter.bin")
    for layer in sizes(options):
        for option, place in PLACES.items():
            if options[option]:
                own = model.bert.encoder.layer[layer].get_submodule(place)
                own.forward = block(own, f"{layer}.{place}", options, tensors)
    head_tensors = torch.load(folder / "pytorch_model_head.bin")
    with torch.inference_mode():
        output = model.bert(input_ids=IDS)
        x = output.pooler_output if head["use_pooler"] else output.last_hidden_state[:, 0]
        for number in (1, 4)[: head["layers"]]:
            x = torch.tanh(x) if number == 4 else x
            x = x @ head_tensors[f"heads.task.{number}.weight"].T + head_tensors[f"heads.task.{number}.bias"]
    return x


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        ({**HOULSBY, "ln_before": None}, {"name": "houlsby", "m": 4, "activation": "swish"}),
        ({**HOULSBY, "scaling": "learned", "leave_out": [0]}, {"name": "houlsby", "layers": [1], "scale": "learnt"}),
        ({**HOULSBY, "reduction_factor": {"0": 4, "default": 32}}, {"name": "houlsby", "m": [8, 1]}),
        ({**HOULSBY, "output_adapter": False}, {"name": "attention_only"}),
        ({**HOULSBY, "mh_adapter": False, "reduction_factor": 7}, {"name": "feed_forward_only", "m": 4}),
        (PFEIFFER, {"name": "pfeiffer", "m": 2, "sub_layer": "feed_forward", "activation": "relu"}),
        ({**PFEIFFER, "mh_adapter": True}, {"name": "pfeiffer", "sub_layer": "both"}),
        (
            {**PFEIFFER, "original_ln_before": False, "is_parallel": True, "scaling": 4.0},
            {"name": "parallel", "sub_layer": "feed_forward", "scale": 4.0},
        ),
        ({**PFEIFFER, "residual_before_ln": False}, {"name": "pfeiffer", "skip": "norm", "output_norm": "none"}),
        ({**HOULSBY, "residual_before_ln": False, "stochastic_depth": 0.1}, {"name": "houlsby", "scale": 1.0}),
        (PLUS, {"name": "adapter_plus", "sub_layer": "feed_forward", "scale": "channel"}),
        (
            {**PLUS, "mh_adapter": True, "ln_before": True, "ln_after": True},
            {"name": "adapter_plus", "sub_layer": "both", "input_norm": True, "output_norm": "adapter"},
        ),
        ({**HOULSBY, "ln_before": True, "scaling": "learned"}, {"name": "houlsby", "input_norm": True}),
        ({**HOULSBY, "ln_after": True}, {"name": "houlsby", "output_norm": "adapter"}),
        (
            {**PFEIFFER, "ln_after": True, "adapter_residual_before_ln": True},
            {"name": "pfeiffer", "skip": "sub_layer", "output_norm": "sum"},
        ),
        (
            {**HOULSBY, "is_parallel": True, "ln_after": True, "adapter_residual_before_ln": True, "ln_before": True},
            {"name": "parallel", "sub_layer": "both", "output_norm": "adapter"},
        ),
        (
            {**HOULSBY, "reduction_factor": 0.5, "non_linearity": "gelu_new"},
            {"m": 64, "activation": "gelu_pytorch_tanh"},
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("head", [HEAD, POOLED], ids=["two layers", "pooler"])
def test_an_imported_adapter_computes_what_adapterhub_computes(
    options: dict[str, Any], strategy: dict[str, Any], head: dict[str, Any], backbone: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "hub", options, head)
    model = imported(folder, backbone, tmp_path / "run")
    expected = expected_logits(folder, backbone, options, head)
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-5)
    assert expected.std(0).max() > 1e-2
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert strategy.items() <= stored["config"]["strategy"].items()
    assert stored["config"]["strategy"]["layer_norm"] == "none"


def test_safetensors_half_precision_and_a_bare_encoders_names_are_read(backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    tensors = {key: tensor.half() for key, tensor in torch.load(folder / "pytorch_adapter.bin").items()}
    (folder / "pytorch_adapter.bin").unlink()
    save_file({key.removeprefix("bert."): tensor for key, tensor in tensors.items()}, folder / "adapter.safetensors")
    model = imported(folder, backbone, tmp_path / "run")
    torch.save(tensors | {key: tensor.float() for key, tensor in tensors.items()}, folder / "pytorch_adapter.bin")
    assert torch.allclose(logits(model), expected_logits(folder, backbone, HOULSBY, HEAD), rtol=0, atol=1e-5)


def test_the_head_of_a_classifier_of_transformers_is_read(backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY, POOLED, model_class="BertForSequenceClassification")
    settings = json.loads((folder / "head_config.json").read_text())
    label2id = {"no": 0, "maybe": 1, "yes": 2}
    (folder / "head_config.json").write_text(json.dumps({**settings, "config": None, "label2id": label2id}))
    head = torch.load(folder / "pytorch_model_head.bin")
    torch.save(
        {key.replace("heads.task.1", "classifier"): t for key, t in head.items()}, folder / "pytorch_model_head.bin"
    )
    model = imported(folder, backbone, tmp_path / "run")
    assert model.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    torch.save(head, folder / "pytorch_model_head.bin")
    assert torch.allclose(logits(model), expected_logits(folder, backbone, HOULSBY, POOLED), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "problem", "metric"),
    [
        ({"head_type": "multilabel_classification"}, "multi_label", "f1_micro"),
        ({"num_labels": 1, "label2id": None}, "regression", "r2"),
    ],
)
def test_the_kind_of_problem_is_that_of_the_head(
    changes: dict[str, Any], problem: str, metric: str, backbone: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY, {**HEAD, **changes})
    record = import_adapter(folder, tmp_path / "run", model=backbone, choice=TaskChoice())
    custom = record.config["data"]["custom"]
    assert (custom["problem"], custom["metric"]) == (problem, metric)
    export_run(Export(tmp_path / "run"), tmp_path / "again", "adapterhub")
    written = json.loads((tmp_path / "again" / "head_config.json").read_text())["config"]
    assert {key: written[key] for key in changes if key != "label2id"} == {
        key: value for key, value in changes.items() if key != "label2id"
    }


def test_names_of_its_predecessor_are_read(backbone: str, tmp_path: Path) -> None:
    options = {**HOULSBY, "non_linearity": "gelu"}
    folder = write_folder(tmp_path / "hub", options, version=None, model_class="BertModelWithHeads")
    tensors = torch.load(folder / "pytorch_adapter.bin")
    torch.save(
        {key.replace("output.adapters", "output.layer_text_task_adapters"): t for key, t in tensors.items()},
        folder / "pytorch_adapter.bin",
    )
    model = imported(folder, backbone, tmp_path / "run")
    torch.save(tensors, folder / "pytorch_adapter.bin")
    expected = expected_logits(folder, backbone, {**options, "non_linearity": "gelu_new"}, HEAD)  # its "gelu"
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("section", [{"inv_adapter": "nice"}, {"invertible_adapter": {"block_type": "nice"}}])
def test_an_invertible_adapter_without_weights_is_ignored(
    section: dict[str, Any], backbone: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "hub", {**PFEIFFER, **section})
    model = imported(folder, backbone, tmp_path / "run")
    assert torch.allclose(logits(model), expected_logits(folder, backbone, PFEIFFER, HEAD), rtol=0, atol=1e-5)
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert any("its weights have none" in note for note in stored["warnings"])
    tensors = torch.load(folder / "pytorch_adapter.bin")
    torch.save({**tensors, "bert.invertible_adapters.task.F.0.bias": torch.zeros(8)}, folder / "pytorch_adapter.bin")
    with pytest.raises(UsageError, match=r"a language adapter \(task\), which predicts nothing by itself"):
        import_adapter(folder, tmp_path / "again", model=backbone, choice=TaskChoice())


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ln_before": True}, "adapter_norm_before.weight is missing"),
        ({"original_ln_after": False}, "original_ln_after is false without original_ln_before, which leaves out the"),
        ({"original_ln_after": None}, "original_ln_after is false without original_ln_before"),
        ({"original_ln_after": False, "is_parallel": True}, "original_ln_after is false with is_parallel"),
        (
            {"original_ln_after": False, "original_ln_before": True},
            "original_ln_after and residual_before_ln are false and true, which leaves the sub-layer's input out",
        ),
        (
            {"original_ln_after": False, "original_ln_before": True, "residual_before_ln": "post_add"},
            'are false and "post_add", which normalises nothing but what the adapter reads (X-MOD); only adapters with '
            "true and true or true and false or false and false can be imported",
        ),
        (
            {"original_ln_before": True, "residual_before_ln": "post_add"},
            "which adds the sub-layer's input twice",
        ),
        ({"original_ln_before": True, "residual_before_ln": "x"}, 'are true and "x", which AdapterHub does not know'),
        ({"residual_before_ln": "post_add"}, 'is "post_add" without original_ln_before, which AdapterHub cannot'),
        ({"use_gating": True}, "use_gating is true"),
        ({"phm_layer": True}, "phm_layer is true"),
        ({"cross_adapter": True}, "cross_adapter is true"),
        ({"non_linearity": "quick_gelu"}, "non_linearity is 'quick_gelu'"),
        ({"scaling": "channel"}, "tensor encoder.layer.0.attention.output.adapters.task.scaling is missing"),
        ({"scaling": "row"}, 'scaling is "row"'),
        ({"scaling": 0.0}, "scaling is 0.0"),
        ({"reduction_factor": 0}, "reduction_factor is 0"),
        ({"reduction_factor": {"0": 4}}, "reduction_factor has no value for layer 1, and no default"),
        ({"leave_out": [0, 1]}, "leave_out names every layer"),
        ({"mh_adapter": False, "output_adapter": False}, "mh_adapter and output_adapter are both false"),
        ({"mh_adapter": "yes"}, "config.mh_adapter should be a valid boolean"),
        ({"reduction_factor": 1e-9}, "m: should be a whole number from 1 to 65536"),
        ({"reduction_factor": 2**-10}, "adapter_down.0.weight is (4, 32), not (32768, 32)"),
        ({"new_option": 1}, "config.new_option unknown option 'new_option'"),
        ({"architecture": "lora"}, "an adapter of kind 'lora'"),
        ({"architecture": "union"}, "an adapter of kind 'union'"),
    ],
    ids=str,
)
def test_options_without_a_counterpart_are_refused_by_name(
    changes: dict[str, Any], message: str, backbone: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "config": {**HOULSBY, **changes}}))
    with pytest.raises(RunError) as error:
        imported(folder, backbone, tmp_path / "run")
    assert message in str(error.value)
    assert str(folder) in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "relu"}, 'activation_function="relu"'),
        ({"layers": 3}, "layers=3"),
        ({"layers": 1}, "layers=1"),
        ({"use_pooler": True}, "use_pooler=true"),
        ({"bias": False}, "bias=false"),
        ({"head_type": "tagging"}, "head_type is 'tagging'"),
        ({"size": 3}, "config.size unknown option"),
        ({"num_labels": 10**9}, "heads.task.4.weight is (3, 32), not (1000000000, 32)"),
    ],
    ids=str,
)
def test_heads_without_a_counterpart_are_refused(
    changes: dict[str, Any], message: str, backbone: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    settings = json.loads((folder / "head_config.json").read_text())
    (folder / "head_config.json").write_text(json.dumps({**settings, "config": {**HEAD, **changes}}))
    with pytest.raises(RunError) as error:
        imported(folder, backbone, tmp_path / "run")
    assert message in str(error.value)


def test_a_head_for_another_class_of_model_is_refused(backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY, model_class="BertForTokenClassification")
    with pytest.raises(RunError, match="a head of BertForTokenClassification; only heads of classifiers"):
        imported(folder, backbone, tmp_path / "run")


def test_an_adapter_without_a_head_is_refused(backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    (folder / "head_config.json").unlink()
    with pytest.raises(RunError, match=r"contains no head \(head_config.json\), so it cannot predict"):
        imported(folder, backbone, tmp_path / "run")


class Poison:
    """Unpickling it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("name", ["pytorch_adapter.bin", "pytorch_model_head.bin"])
def test_a_poisoned_pickle_is_refused_and_executes_nothing(name: str, backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    torch.save({**torch.load(folder / name), "x": Poison(tmp_path / "executed")}, folder / name)
    with pytest.raises(RunError, match=f"{name}: contains other objects than tensors.*nothing was executed"):
        imported(folder, backbone, tmp_path / "run")
    assert not (tmp_path / "executed").exists()
    torch.load(folder / name, weights_only=False)
    assert (tmp_path / "executed").exists()  # so it would have


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name != key}


_DOWN = "encoder.layer.0.output.adapters.task.adapter_down.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(f"bert.{_DOWN}"), f"tensor {_DOWN} is missing"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.zeros(3, D)}, rf"tensor {_DOWN} is \(3, 32\), not \(4, 32\)"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.full((4, D), torch.nan)}, "contains infinite or undefined numbers"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.zeros(4, D, dtype=torch.long)}, r"no adapter here has \(torch.int64"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.zeros(4, D, device="meta")}, r"torch.strided on meta\)"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.zeros(4, D).to_sparse()}, r"torch.sparse_coo on cpu\)"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, "no adapter"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.zeros(1).expand(10**9, 10**6)}, "has more numbers than the file"),
        (lambda t: {**t, f"bert.{_DOWN}": torch.full((4, D), torch.nan).to(torch.float8_e4m3fn)}, "undefined numbers"),
        (lambda t: {**t, "bert.invertible_adapters.task.F.0.weight": torch.zeros(2)}, "invertible_adapters.task.F.0.w"),
        (lambda t: {**t, _DOWN: t[f"bert.{_DOWN}"] + 1}, f"contains tensor {_DOWN} under two names"),
        (lambda t: list(t.values()), "is no dictionary of tensors"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(change: Any, message: str, backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    torch.save(change(torch.load(folder / "pytorch_adapter.bin")), folder / "pytorch_adapter.bin")
    with pytest.raises(RunError, match=message):
        imported(folder, backbone, tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_compressed_file_is_refused(backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    file = folder / "pytorch_adapter.bin"
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(RunError, match=r"pytorch_adapter.bin: is compressed"):
        imported(folder, backbone, tmp_path / "run")


def test_any_damage_of_a_pickle_gives_one_line(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(3), "b": torch.ones(2, 2)}
    for zipped in (True, False):
        torch.save(tensors, tmp_path / "whole.bin", _use_new_zipfile_serialization=zipped)
        content = (tmp_path / "whole.bin").read_bytes()
        rng = random.Random(0)
        for _ in range(150):
            damaged = bytearray(content)
            place = rng.randrange(len(damaged))
            if rng.random() < 0.5:
                damaged[place] = rng.randrange(256)
            else:
                damaged = damaged[:place]
            file = tmp_path / "damaged.bin"
            file.write_bytes(damaged)
            with suppress(RunError):
                read_tensors(tmp_path / "none", file)
    (tmp_path / "empty.bin").touch()
    with pytest.raises(RunError, match=r"empty.bin: cannot be read \(.+\)"):
        read_tensors(tmp_path / "none", tmp_path / "empty.bin")


@pytest.mark.parametrize("name", ["pytorch_adapter.bin", "pytorch_model_head.bin"])
def test_damaged_and_missing_files_are_named(name: str, backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    (folder / name).write_bytes((folder / name).read_bytes()[:300])
    with pytest.raises(RunError, match=rf"{name}: .*(cannot be read|other objects)"):
        imported(folder, backbone, tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(AdapterTuneError, match=r"contains (neither|no adapter of a known format)"):
        imported(folder, backbone, tmp_path / "run")


def test_the_head_of_another_adapter_in_the_file_is_left_out_and_named(backbone: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY)
    head = torch.load(folder / "pytorch_model_head.bin")  # AdapterHub saves the head task2 with the head task
    torch.save({**head, "heads.task2.1.weight": torch.zeros(3)}, folder / "pytorch_model_head.bin")
    record = import_adapter(folder, tmp_path / "run", model=backbone, choice=TaskChoice())
    assert any("heads.task2.1.weight belongs to another head" in note for note in record.warnings)


# The backbone --------------------------------------------------------------------------------------------------------


def test_another_kind_or_size_of_backbone_is_refused(backbone: str, tmp_path: Path) -> None:
    different: list[dict[str, Any]] = [{"model_type": "roberta"}, {"hidden_size": 768}]
    for number, settings in enumerate(different):
        folder = write_folder(tmp_path / f"hub{number}", HOULSBY, **settings)
        with pytest.raises(RunError, match=r"but the backbone has (bert|32); give its own backbone with --model"):
            imported(folder, backbone, tmp_path / "run")


def test_a_folder_may_not_name_a_path_as_its_backbone(backbone: str, tmp_path: Path) -> None:
    for number, name in enumerate((backbone, "../model", "")):
        folder = write_folder(tmp_path / f"hub{number}", HOULSBY, model_name=name)
        with pytest.raises(UsageError, match=r"backbone.*give the backbone with --model"):
            import_adapter(folder, tmp_path / "run", choice=TaskChoice())


def test_a_head_that_reads_a_pooler_without_weights_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", HOULSBY, POOLED)
    BertForMaskedLM(bert_config()).save_pretrained(tmp_path / "backbone")
    save_tokenizer(tmp_path / "backbone")
    with pytest.raises(RunError, match=r"its head reads the pooler, and .* has none"):
        imported(folder, str(tmp_path / "backbone"), tmp_path / "run")


# Export --------------------------------------------------------------------------------------------------------------


EXPORTED: dict[str, Any] = {
    "houlsby": {"name": "houlsby", "m": 4},
    "all norms": {"name": "houlsby", "m": [0, 3], "layer_norm": "all", "scale": "learnt"},
    "attention": {"name": "attention_only", "m": 3, "layers": [1], "layer_norm": "none"},
    "feed-forward": {"name": "feed_forward_only", "m": 40, "activation": "leaky_relu"},
    "pfeiffer": {"name": "pfeiffer", "m": 5},
    "parallel": {"name": "parallel", "m": 3, "sub_layer": "attention", "scale": 2.5},
    "norms": {"name": "houlsby", "m": 3, "input_norm": True, "output_norm": "adapter", "scale": "channel"},
    "sum": {"name": "pfeiffer", "m": 3, "skip": "norm", "input_norm": True, "output_norm": "sum"},
    "plus": {"name": "adapter_plus", "m": 3, "input_norm": True, "layer_norm": "adapter"},
}


@pytest.mark.parametrize("name", EXPORTED)
def test_what_is_exported_is_imported_bit_by_bit(name: str, backbone: str, make_config: Any, tmp_path: Path) -> None:
    number = list(EXPORTED).index(name)
    model = {"id": backbone, "pooler": ("frozen", "train")[number % 2]}
    config = make_config(("rte", "mnli", "stsb")[number % 3], strategy=EXPORTED[name], model=model)
    saved_task(tmp_path / "run", config, seed=number)
    export = Export(tmp_path / "run", safetensors=number % 2 == 1)
    notes = export_run(export, tmp_path / "hub", "adapterhub").notes
    assert any("LayerNorms were trained" in note for note in notes) == (name not in ("attention", "pfeiffer", "sum"))
    import_adapter(tmp_path / "hub", tmp_path / "back", model=backbone, choice=TaskChoice())
    one, other = (load_file(tmp_path / path / "adapter_model.safetensors") for path in ("run", "back/adapter"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    configs = [json.loads((tmp_path / path / "adapter_config.json").read_text()) for path in ("run", "back/adapter")]
    for key in ("task", "labels", "fingerprint", "max_length"):
        assert configs[0][key] == configs[1][key]
    assert logits(adapter_tune.load(tmp_path / "run")[0]).equal(logits(adapter_tune.load(tmp_path / "back")[0]))


def test_an_exported_adapter_is_refused_on_another_backbone(
    backbone: str, bare_backbone: str, make_config: Any, tmp_path: Path
) -> None:
    saved_task(tmp_path / "run", make_config("rte"), seed=0)
    export_run(Export(tmp_path / "run"), tmp_path / "hub", "adapterhub")
    with pytest.raises(RunError, match=r"was trained on a backbone with fingerprint \w{16}, but"):
        imported(tmp_path / "hub", bare_backbone, tmp_path / "back")


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"name": "multiplicative", "m": 4}, "strategy multiplicative has no counterpart"),
        ({"name": "houlsby", "m": 4, "depth": 2}, "strategy.depth=2 has no counterpart"),
        ({"name": "houlsby", "m": 4, "norm": "layer"}, "strategy.norm=layer has no counterpart"),
        ({"name": "parallel", "output_norm": "sum"}, "strategy.output_norm=sum with strategy parallel has no counter"),
        ({"name": "lora", "r": 2}, "strategy lora has no counterpart"),
        ({"name": "head"}, "strategy head has no counterpart"),
    ],
    ids=str,
)
def test_strategies_without_a_counterpart_are_not_exported(
    strategy: Any, message: str, make_config: Any, tmp_path: Path
) -> None:
    saved_task(tmp_path / "run", make_config("rte", strategy=strategy), seed=0)
    with pytest.raises(UsageError, match=message):
        export_run(Export(tmp_path / "run"), tmp_path / "hub", "adapterhub")
    assert not (tmp_path / "hub").exists()


def test_robertas_names_are_its_own(make_config: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    roberta = RobertaConfig(**{**SHAPE, "vocab_size": len(TOKENIZER), "pad_token_id": 1})
    RobertaForMaskedLM(roberta).save_pretrained(tmp_path / "backbone")
    save_tokenizer(tmp_path / "backbone")
    saved_task(tmp_path / "run", make_config("rte", model=str(tmp_path / "backbone")), seed=0)
    export_run(Export(tmp_path / "run"), tmp_path / "hub", "adapterhub")
    assert all(key.startswith("roberta.encoder.layer.") for key in torch.load(tmp_path / "hub" / "pytorch_adapter.bin"))
    assert json.loads((tmp_path / "hub" / "head_config.json").read_text())["model_class"] == "RobertaAdapterModel"


def test_every_bottleneck_size_has_a_reduction_factor() -> None:
    for d in (32, 312, 384, 768, 1024):
        for m in range(1, 2 * d):
            assert int(d // _factor(d, m)) == m
