"""The catalogue of backbones: their names, stages and sizes. Without torch: drivers stay light."""

from dataclasses import dataclass
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """One backbone.

    Attributes:
        name: what users write.
        stages: names of its stages, stem first; the unfrozen depth counts them from the top.
        image_size: native input side in pixels.
        smallest: smallest input side in pixels. May be left out for a backbone outside of the
            catalogue: a forward pass finds it (``sizes.py``).
        weights: source of its pre-trained weights: torchvision's name, such as
            ``ResNet18_Weights.IMAGENET1K_V1``, a URL, or timm's name; empty if there are none.
        only_size: whether it takes only images of its native side (position embeddings).
        multiple: the side must be a multiple of it: of a patch transformer, the side of a patch.
        mean, std: input normalization per channel.
        licence: of its pre-trained weights, as their publisher says; empty if not known.
    """

    name: str
    stages: tuple[str, ...]
    image_size: int
    smallest: int = 1
    weights: str = ""
    only_size: bool = False
    multiple: int = 1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    licence: str = ""

    @property
    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel."""
        return self.mean, self.std


HALF = (0.5, 0.5, 0.5)

DANN_NETWORKS = ("dann_cnn", "dann_mnist", "dann_svhn")
"""Small networks for digits, ours to build: see ``dann_cnn.py``."""


def _digits(name: str, image_size: int, convolutions: int) -> BackboneSpec:
    stages = tuple(f"conv{number + 1}" for number in range(convolutions))
    return BackboneSpec(
        name=name, stages=stages, image_size=image_size, smallest=16, mean=HALF, std=HALF
    )


def _torchvision(
    name: str, weights: str, stages: str, smallest: int, image_size: int = 224, **more: Any
) -> BackboneSpec:
    """Describe a network of torchvision's by its weights and its stages, separated by spaces."""
    where, which = weights.split()
    return BackboneSpec(
        name=name,
        stages=tuple(stages.split()),
        image_size=image_size,
        smallest=smallest,
        weights=f"{where}_Weights.IMAGENET1K_V{which}",
        **more,
    )


LAYERS = "stem layer1 layer2 layer3 layer4"
BLOCKS = "block1 block2 block3 block4 block5"
STAGES = "stem stage1 stage2 stage3 stage4"

CATALOG: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        _digits("dann_cnn", 28, 3),
        _digits("dann_mnist", 28, 2),
        _digits("dann_svhn", 32, 3),
        _torchvision("squeezenet1_1", "SqueezeNet1_1 1", "stem fire1 fire2 fire3", 24),
        _torchvision(
            "shufflenet_v2_x0_5", "ShuffleNet_V2_X0_5 1", "stem stage2 stage3 stage4 conv5", 16
        ),
        _torchvision("mobilenet_v3_small", "MobileNet_V3_Small 1", STAGES, 16),
        _torchvision("mobilenet_v3_large", "MobileNet_V3_Large 2", STAGES, 16),
        _torchvision("efficientnet_b0", "EfficientNet_B0 1", f"{STAGES} stage5", 16),
        _torchvision("efficientnet_v2_s", "EfficientNet_V2_S 1", f"{STAGES} stage5", 16, 384),
        _torchvision("resnet18", "ResNet18 1", LAYERS, 16),
        _torchvision("resnet34", "ResNet34 1", LAYERS, 16),
        _torchvision("resnet50", "ResNet50 2", LAYERS, 16),
        _torchvision("resnet101", "ResNet101 2", LAYERS, 16),
        _torchvision("vgg16", "VGG16 1", BLOCKS, 32),
        _torchvision("vgg16_bn", "VGG16_BN 1", BLOCKS, 32),
        # The weights come from TensorFlow, which scales images to [-1, 1].
        _torchvision(
            "inception_v3",
            "Inception_V3 1",
            "stem mixed5 mixed6 mixed7",
            75,
            299,
            mean=HALF,
            std=HALF,
        ),
        _torchvision("convnext_tiny", "ConvNeXt_Tiny 1", STAGES, 32),
        _torchvision("swin_t", "Swin_T 1", STAGES, 32),
        _torchvision(
            "vit_b_16", "ViT_B_16 1", "stem blocks1 blocks2 blocks3 blocks4", 224, only_size=True
        ),
    )
}
