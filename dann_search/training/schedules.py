"""Schedules of lambda and of the learning rate, all functions of training progress p in [0, 1]."""

import math

from dann_search.config.trial import TrialConfig


def lambda_at(p: float, config: TrialConfig) -> float:
    """Weight of the reversed gradient at progress ``p``.

    - constant: ``lambda_max``
    - linear: ``lambda_max * min(1, p / lambda_warmup)``
    - ganin: ``lambda_max * (2 / (1 + exp(-lambda_gamma * p)) - 1)`` (Ganin et al. 2016, 5.2.2)
    """
    match config.lambda_schedule:
        case "constant":
            shape = 1.0
        case "linear":
            shape = min(1.0, p / config.lambda_warmup)
        case "ganin":
            shape = 2 / (1 + math.exp(-config.lambda_gamma * p)) - 1
    return config.lambda_max * shape


def lr_factor_at(p: float, config: TrialConfig) -> float:
    """Factor on every learning rate at progress ``p``: 1 at the start.

    - ganin: ``(1 + 10 p) ** -0.75`` (Ganin et al. 2016, section 5.2.2)
    - cosine: ``(1 + cos(pi p)) / 2``
    """
    match config.lr_schedule:
        case "constant":
            return 1.0
        case "cosine":
            return (1 + math.cos(math.pi * p)) / 2
        case "ganin":
            return float((1 + 10 * p) ** -0.75)
