"""Logits of AdapterHub's Houlsby adapter on MPNet with given weights: ``scripts/check_mpnet.py`` compares them."""

import sys
from pathlib import Path

import torch
from adapterhub_models import classifier
from adapters import DoubleSeqBnConfig
from safetensors.torch import load_file

folder, model_id, m = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
model = classifier(model_id, 2)
config = DoubleSeqBnConfig(reduction_factor=model.config.hidden_size / m, non_linearity="gelu")
model.add_adapter("task", config=config)
model.set_active_adapters("task")
weights = load_file(folder / "weights.safetensors")
parameters = dict(model.named_parameters())
with torch.no_grad():
    for name, tensor in weights.items():
        parameters[name].copy_(tensor)
copied = {name for name in parameters if ".adapters.task." in name or name.startswith("classifier.")}
assert copied == weights.keys(), copied ^ weights.keys()
batch = load_file(folder / "batch.safetensors")
with torch.no_grad():
    torch.save(model.eval()(**batch).logits, folder / "theirs.pt")
