"""The workers of one trial: which part of each batch is mine, and the sums over all of them."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dann_search.models.backbone import BATCH_NORM


@dataclass(frozen=True)
class Ranks:
    """This worker among the ``size`` of a trial; ``group`` is their process group, if any."""

    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes checkpoints and speaks for the trial."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """My rows of ``count``, nearly equal among workers and together all of them."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace ``tensor`` by its sum over workers."""
        if self.size > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def any_(self, mine: bool) -> bool:
        """Whether it holds on any worker, the same answer on all; ``group`` must be of the CPU."""
        if self.size == 1:
            return mine
        flag = torch.tensor(int(mine))
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.group)
        return bool(flag)

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Sum gradients over workers in one message: each loss is already its share of the mean."""
        if self.size == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        self.sum_(flat)
        pieces = torch.split(flat, [g.numel() for g in gradients])
        for parameter, piece in zip(parameters, pieces, strict=True):
            # In the parameter's own memory order, as fused optimizers take it without looking.
            parameter.grad = torch.empty_like(parameter).copy_(piece.view_as(parameter))

    def average_statistics(self, network: nn.Module) -> None:
        """Average the batch-norm statistics that training moves.

        Every worker then evaluates, and the chief saves, the same network. Frozen statistics are
        left alone: they are equal, and averaging three of them would round.
        """
        if self.size == 1:
            return
        for module in network.modules():
            if isinstance(module, BATCH_NORM) and module.training:
                for buffer in module.buffers():
                    if buffer.is_floating_point():
                        self.sum_(buffer).div_(self.size)

    def gather_rows(self, mine: Tensor, count: int) -> Tensor:
        """All ``count`` rows from every worker's share, in order, the same on every worker."""
        if self.size == 1:
            return mine
        rows = mine.new_zeros(count, *mine.shape[1:])
        rows[self.share(count)] = mine
        return self.sum_(rows)


ALONE = Ranks()
