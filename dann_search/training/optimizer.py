"""SGD with one learning rate for the backbone and a larger one for the heads."""

import torch
from torch import Tensor, nn

from dann_search.config.trial import TrialConfig
from dann_search.models.network import DannNetwork
from dann_search.training.schedules import lr_factor_at


class Optimizer:
    """SGD with Nesterov momentum over the trained parameters, its rates a function of progress."""

    def __init__(self, network: DannNetwork, config: TrialConfig):
        self.config = config
        self.named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        backbone = [p for name, p in self.named.items() if name.startswith("backbone.")]
        heads = [p for name, p in self.named.items() if not name.startswith("backbone.")]
        self.base_rates = (config.learning_rate, config.learning_rate * config.head_lr_factor)
        groups = [
            {"params": p, "lr": lr}
            for p, lr in zip((backbone, heads), self.base_rates, strict=True)
        ]
        self.sgd = torch.optim.SGD(
            groups,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained, in a fixed order."""
        return list(self.named.values())

    @property
    def rates(self) -> tuple[float, float]:
        """Learning rates of the backbone and of the heads as last set."""
        backbone, heads = (float(group["lr"]) for group in self.sgd.param_groups)
        return backbone, heads

    def set_progress(self, p: float) -> None:
        """Set the rates for progress ``p`` in [0, 1]."""
        factor = lr_factor_at(p, self.config)
        for group, base in zip(self.sgd.param_groups, self.base_rates, strict=True):
            group["lr"] = base * factor

    def momentum_state(self) -> dict[str, Tensor]:
        """Momentum buffers by parameter name; empty before the first step."""
        buffers = {
            name: self.sgd.state[p].get("momentum_buffer")
            for name, p in self.named.items()
            if p in self.sgd.state
        }
        return {name: buffer for name, buffer in buffers.items() if buffer is not None}

    def load_momentum(self, state: dict[str, Tensor]) -> None:
        """Put saved momentum buffers back."""
        for name, buffer in state.items():
            self.sgd.state[self.named[name]]["momentum_buffer"] = buffer.to(self.named[name].device)
