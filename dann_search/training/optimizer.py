"""SGD or AdamW, a learning rate for each stage of the backbone and a larger one for the heads."""

import torch
from torch import Tensor, nn

from dann_search.config.trial import TrialConfig
from dann_search.data.torch_compiler import without_compiler
from dann_search.models.backbone import plain_name
from dann_search.models.network import DannNetwork
from dann_search.training.checkpoint import with_prefix
from dann_search.training.schedules import lr_factor_at

HEADS, DISCRIMINATOR = -1, -2
"""Groups of what is not in the backbone."""

SCALER = "scaler/"
SCALING = ("scale", "_growth_tracker")
"""What moves of fp16's gradient scaler."""


class Optimizer:
    """The trained parameters in groups, their rates a function of progress.

    The network is on the device where it is trained before its optimizer is made.
    """

    def __init__(self, network: DannNetwork, config: TrialConfig):
        self.config = config
        # Gradients of fp16 vanish below 6e-8: the loss is scaled up, and they down again.
        device = next(network.parameters()).device.type
        self.scaler = torch.amp.GradScaler(device, enabled=config.precision == "fp16")
        self.named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        top = len(network.backbone.stage_names) - 1
        by_group: dict[int, list[nn.Parameter]] = {top: [], HEADS: [], DISCRIMINATOR: []}
        for name, parameter in self.named.items():
            by_group.setdefault(_group_of(name, network), []).append(parameter)

        def rate(group: int) -> float:
            if group >= 0:
                return config.learning_rate * config.stage_lr_decay ** (top - group)
            factor = config.discriminator_lr_factor if group == DISCRIMINATOR else 1.0
            return config.learning_rate * config.head_lr_factor * factor

        groups = [{"params": some, "lr": rate(group)} for group, some in by_group.items()]
        self.base_rates = [rate(group) for group in by_group]
        with without_compiler():
            self.torch = _build(groups, config)
        if self.scaler.is_enabled() and isinstance(self.torch, torch.optim.SGD) and config.momentum:
            # Where its first step overflows and is left out, torch's fused SGD has made momentum of
            # uninitialized memory, with which the next step goes on. A first step from zeros is the
            # same, to the last digit.
            for parameter in self.named.values():
                self.torch.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained, in a fixed order; not what gradual unfreezing still holds."""
        return [parameter for parameter in self.named.values() if parameter.requires_grad]

    @property
    def rates(self) -> tuple[float, float]:
        """Learning rates of the backbone's top stage and of the heads as last set."""
        backbone, heads, *_ = self.torch.param_groups
        return float(backbone["lr"]), float(heads["lr"])

    def set_progress(self, p: float) -> None:
        """Set the rates for progress ``p`` in [0, 1]."""
        factor = lr_factor_at(p, self.config)
        for group, base in zip(self.torch.param_groups, self.base_rates, strict=True):
            group["lr"] = base * factor

    def backward(self, loss: Tensor) -> None:
        """Replace the gradients by those of ``loss``, scaled under fp16 until ``step``."""
        with without_compiler():
            self.torch.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Move the parameters, gradients first clipped to ``gradient_clipping`` where it is set.

        Under fp16 a step whose gradients overflowed is left out.
        """
        self.scaler.unscale_(self.torch)
        if self.config.gradient_clipping:
            nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clipping)
        with without_compiler():
            self.scaler.step(self.torch)
        self.scaler.update()

    def state(self) -> dict[str, Tensor]:
        """Momentum and the like as ``<parameter>/<kind>``; before the first step only of fp16."""
        scaler = self.scaler.state_dict()
        return {f"{SCALER}{kind}": torch.tensor(scaler[kind]) for kind in SCALING if scaler} | {
            f"{name}/{kind}": value
            for name, p in self.named.items()
            for kind, value in self.torch.state.get(p, {}).items()
            if isinstance(value, Tensor)
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        if scaling := {kind: one.item() for kind, one in with_prefix(state, SCALER).items()}:
            self.scaler.load_state_dict(self.scaler.state_dict() | scaling)
        for key, value in state.items():
            if key.startswith(SCALER):
                continue
            name, kind = key.rsplit("/", 1)
            parameter = self.named[name]
            # AdamW's count of steps is a number; all else lies as its parameter does.
            like = parameter if value.shape == parameter.shape else value.to(parameter.device)
            self.torch.state[parameter][kind] = torch.empty_like(like).copy_(value)


def _group_of(name: str, network: DannNetwork) -> int:
    if name.startswith("discriminator."):
        return DISCRIMINATOR
    if not name.startswith("backbone."):
        return HEADS
    return network.backbone.stage_of(plain_name(name.removeprefix("backbone.")))


def _build(
    groups: list[dict[str, object]], config: TrialConfig
) -> torch.optim.SGD | torch.optim.AdamW:
    """Build torch's optimizer; fused: one pass over the memory, and nothing read by the host."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(
        groups,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
        fused=True,
    )
