"""The catalogue of backbones: their names, stages and sizes. Without torch: drivers stay light."""

from dataclasses import dataclass

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


RESNET_STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
VGG_STAGES = ("block1", "block2", "block3", "block4", "block5")

HALF = (0.5, 0.5, 0.5)

DANN_NETWORKS = ("dann_cnn", "dann_mnist", "dann_svhn")
"""Small networks for digits, ours to build: see ``dann_cnn.py``."""

CATALOG: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            name="dann_cnn",
            stages=("conv1", "conv2", "conv3"),
            image_size=28,
            smallest=16,
            mean=HALF,
            std=HALF,
        ),
        BackboneSpec(
            name="dann_mnist",
            stages=("conv1", "conv2"),
            image_size=28,
            smallest=16,
            mean=HALF,
            std=HALF,
        ),
        BackboneSpec(
            name="dann_svhn",
            stages=("conv1", "conv2", "conv3"),
            image_size=32,
            smallest=16,
            mean=HALF,
            std=HALF,
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
            name="mobilenet_v3_large",
            stages=("stem", "stage1", "stage2", "stage3", "stage4"),
            image_size=224,
            smallest=16,
            weights="MobileNet_V3_Large_Weights.IMAGENET1K_V2",
        ),
        BackboneSpec(
            name="efficientnet_b0",
            stages=("stem", "stage1", "stage2", "stage3", "stage4", "stage5"),
            image_size=224,
            smallest=16,
            weights="EfficientNet_B0_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="efficientnet_v2_s",
            stages=("stem", "stage1", "stage2", "stage3", "stage4", "stage5"),
            image_size=384,
            smallest=16,
            weights="EfficientNet_V2_S_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="resnet18",
            stages=RESNET_STAGES,
            image_size=224,
            smallest=16,
            weights="ResNet18_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="resnet34",
            stages=RESNET_STAGES,
            image_size=224,
            smallest=16,
            weights="ResNet34_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="resnet50",
            stages=RESNET_STAGES,
            image_size=224,
            smallest=16,
            weights="ResNet50_Weights.IMAGENET1K_V2",
        ),
        BackboneSpec(
            name="resnet101",
            stages=RESNET_STAGES,
            image_size=224,
            smallest=16,
            weights="ResNet101_Weights.IMAGENET1K_V2",
        ),
        BackboneSpec(
            name="vgg16",
            stages=VGG_STAGES,
            image_size=224,
            smallest=32,
            weights="VGG16_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="vgg16_bn",
            stages=VGG_STAGES,
            image_size=224,
            smallest=32,
            weights="VGG16_BN_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="inception_v3",
            stages=("stem", "mixed5", "mixed6", "mixed7"),
            image_size=299,
            smallest=75,
            weights="Inception_V3_Weights.IMAGENET1K_V1",
            # The weights come from TensorFlow, which scales images to [-1, 1].
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        BackboneSpec(
            name="convnext_tiny",
            stages=("stem", "stage1", "stage2", "stage3", "stage4"),
            image_size=224,
            smallest=32,
            weights="ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="swin_t",
            stages=("stem", "stage1", "stage2", "stage3", "stage4"),
            image_size=224,
            smallest=32,
            weights="Swin_T_Weights.IMAGENET1K_V1",
        ),
        BackboneSpec(
            name="vit_b_16",
            stages=("stem", "blocks1", "blocks2", "blocks3", "blocks4"),
            image_size=224,
            smallest=224,
            only_size=True,
            weights="ViT_B_16_Weights.IMAGENET1K_V1",
        ),
    )
}
