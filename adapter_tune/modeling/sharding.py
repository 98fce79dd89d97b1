"""A frozen backbone in pieces, one a process, where it does not fit each of them whole (FSDP of frozen tensors).

What is trained is small and stays whole in every process, so optimiser, checkpoints and gradients are those of DDP.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from adapter_tune.adapters.surgery import base_of, layers_of


def shard(model: nn.Module, newly_initialized: frozenset[str], device: torch.device) -> None:
    """Cut the frozen tensors of each layer, of the embeddings and of the rest; in place, once processes are connected.

    A layer's tensors are gathered for as long as it computes, forward and backward.

    Args:
        model: ready to train.
        newly_initialized: names of tensors that no checkpoint held; they are saved, trained or not, and stay whole.
        device: of this process; what stays whole is moved there, too.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    whole = {p for name, p in model.named_parameters() if p.requires_grad or name in newly_initialized}
    for module in (cast(nn.Module, base_of(model).embeddings), *layers_of(model), model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=whole)
    for tensor in (*whole, *model.buffers()):
        tensor.data = tensor.data.to(device)


def replicated(model: nn.Module, device: torch.device, **options: Any) -> DistributedDataParallel:
    """The model in DDP, which exchanges gradients of trained tensors and leaves the pieces alone."""
    pieces = [name for name, p in model.named_parameters() if isinstance(p, DTensor)]
    cast(Any, DistributedDataParallel)._set_params_and_buffers_to_ignore_for_model(model, pieces)
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None, **options)
