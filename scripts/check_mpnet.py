"""Houlsby adapters on MPNet with the same weights here and in AdapterHub's package: are the logits the same?

The adapters have random weights that are large enough to change the logits, and the rows are those of MRPC.

    python scripts/check_mpnet.py --model sentence-transformers/all-mpnet-base-v2
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from bench_peers import HERE, environment
from safetensors.torch import save_file

M = 64
LIMIT = 1e-5
THEIRS = {"attention": "attention_adapters", "feed_forward": "output_adapters"}


def save_ours(folder: Path, model_id: str, rows: int) -> tuple[torch.Tensor, float]:
    """Write weights and a batch of real rows, and return the logits and how much the adapters change them."""
    from datasets import load_dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from adapter_tune import bypass
    from adapter_tune.adapterhub.folder import bottleneck_parameters
    from adapter_tune.adapters.surgery import sites
    from adapter_tune.strategies import parse_strategy

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(model_id).eval()
    parse_strategy({"name": "houlsby", "m": M, "layer_norm": "none"}).apply(model)
    weights = {name: p for name, p in model.named_parameters() if name.startswith("classifier.")}
    for site in sites(model):
        assert site.adapted is not None
        place = f"mpnet.encoder.layer.{site.layer}.{THEIRS[site.sub_layer]}.adapters.task"
        weights.update(bottleneck_parameters(site.adapted.adapter, place))
    for parameter in weights.values():
        torch.nn.init.normal_(parameter, std=0.03)
    save_file({name: p.detach().contiguous() for name, p in weights.items()}, folder / "weights.safetensors")
    data = load_dataset("nyu-mll/glue", "mrpc", split=f"validation[:{rows}]")
    tokenizer = AutoTokenizer.from_pretrained(model_id)
    batch = tokenizer(list(data["sentence1"]), list(data["sentence2"]), padding=True, return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    save_file(batch, folder / "batch.safetensors")
    with torch.no_grad():
        logits = model(**batch).logits
        with bypass(model):
            change = float((model(**batch).logits - logits).abs().max())
    return logits, change


def main() -> None:
    """Compute both, print the largest difference, and exit with 1 if it is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--envs", type=Path, default=Path("peer-environments"))
    args = parser.parse_args()
    python = environment(args.envs.resolve(), "adapterhub")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logits, change = save_ours(folder, args.model, args.rows)
        subprocess.run([python, HERE / "peers" / "adapterhub_logits.py", name, args.model, str(M)], check=True)
        difference = float((torch.load(folder / "theirs.pt") - logits).abs().max())
    print(f"{args.rows} rows of mrpc: the largest difference of a logit is {difference:.1e};")
    print(f"the logits are up to {float(logits.abs().max()):.2f}, and the adapters change them by up to {change:.2f}")
    sys.exit(difference > LIMIT)


if __name__ == "__main__":
    main()
