"""Pre-trained weights: an explicit file, torch's cache, or a download, in that order. No pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dann_search.config.experiment import WeightsFile
from dann_search.errors import InputError
from dann_search.models.registry import TIMM, spec_of


def load_weights(backbone: str, files: Mapping[str, WeightsFile]) -> dict[str, Tensor] | None:
    """Load the pre-trained state of a backbone; None for one that has none.

    Raises:
        InputError: the file is unreadable, or there is no file, no cached copy and no network.
    """
    if backbone in files:
        return read_state(files[backbone].file)
    weights = spec_of(backbone).weights
    if not weights:
        return None
    if backbone.startswith(TIMM):
        from dann_search.models.timm_models import download

        try:
            return download(backbone)
        # The hub's client raises errors of its own, of its HTTP library and of the system.
        except Exception as exc:
            raise _missing(backbone, "Name", exc) from None
    url = weights
    if not weights.startswith("https://"):
        from dann_search.models.torchvision_models import weights_url

        url = weights_url(weights)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if cached.exists():
        return read_state(cached)
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, progress=False, check_hash=True, weights_only=True
        )
    # OSError: no network, no space. RuntimeError: torch's word for a wrong hash.
    except (OSError, RuntimeError) as exc:
        raise _missing(backbone, f"Put {cached.name} into {cached.parent}, or name", exc) from None
    return state


def _missing(backbone: str, remedy: str, exc: Exception) -> InputError:
    problem = " ".join(str(exc).split())[:200]
    return InputError(
        f"pre-trained weights of {backbone} are not on this machine and cannot be downloaded "
        f"({problem}). {remedy} a file under weights: {{{backbone}: FILE}}, "
        "or set training.pretrained: false"
    )


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
