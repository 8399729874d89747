"""The catalogue of backbones: what each is called and made of. No torch: drivers stay light."""

from collections.abc import Iterable
from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """One backbone.

    Attributes:
        name: what users write.
        stages: names of its stages, stem first; unfrozen depth counts them from the end.
        image_size: native input side in pixels.
        smallest: smallest input side in pixels that its strides leave a feature of.
        weights: torchvision's name of its ImageNet weights, as ``ResNet18_Weights.IMAGENET1K_V1``;
            empty if none.
        mean, std: input normalization per channel.
    """

    name: str
    stages: tuple[str, ...]
    image_size: int
    smallest: int
    weights: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


RESNET_STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")

CATALOG: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="dann_cnn",
            stages=("conv1", "conv2", "conv3"),
            image_size=28,
            smallest=16,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        BackboneSpec(
            name="squeezenet1_1",
            stages=("stem", "fire1", "fire2", "fire3"),
            image_size=224,
            smallest=24,
            weights="SqueezeNet1_1_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="shufflenet_v2_x0_5",
            stages=("stem", "stage2", "stage3", "stage4", "conv5"),
            image_size=224,
            smallest=16,
            weights="ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="mobilenet_v3_small",
            stages=("stem", "stage1", "stage2", "stage3", "stage4"),
            image_size=224,
            smallest=16,
            weights="MobileNet_V3_Small_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="resnet18",
            stages=RESNET_STAGES,
            image_size=224,
            smallest=16,
            weights="ResNet18_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="resnet50",
            stages=RESNET_STAGES,
            image_size=224,
            smallest=16,
            weights="ResNet50_Weights.IMAGENET1K_V2",
        ),
        BackboneSpec(
            name="vgg16",
            stages=("block1", "block2", "block3", "block4", "block5"),
            image_size=224,
            smallest=32,
            weights="VGG16_Weights.IMAGENET1K_V1",
        ),
    )
}


def stage_counts() -> dict[str, int]:
    """Number of stages of every backbone, by name."""
    return {name: len(spec.stages) for name, spec in CATALOG.items()}


def largest_native_size(backbones: Iterable[str]) -> int:
    """The side in pixels at which images are packed where the user sets none."""
    return max(CATALOG[name].image_size for name in backbones)
