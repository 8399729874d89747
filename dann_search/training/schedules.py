"""Schedules of lambda and of the learning rate, all functions of training progress p in [0, 1]."""

import math

from dann_search.config.trial import TrialConfig


def lambda_at(p: float, config: TrialConfig) -> float:
    """Weight of the adaptation at progress ``p``: 0 up to ``lambda_delay``, then with

    q = (p - lambda_delay) / (1 - lambda_delay)

    - constant: ``lambda_max``
    - linear: ``lambda_max * min(1, q / lambda_warmup)``
    - cosine: ``lambda_max * (1 - cos(pi * min(1, q / lambda_warmup))) / 2``
    - ganin: ``lambda_max * (2 / (1 + exp(-lambda_gamma * q)) - 1)`` (Ganin et al. 2016, 5.2.2)
    """  # noqa: D415
    if p < config.lambda_delay:
        return 0.0
    q = (p - config.lambda_delay) / (1 - config.lambda_delay)
    warm = min(1.0, q / config.lambda_warmup)
    match config.lambda_schedule:
        case "constant":
            shape = 1.0
        case "linear":
            shape = warm
        case "cosine":
            shape = (1 - math.cos(math.pi * warm)) / 2
        case "ganin":
            shape = 2 / (1 + math.exp(-config.lambda_gamma * q)) - 1
    return config.lambda_max * shape


def lr_factor_at(p: float, config: TrialConfig) -> float:
    """Factor on every learning rate at progress ``p``: 1 at the start.

    - ganin: ``(1 + lr_gamma * p) ** -0.75`` (Ganin et al. 2016, section 5.2.2, with 10)
    - cosine: ``(1 + cos(pi p)) / 2``
    """
    match config.lr_schedule:
        case "constant":
            return 1.0
        case "cosine":
            return (1 + math.cos(math.pi * p)) / 2
        case "ganin":
            return float((1 + config.lr_gamma * p) ** -0.75)


def depth_at(epoch: int, config: TrialConfig, stages: int) -> int:
    """Stages that may be trained in ``epoch``, counted from 1.

    None, so the heads alone, in the first ``linear_probe_epochs`` (Kumar et al. 2022, section 3.4),
    and all after them. With ``gradual_unfreezing`` not 0, one stage more from the top every
    ``gradual_unfreezing`` epochs, after as many of the heads alone where there is no linear probe
    (Howard and Ruder 2018, section 3.3).
    """
    every = config.gradual_unfreezing
    probe = config.linear_probe_epochs if config.fine_tunes else 0
    if epoch <= (probe or every):
        return 0
    return min(stages, 1 + (epoch - 1 - (probe or every)) // every) if every else stages


def pseudo_labels_at(epoch: int, config: TrialConfig) -> bool:
    """Whether ``epoch``, counted from 1, also trains on pseudo labels.

    It does in the last ``pseudo_labels`` of the epochs, one at least where that is above 0, but
    never in the first, which begins with a network that has learnt nothing.
    """
    if not (config.adapts and config.pseudo_labels):
        return False
    count = max(1, round(config.pseudo_labels * config.epochs))
    return epoch > max(1, config.epochs - count)
