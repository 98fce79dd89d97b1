"""A frozen backbone in shards, one per process, for backbones that do not fit into one process (FSDP).

The trained parameters are few and stay complete in every process, so optimizer, checkpoints and gradients are those
of DDP.
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

from adapter_tune.adapters.model_parts import base_of, layers_of


def shard(model: nn.Module, newly_initialized: frozenset[str], device: torch.device) -> None:
    """Shard the frozen tensors of each layer, of the embeddings and of the rest, in place.

    The processes must be connected before. A layer's tensors are gathered only while it computes, forward and backward.

    Args:
        model: ready to train.
        newly_initialized: names of tensors that no checkpoint held; they are saved with the adapter, so they are not
            sharded.
        device: of this process; the tensors that are not sharded are moved to it.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    unsharded = {p for name, p in model.named_parameters() if p.requires_grad or name in newly_initialized}
    for module in (cast(nn.Module, base_of(model).embeddings), *layers_of(model), model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=unsharded)
    for tensor in (*unsharded, *model.buffers()):
        tensor.data = tensor.data.to(device)


def replicated(model: nn.Module, device: torch.device, **options: Any) -> DistributedDataParallel:
    """Return the model in DDP, which averages the gradients of trained tensors and ignores the shards."""
    sharded_names = [name for name, p in model.named_parameters() if isinstance(p, DTensor)]
    cast(Any, DistributedDataParallel)._set_params_and_buffers_to_ignore_for_model(model, sharded_names)
    return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None, **options)
