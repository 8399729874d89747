"""Pre-trained weights: an explicit file, torch's cache, or a download, in that order. Never a pickle."""

from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from dann_search.errors import InputError
from dann_search.models.catalog import CATALOG


def load_weights(backbone: str, files: Mapping[str, Path]) -> dict[str, Tensor] | None:
    """The pre-trained state of a torchvision network; None for a backbone that has none.

    Raises:
        InputError: the file is unreadable, or there is neither a file, nor a cached copy, nor a network.
    """
    if backbone in files:
        return read_state(files[backbone])
    if not CATALOG[backbone].weights:
        return None
    from dann_search.models.torchvision_models import tv

    weights = tv.get_weight(CATALOG[backbone].weights)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    if cached.exists():
        return read_state(cached)
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            weights.url, progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError) as exc:
        raise InputError(
            f"pre-trained weights of {backbone} are not on this machine and cannot be downloaded ({exc}). "
            f"Put {cached.name} into {cached.parent}, or name a file under weights: {{{backbone}: FILE}}, "
            "or set training.pretrained: false"
        ) from None
    return state


def read_state(file: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or from a torch file without unpickling objects."""
    import pickle

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return state
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError) as exc:
        raise InputError(f"{file}: not a readable weights file: {exc}") from None
