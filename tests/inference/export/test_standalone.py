"""The loader beside a safetensors export, which needs no dann-search."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from dann_search.errors import InputError
from dann_search.inference.best import write_best
from dann_search.inference.export import programs, safetensors_folder, standalone
from dann_search.inference.export.export import FORMATS, export_model
from dann_search.inference.export.verification import Images, verify
from dann_search.inference.model import load_model
from dann_search.models import registry
from dann_search.models.backbone import Backbone, StagedBackbone
from dann_search.models.catalog import BackboneSpec
from dann_search.models.registry import register_backbone, spec_of
from dann_search.storage.layout import ExperimentFolder
from tests.data.images import noise
from tests.inference.models import random_model, write_random_model

# One of each way in which torchvision builds its heads, at the smallest side that it takes.
FAMILIES = [
    ("dann_cnn", 16, 8), ("dann_mnist", 28, 8), ("dann_svhn", 32, 8), ("resnet18", 32, 0),
    ("vgg16", 32, 8), ("squeezenet1_1", 32, 8),
    ("shufflenet_v2_x0_5", 32, 8), ("mobilenet_v3_small", 32, 8), ("efficientnet_b0", 32, 8),
    ("inception_v3", 75, 8), ("convnext_tiny", 32, 8), ("swin_t", 32, 8), ("vit_b_16", 224, 0),
    ("timm/resnet10t", 32, 8), ("timm/test_vit", 48, 8), ("timm/convnextv2_atto", 64, 8),
]  # fmt: skip


@pytest.mark.parametrize(("backbone", "side", "bottleneck"), FAMILIES)
def test_the_loader_rebuilds_every_family_of_backbones(
    tmp_path: Path, backbone: str, side: int, bottleneck: int
) -> None:
    model = random_model(backbone, side=side, bottleneck=bottleneck)
    safetensors_folder.write(model, tmp_path)
    result = verify(model, safetensors_folder.open_written(tmp_path), random_images(side))
    assert result.max_difference < 1e-5
    assert result.top1_agree == result.images == 3


# Position embeddings, registers, attention pooling, rotary embeddings: at a side not their native.
@pytest.mark.parametrize(
    "backbone", ["timm/test_vit2", "timm/test_vit3", "timm/vit_small_patch16_dinov3"]
)
@pytest.mark.parametrize("format_", sorted(FORMATS.keys() - {"hf"}))  # as safetensors
def test_patch_transformers_are_exported_at_the_side_they_were_trained_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: str, format_: str
) -> None:
    spec_of(backbone)  # kept by name, so with every block
    import timm  # only now importable beside a CPU-only torch

    # One block shows what a dozen do, and is traced in a tenth of the time.
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=1))
    model = random_model(backbone, side=48)
    images = random_images(48)
    with torch.no_grad():
        model.network.get_parameter("classifier.weight").mul_(20)
    FORMATS[format_].write(model, tmp_path)
    result = verify(model, FORMATS[format_].open_written(tmp_path), images)
    assert result.max_difference < 1e-5


def random_images(side: int) -> Images:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 3, side, side)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return Images([one.permute(1, 2, 0).numpy() for one in pixels], "random images")


def test_a_vision_transformer_is_exported_for_any_number_of_images() -> None:
    with torch.device("meta"):  # no memory for its weights, nothing is computed
        exported = programs.export_program(random_model("vit_b_16", side=224))
    (batch,) = exported.range_constraints.values()
    assert batch.lower == 1 and batch.upper > 1000


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(3):
        noise(seed, 240, 230).save(folder / f"{seed}.png")
    return folder


FRESH = """
import importlib.metadata, json, re, sys

def plain(name):
    return re.sub("[-_.]+", "-", name).lower()

def needed(name, seen):
    # As pip would install it: what the package requires, without extras.
    name = plain(name)
    if name in seen:
        return
    seen.add(name)
    try:
        requires = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in requires:
        if "extra ==" not in line:
            needed(re.match(r"[A-Za-z0-9_.-]+", line).group(), seen)

packages = set()
for name in ("torch", "torchvision", "safetensors"):
    needed(name, packages)
owners = importlib.metadata.packages_distributions()
allowed = {top for top, names in owners.items() if {plain(n) for n in names} & packages}

class OnlyThose:
    # A finder that does not find what would not be installed.
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        known = top in allowed or top in sys.stdlib_module_names or top == "model"
        if known or top.startswith("_sysconfigdata"):
            return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [OnlyThose(finder) for finder in sys.meta_path]
for name in ("dann_search", "ray", "optuna", "sklearn", "timm"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported: this environment is not fresh")
first, second, *files = sys.argv[1:]
sys.path.insert(0, first)
from model import load
found = [load().predict(files), load(second).predict(files)]
print(json.dumps([[[p.label, p.probability] for p in of_one] for of_one in found]))
"""


def test_the_packages_that_the_card_names_load_the_export_and_predict(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "pictures")
    files = [str(path) for path in sorted(folder.iterdir())]
    of_torchvision = write_random_model(tmp_path / "model", "mobilenet_v3_small", side=32)
    models = [write_best(experiment).folder, of_torchvision]
    exports = [tmp_path / "elsewhere" / model.name for model in models]
    for model, out in zip(models, exports, strict=True):
        export_model(model, "safetensors", out=out, images=folder)
    words = [sys.executable, "-c", FRESH, *map(str, exports), *files]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for model, found in zip(models, json.loads(done.stdout), strict=True):
        expected = load_model(model).predict(files)
        assert [label for label, _ in found] == [one.label for one in expected]
        probabilities = [probability for _, probability in found]
        assert probabilities == pytest.approx([one.probability for one in expected], abs=1e-5)


@pytest.mark.parametrize("keep", [3, 60, -1])
def test_a_torn_weights_file_is_named(tmp_path: Path, keep: int) -> None:
    safetensors_folder.write(random_model("dann_cnn", side=16, bottleneck=8), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors: cannot be read"):
        standalone.load(tmp_path)


def test_a_wrong_bit_in_the_weights_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    safetensors_folder.write(random_model("dann_cnn", side=16, bottleneck=8), tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged or replaced"):
        standalone.load(tmp_path)


def test_a_backbone_of_ones_own_is_refused_with_the_formats_that_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.BACKBONES, "_entries", {})

    @register_backbone(BackboneSpec(name="own", stages=("all",), image_size=16, smallest=8))
    def build(state: object) -> Backbone:
        return StagedBackbone({"all": torch.nn.Conv2d(3, 5, 3)}, feature_size=5)

    folder = write_random_model(tmp_path / "model", "own", side=16)
    with pytest.raises(InputError, match="--format torch and --format onnx can hold it"):
        export_model(folder, "safetensors")
    assert export_model(folder, "torch").verification.max_difference < 1e-6
