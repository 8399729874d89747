"""Fixtures every test may use."""

import torch

from tests.ray_fixtures import faults, local_ray, no_faults

torch.set_num_threads(1)

__all__ = ["faults", "local_ray", "no_faults"]
