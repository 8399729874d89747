"""Pre-trained weights: an explicit file, torch's cache, or a download, in that order. No pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dann_search.errors import InputError
from dann_search.models.catalog import CATALOG


def load_weights(backbone: str, files: Mapping[str, Path]) -> dict[str, Tensor] | None:
    """The pre-trained state of a torchvision network; None for a backbone that has none.

    Raises:
        InputError: the file is unreadable, or there is no file, no cached copy and no network.
    """
    if backbone in files:
        return read_state(files[backbone])
    if not CATALOG[backbone].weights:
        return None
    from dann_search.models.torchvision_models import weights_url

    url = weights_url(CATALOG[backbone].weights)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if cached.exists():
        return read_state(cached)
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, progress=False, check_hash=True, weights_only=True
        )
    # OSError: no network, no space. RuntimeError: torch's word for a wrong hash.
    except (OSError, RuntimeError) as exc:
        raise InputError(
            f"pre-trained weights of {backbone} are not on this machine and cannot be downloaded "
            f"({exc}). Put {cached.name} into {cached.parent}, or name a file under "
            f"weights: {{{backbone}: FILE}}, or set training.pretrained: false"
        ) from None
    return state


def read_state(file: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or from a torch file without unpickling objects.

    Raises:
        InputError: the file is no such file.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    # A damaged torch file fails wherever its zip or its opcodes break: KeyError, EOFError, …
    except Exception as exc:
        problem = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise InputError(f"{file}: not a readable weights file: {problem}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{file}: expected a state dict of tensors by name")
    return state
