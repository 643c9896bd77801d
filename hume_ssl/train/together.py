"""One training in several processes (torch.distributed): each computes its share of every batch, as one process would.

The global batch is what a single process would take. Every process draws all of it, takes its own rows through the
network, and gathers the logits of all; so each one computes rule, losses and figures on the whole batch, in the order
of one process. Batch norm sums its statistics over the processes. What is left of a difference is rounding.

Why the gradient is that of one process. Let z = (z_1 .. z_w) be the logits of the w processes, L(z) the loss of the
whole batch, which every process computes, and theta_p the weights of process p. :func:`gathered` hands process p the
gradient w dL/dz_p. What the processes exchange inside the network (batch norm) hands its gradients back in the same
way, so that process p ends with g_p = sum_q (dz_q / dtheta_p)^T w dL/dz_q, and the sum of all g_p, where all theta_p
are equal, is w dL/dtheta. DistributedDataParallel averages: (1 / w) sum_p g_p = dL/dtheta.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as nnf

from hume_ssl.errors import InputError


@dataclass(frozen=True)
class Together:
    """Which of the processes that train together this is; alone by default, and then nothing here does anything.

    Attributes:
        rank: 0 is the first process, which alone writes and speaks.
        world: how many there are; the group must have been joined (:func:`hume_ssl.distributed.join`).
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints and speaks."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """Raise InputError unless `batch` labelled items, and any multiple of them, can be shared equally."""
        if batch % self.world:
            fitting = max(self.world, round(batch / self.world) * self.world)
            raise InputError(
                f"train.batch {batch} cannot be shared by {self.world} processes: give --set train.batch={fitting}, "
                "or another number of processes"
            )

    def split(self, items: np.ndarray) -> np.ndarray:
        """This process's part of the items (m,), to be collected: as many in each, the last item filling up."""
        if self.world == 1:
            return items
        each = -(-len(items) // self.world)
        return items[np.minimum(np.arange(self.rank * each, (self.rank + 1) * each), len(items) - 1)]

    def collect(self, rows: Tensor, count: int) -> Tensor:
        """The rows (count, ...) of all items, from those of each process's :meth:`split`; without gradient."""
        return rows if self.world == 1 else _of_all(rows).flatten(0, 1)[:count]

    def everywhere(self, logits: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """The logits of the whole batch, one tensor for each kind of view.

        Args:
            logits: (sum(counts) / world, k), of this process's rows of each kind, kind after kind.
            counts: rows of each kind in the whole batch.

        Returns:
            Tensors (count, k) in the order of one process, with gradient.
        """
        if self.world == 1:
            return torch.split(logits, list(counts))
        # (world, count / world, k) each
        kinds = torch.split(gathered(logits), [count // self.world for count in counts], dim=1)
        return tuple(kind.flatten(0, 1) for kind in kinds)

    def wrap(self, model: nn.Module) -> nn.Module:
        """What to call in a training step instead of `model`: batch norm and gradients are over all processes.

        `model` stays usable: it holds the same parameters and buffers by the same names, its batch norm is replaced.
        The buffers are not sent around at every step: synced batch norm keeps them equal.
        """
        if self.world == 1:
            return model
        device = next(model.parameters()).device
        on_gpu = device.type == "cuda"
        convert = nn.SyncBatchNorm.convert_sync_batchnorm if on_gpu else synced
        wrapper = nn.parallel.DistributedDataParallel
        newer, older = "forward_sync_buffers", "broadcast_buffers"  # the same option: renamed in torch 2.15
        no_buffers: dict[str, Any] = {newer if newer in inspect.signature(wrapper).parameters else older: False}
        devices = [device] if on_gpu else None
        wrapped: nn.Module = wrapper(convert(model), device_ids=devices, gradient_as_bucket_view=True, **no_buffers)
        return wrapped


ALONE = Together()


def gathered(local: Tensor) -> Tensor:
    """The tensors (m, ...) of all processes as one (world, m, ...), the same in each; the m must be equal.

    The gradient is this process's slice of the incoming one times the number of processes: right where every process
    computes the same loss from the result and gradients are then averaged (module docstring).
    """
    result: Tensor = _Gathered.apply(local)
    return result


def synced(module: nn.Module) -> nn.Module:
    """The module with every BatchNorm in it replaced by a :class:`SyncedBatchNorm` with the same tensors."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        twin = SyncedBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        )
        twin._parameters, twin._buffers = module._parameters, module._buffers  # the same ones, wherever they live
        return twin.train(module.training)
    for name, child in module.named_children():
        setattr(module, name, synced(child))
    return module


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """nn.BatchNorm1d or 2d over the rows of all processes; torch's own SyncBatchNorm refuses tensors on the CPU.

    Mean, variance, running statistics and gradients are those that one process with all rows has, within rounding.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"batch norm takes (b, c, ...), not {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            result: Tensor = super().forward(x)
            return result
        self._check_input_dim(x)
        y, mean, variance, n = _Normalised.apply(x, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None:
            assert self.running_var is not None and self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            unbiased = variance * (n / (n - 1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)
        normalised: Tensor = y
        return normalised


class _Gathered(torch.autograd.Function):
    """See :func:`gathered`."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        return _of_all(local)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0][distributed.get_rank()] * distributed.get_world_size()


class _Normalised(torch.autograd.Function):
    """Rows (b, c, ...) normalised with the mean and variance of the rows of all processes.

    With x^ = (x - mean) / s, s = sqrt(variance + eps), and N values a channel in all processes:
    dx = weight / s (dy - sum(dy) / N - x^ sum(dy x^) / N), the two sums over all processes; those of this process alone
    are the gradients of bias and weight, as for any other parameter.

    Sums over rows are those of torch's own batch norm kernels: over channels-last images they are many times as fast as
    its general reductions, and round as one process's do.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        unused = torch.zeros(x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        mean, variance = torch.batch_norm_update_stats(x, unused, unused.clone(), 0.0)  # of this process
        # Merged from means and variances rather than sums of squares, which would cancel (Chan, Golub, LeVeque 1979).
        count = torch.full_like(mean, x.numel() // x.shape[1])
        counts, means, variances = _of_all(torch.stack([count, mean, variance])).unbind(1)  # (world, c) each
        n = counts.sum(0)
        mean = (counts * means).sum(0) / n
        variance = (counts * (variances + (means - mean).square())).sum(0) / n
        ctx.save_for_backward(x, weight, mean, variance, n, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, n)
        return nnf.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, n

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight, mean, variance, n, count = ctx.saved_tensors
        scale = (variance + ctx.eps).rsqrt()
        ones = torch.ones_like(mean) if weight is None else weight
        # The kernel takes the two sums over its own rows; what the sums over all rows make of it is added.
        dx, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, ones, None, None, mean, scale, True, ctx.eps, [True, True, True]
        )
        local = torch.stack([of_weight, of_bias])  # (2, c)
        both = local.clone()
        distributed.all_reduce(both)
        tilt, shift = (local / count - both / n) * ones * scale
        each = (1, -1, *[1] * (x.ndim - 2))
        dx = dx + (x - mean.view(each)) * (tilt * scale).view(each) + shift.view(each)
        affine = (None, None) if weight is None else (of_weight, of_bias)
        return dx.to(x.dtype), *affine, None


def _of_all(local: Tensor) -> Tensor:
    """The tensors of all processes, stacked in order of rank, without gradient."""
    together = local.new_empty(distributed.get_world_size(), *local.shape)
    distributed.all_gather(list(together.unbind()), local.detach().contiguous())
    return together
