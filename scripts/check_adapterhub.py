"""Adapters exchanged with AdapterHub's own package, both ways, on tiny random backbones: the logits must be equal.

AdapterHub has an environment of its own (made once, in --envs). What ``adapter-tune export`` writes is loaded there,
and what ``save_adapter`` writes there, with its own defaults, is imported here, also adapters on a language adapter
(``Stack``). Example:

    python scripts/check_adapterhub.py
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

LIMIT = 1e-5
"""Largest difference of two logits."""
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "initializer_range": 0.2}
FAMILIES = {
    "bert": SIZES,
    "roberta": SIZES,
    "xlm-roberta": SIZES,
    "distilbert": DISTILBERT,
    "electra": {**SIZES, "embedding_size": 16},
    "deberta-v2": SIZES,
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "houlsby": {"name": "houlsby", "m": 4},
    "houlsby, no LayerNorms": {"name": "houlsby", "m": 5, "layer_norm": "none", "scale": "learnt"},
    "houlsby, by layer": {"name": "houlsby", "m": [0, 3], "layer_norm": "all", "activation": "leaky_relu"},
    "attention_only": {"name": "attention_only", "m": 7, "layers": [1]},
    "feed_forward_only": {"name": "feed_forward_only", "m": 40, "activation": "gelu_pytorch_tanh"},
    "pfeiffer": {"name": "pfeiffer", "m": 6},
    "pfeiffer, both": {"name": "pfeiffer", "m": 6, "sub_layer": "both", "layer_norm": "adapter", "scale": 0.5},
    "parallel": {"name": "parallel", "m": 8, "sub_layer": "feed_forward", "scale": 4.0},
    "houlsby, norms": {"name": "houlsby", "m": 4, "input_norm": True, "output_norm": "adapter", "layer_norm": "none"},
    "houlsby, sum": {"name": "houlsby", "m": 4, "output_norm": "sum", "scale": "channel"},
    "pfeiffer, skip": {"name": "pfeiffer", "m": 6, "sub_layer": "both", "skip": "norm", "input_norm": True},
    "parallel, norms": {"name": "parallel", "m": 8, "input_norm": True, "output_norm": "adapter"},
    "adapter_plus": {"name": "adapter_plus", "m": 6},
    "adapter_plus, norms": {
        "name": "adapter_plus",
        "m": 6,
        "sub_layer": "both",
        "input_norm": True,
        "output_norm": "sum",
    },
}
THEIRS = ("seq_bn", "double_seq_bn", "par_bn")
"""AdapterHub's configurations, with its defaults."""
BEHIND_NORM = {"original_ln_before": True, "residual_before_ln": False}
PLUS = {**BEHIND_NORM, "original_ln_after": False, "scaling": "channel"}
VARIANTS: dict[str, dict[str, Any]] = {
    "ln_before": {"ln_before": True},
    "ln_after": {"ln_after": True},
    "adapter_residual_before_ln": {"ln_after": True, "adapter_residual_before_ln": True},
    "residual after the norm, without effect": {"residual_before_ln": False},
    "original_ln_before": {"original_ln_before": True, "scaling": "learned"},
    "original_ln_before, ln_before, ln_after": {"original_ln_before": True, "ln_before": True, "ln_after": True},
    "residual after the norm": BEHIND_NORM,
    "residual after the norm, sum": {**BEHIND_NORM, "ln_after": True, "adapter_residual_before_ln": True},
    "channels": {"scaling": "channel"},
    "plus": PLUS,
    "plus, both norms": {**PLUS, "ln_before": True, "ln_after": True},
    "plus, sum": {**PLUS, "ln_after": True, "adapter_residual_before_ln": True},
    "parallel, both norms": {"is_parallel": True, "ln_before": True, "ln_after": True, "scaling": 2.0},
    "parallel, sum without effect": {"is_parallel": True, "ln_after": True, "adapter_residual_before_ln": True},
}
"""Options of a ``DoubleSeqBnConfig``."""
ABOVE_A_LANGUAGE = ("seq_bn", "double_seq_bn")
"""Those that are also stacked on language adapters."""
HEAD_PARTS = ("heads", "classifier", "pre_classifier", "pooler")
HEADS = {"distilbert": "relu", "electra": "gelu", "deberta-v2": "gelu"}
"""The activation in the heads of families where it is not AdapterHub's default."""


def main() -> None:
    """Exchange everything, print the differences, and exit with 1 if one is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=Path, default=Path("peer-environments"))
    parser.add_argument("--worker", choices=["save", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        (_save_theirs if args.worker == "save" else _load_ours)(args.folder)
        return
    from bench_peers import environment

    python = environment(args.envs.resolve(), "adapterhub")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        torch.save(torch.randint(5, 200, (6, 11)), folder / "ids.pt")
        for family in FAMILIES:
            _write_backbone(folder / family / "backbone", family)
            _export_ours(folder / family)
        worker = [str(python), __file__, "--folder", name, "--worker"]
        subprocess.run([*worker, "save"], check=True)
        for family in FAMILIES:
            _import_theirs(folder / family)
        subprocess.run([*worker, "load"], check=True)
        differences = dict(_differences(folder))
    for case, difference in differences.items():
        print(f"{difference:.1e}  {case}")
    print(f"{len(differences)} cases; the largest difference is {max(differences.values()):.1e}")
    sys.exit(max(differences.values()) > LIMIT)


def _differences(folder: Path) -> Iterator[tuple[str, float]]:
    for expected in sorted(folder.glob("*/*/*/expected.pt")):
        logits = torch.load(expected)
        assert logits.std(0).max() > 1e-2, f"{expected.parent}: the rows are too similar to compare"
        yield (
            str(expected.parent.relative_to(folder)),
            float((logits - torch.load(expected.with_name("got.pt"))).abs().max()),
        )


# With adapter-tune ----------------------------------------------------------------------------------------------------


def _write_backbone(folder: Path, family: str) -> None:
    """A random backbone as it is published: BERT with its pretraining objective, the others as encoders."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer, BertForPreTraining

    from adapter_tune.demo.location import BACKBONE

    tokenizer = AutoTokenizer.from_pretrained(BACKBONE)
    config = AutoConfig.for_model(family, **FAMILIES[family], vocab_size=len(tokenizer), pad_token_id=0)
    model = BertForPreTraining(config) if family == "bert" else AutoModel.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _export_ours(folder: Path) -> None:
    """Adapter folders with random tensors, and what ``export`` makes of them."""
    from adapter_tune.config.resolved import resolved
    from adapter_tune.config.schema import parse_config
    from adapter_tune.exchange.exporting import export_run
    from adapter_tune.exchange.formats import Export
    from adapter_tune.modeling.build import build_model
    from adapter_tune.run_files.adapter_files import save_adapter, saved_tensors
    from adapter_tune.runs.save import adapter_config

    for number, (name, strategy) in enumerate(STRATEGIES.items()):
        place = folder / "exported" / name
        model = {"id": str(folder / "backbone")}
        if folder.name == "bert" and number % 2:
            model["pooler"] = "train"
        values = {"task": ("rte", "mnli", "stsb")[number % 3], "model": model, "strategy": strategy}
        config = resolved(parse_config({**values, "data": {"max_length": 32}}))
        prepared = build_model(config)
        torch.manual_seed(number)
        for tensor in saved_tensors(prepared.model, prepared.newly_initialized).values():
            tensor.add_(torch.randn_like(tensor), alpha=0.3)
        save_adapter(place / "run", prepared.model, prepared.newly_initialized, adapter_config(prepared, config))
        export_run(Export(place / "run", safetensors=number % 2 == 1), place / "hub", "adapterhub")
        torch.save(_logits(prepared.model, folder), place / "expected.pt")


def _import_theirs(folder: Path) -> None:
    import adapter_tune
    from adapter_tune.exchange.exporting import export_run
    from adapter_tune.exchange.formats import Export
    from adapter_tune.exchange.importing import TaskChoice, import_adapter

    for hub in sorted(folder.glob("saved/*/hub")):
        language = hub.with_name("language")
        import_adapter(
            hub,
            hub.with_name("run"),
            model=str(folder / "backbone"),
            language_adapter=str(language) if language.is_dir() else None,
            choice=TaskChoice(),
        )
        model, _ = adapter_tune.load(hub.with_name("run"))
        torch.save(_logits(model, folder), hub.with_name("got.pt"))
        if language.is_dir():
            place = folder / "exported" / hub.parent.name
            export_run(Export(hub.with_name("run")), place / "hub", "adapterhub")
            shutil.copytree(language, place / "language")
            shutil.copyfile(hub.with_name("expected.pt"), place / "expected.pt")


def _logits(model: Any, folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model.eval()(input_ids=torch.load(folder.parent / "ids.pt")).logits
    return logits.clone()


# With AdapterHub's package --------------------------------------------------------------------------------------------


def _save_theirs(folder: Path) -> None:
    """Adapters as AdapterHub saves them, with heads of its own and of transformers' classes."""
    import adapters
    from transformers import AutoModelForSequenceClassification

    for family in FAMILIES:
        backbone = folder / family / "backbone"
        cases: dict[str, Any] = {name: name for name in THEIRS}
        cases["adapter_plus"] = adapters.AdapterPlusConfig(reduction_factor=4, stochastic_depth=0.0)
        cases.update({name: adapters.DoubleSeqBnConfig(**options) for name, options in VARIANTS.items()})
        if family == "bert":
            for name in ("gelu", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_python", "leakyrelu", "relu6", "silu"):
                cases[name] = adapters.SeqBnConfig(non_linearity=name, reduction_factor=7, ln_before=False)
            cases["learned"] = adapters.DoubleSeqBnConfig(scaling="learned", leave_out=[0])
            cases["by layer"] = adapters.DoubleSeqBnConfig(reduction_factor={"0": 2, "default": 8})
            cases["attention"] = adapters.ParBnConfig(mh_adapter=True, output_adapter=False)
        for number, (name, config) in enumerate(cases.items()):
            for kind in ("own head", "classifier"):
                torch.manual_seed(number)
                if kind == "own head":
                    model: Any = adapters.AutoAdapterModel.from_pretrained(backbone)
                    model.add_classification_head("task", num_labels=3, activation_function=HEADS.get(family, "tanh"))
                else:
                    model = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=3)
                    adapters.init(model)
                model.add_adapter("task", config=config)
                is_safe = number % 2 == 1 and not getattr(config, "ln_before", False)  # a tensor with two names
                _save_with_logits(model, folder / family / "saved" / f"{name}, {kind}", is_safe)
        _save_on_languages(folder, family)
    model = adapters.AutoAdapterModel.from_pretrained(folder / "bert" / "backbone")
    model.add_adapter("task", config=adapters.DoubleSeqBnConfig(non_linearity="gelu"))
    model.add_classification_head("task", num_labels=3)
    _save_with_logits(model, folder / "bert" / "saved" / "legacy", safetensors=False)
    _save_legacy(folder / "bert" / "saved" / "legacy" / "hub")


def _save_on_languages(folder: Path, family: str) -> None:
    """Adapters of tasks, each stacked on a language adapter."""
    import adapters
    from adapters.composition import Stack

    languages = {
        "seq_bn_inv": adapters.SeqBnInvConfig(),
        "seq_bn_inv as published": adapters.SeqBnInvConfig(reduction_factor=2, leave_out=[1], non_linearity="gelu"),
        "double_seq_bn_inv": adapters.DoubleSeqBnInvConfig(inv_adapter_reduction_factor=3),
        "no invertible adapter": adapters.SeqBnConfig(reduction_factor=4, scaling="learned"),
    }
    for number, (name, language) in enumerate(languages.items()):
        for config in ABOVE_A_LANGUAGE:
            torch.manual_seed(number)
            model: Any = adapters.AutoAdapterModel.from_pretrained(folder / family / "backbone")
            model.add_adapter("de", config=language)
            model.add_adapter("task", config=config)
            model.add_classification_head("task", num_labels=3, activation_function=HEADS.get(family, "tanh"))
            place = folder / family / "saved" / f"{config} on {name}"
            _save_with_logits(model, place, number % 2 == 1, Stack("de", "task"))
            model.save_adapter(str(place / "language"), "de", with_head=False, use_safetensors=number % 2 == 0)


def _save_with_logits(model: Any, place: Path, safetensors: bool, active: Any = "task") -> None:
    parts = ("adapters.task", "adapters.de")  # also those of "invertible_adapters"
    for name, parameter in model.named_parameters():
        if any(part in name for part in parts) or name.startswith(HEAD_PARTS):
            parameter.data.normal_(std=0.3)
    place.mkdir(parents=True)
    model.save_adapter(str(place / "hub"), "task", use_safetensors=safetensors)
    model.set_active_adapters(active)
    torch.save(_logits(model, place.parent.parent), place / "expected.pt")


def _save_legacy(hub: Path) -> None:
    """Make of a folder what adapter-transformers, the package's predecessor, would have saved; expect what it reads."""
    import adapters

    names = {"attention.output.adapters": "attention.output.attention_text_task_adapters"}
    names["output.adapters"] = "output.layer_text_task_adapters"
    tensors = torch.load(hub / "pytorch_adapter.bin")
    renamed = {}
    for key, tensor in tensors.items():
        old = next(old for old in names if old in key)
        renamed[key.replace(old, names[old])] = tensor
    torch.save(renamed, hub / "pytorch_adapter.bin")
    for file in (hub / "adapter_config.json", hub / "head_config.json"):
        values = json.loads(file.read_text())
        del values["version"]
        values["model_class"] = "BertModelWithHeads"
        file.write_text(json.dumps(values))
    model: Any = adapters.AutoAdapterModel.from_pretrained(hub.parent.parent.parent / "backbone")
    model.load_adapter(str(hub), set_active=True)
    torch.save(_logits(model, hub.parent.parent.parent), hub.with_name("expected.pt"))


def _load_ours(folder: Path) -> None:
    """What ``export`` wrote, loaded by AdapterHub; trained LayerNorms by the line in docs/exchange.md."""
    import adapters
    from adapters.composition import Stack
    from safetensors.torch import load_file

    for hub in sorted(folder.glob("*/exported/*/hub")):
        model: Any = adapters.AutoAdapterModel.from_pretrained(hub.parent.parent.parent / "backbone")
        is_safe = (hub / "adapter.safetensors").is_file()
        name = model.load_adapter(str(hub), set_active=True, use_safetensors=is_safe)
        assert model.active_head == name
        language = hub.with_name("language")
        if language.is_dir():
            is_safe = (language / "adapter.safetensors").is_file()
            model.set_active_adapters(Stack(model.load_adapter(str(language), use_safetensors=is_safe), name))
            model.active_head = name
        norms = hub / "adapter_tune_layer_norms.safetensors"
        if norms.is_file():
            assert not model.load_state_dict(load_file(norms), strict=False).unexpected_keys
        torch.save(_logits(model, hub.parent.parent.parent), hub.with_name("got.pt"))


if __name__ == "__main__":
    main()
