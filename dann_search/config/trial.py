"""Everything one training needs to know, as one frozen model."""

from typing import Literal

from pydantic import Field

from dann_search.config.strict import Strict

Method = Literal["dann", "cdan", "mcc", "deep_coral", "source_only", "from_scratch"]


ADVERSARIAL: list[str] = ["dann", "cdan"]
ADAPTING: list[str] = [*ADVERSARIAL, "mcc", "deep_coral"]


class TrialConfig(Strict):
    """The recipe of one trial: each field fixed under ``training`` or searched under ``space``."""

    method: Method = Field(
        "dann",
        description="how the target's images are used; source_only does without, and from_scratch "
        "without pre-trained weights too",
    )
    backbone: str = Field("resnet50", description="name in the catalogue of backbones")
    pretrained: bool = Field(
        True, description="start from pre-trained weights where the backbone has any"
    )
    unfrozen_depth: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="stages trained, counted from the top; all of them where absent",
    )
    epochs: int = Field(20, ge=1, le=100_000, description="passes over the larger training split")
    batch_size: int = Field(
        32, ge=2, le=65_536, description="images a domain and step, over all workers"
    )
    class_balanced: bool = Field(
        False, description="draw each class of the source equally often rather than each image"
    )
    seed: int = Field(0, ge=0, lt=2**31)

    learning_rate: float = Field(1e-3, gt=0, description="of the backbone at the start of training")
    head_lr_factor: float = Field(
        10.0, gt=0, description="the heads learn this much faster than the backbone"
    )
    stage_lr_decay: float = Field(
        1.0, gt=0, le=1, description="each stage learns this much slower than the one above it"
    )
    gradual_unfreezing: int = Field(
        0,
        ge=0,
        le=100_000,
        description="epochs after which one more stage is trained, the heads alone at first; "
        "0 for all at once",
    )
    lr_schedule: Literal["ganin", "cosine", "constant"] = "ganin"
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD")
    weight_decay: float = Field(1e-3, ge=0)
    gradient_clipping: float = Field(
        0.0, ge=0, description="largest norm of the gradient; 0 for no limit"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a label's probability spread over all classes"
    )
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="of a moving average of the weights, validated; 0 for none"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="of forward passes; weights stay fp32, and the loss of fp16 is scaled",
    )
    batch_norm: Literal["joint", "separate", "frozen"] = Field(
        "separate",
        description="source and target in one forward pass, in two, or with fixed statistics",
    )
    bottleneck: int = Field(
        256, ge=0, le=65_536, description="width of the layer before the heads; 0 for none"
    )
    discriminator_width: int = Field(
        256, ge=1, le=65_536, description="hidden units of the domain discriminator"
    )

    discriminator_depth: int = Field(
        1, ge=0, le=16, description="hidden layers of the domain discriminator"
    )
    discriminator_dropout: float = Field(
        0.0, ge=0, lt=1, description="after each hidden layer of the domain discriminator"
    )

    lambda_schedule: Literal["constant", "linear", "cosine", "ganin"] = "ganin"
    lambda_max: float = Field(1.0, ge=0, description="weight of the adaptation at its largest")
    lambda_delay: float = Field(
        0.0, ge=0, lt=1, description="share of training before the schedule of lambda begins"
    )
    lambda_gamma: float = Field(10.0, gt=0, description="steepness of Ganin's schedule")
    lambda_warmup: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of training in which linear and cosine reach lambda_max",
    )

    rotation_degrees: float = Field(0.0, ge=0, le=180, description="largest rotation either way")
    translation: float = Field(
        0.0, ge=0, le=0.5, description="largest shift, as a fraction of the side"
    )
    horizontal_flip: float = Field(0.0, ge=0, le=1, description="probability")
    vertical_flip: float = Field(0.0, ge=0, le=1, description="probability")
    crop_scale: float = Field(
        1.0, gt=0, le=1, description="smallest share of the area a random resized crop keeps"
    )
    colour_jitter: float = Field(
        0.0,
        ge=0,
        le=1,
        description="largest change of brightness, contrast and saturation; of hue a quarter turn "
        "of it",
    )
    grayscale: float = Field(0.0, ge=0, le=1, description="probability")
    erasing: float = Field(0.0, ge=0, le=1, description="probability that a rectangle is hidden")
    policy_strength: float = Field(
        0.0, ge=0, le=1, description="of two random operations an image, as RandAugment's"
    )
    target_augmentation: float = Field(
        1.0, ge=0, le=1, description="strength on target images, as a share of the source's"
    )

    @property
    def adversarial(self) -> bool:
        """Whether a domain discriminator is trained."""
        return self.method in ADVERSARIAL

    @property
    def adapts(self) -> bool:
        """Whether target images are trained on."""
        return self.method in ADAPTING


IMPLIED_CONDITIONS: dict[str, dict[str, str | list[str]]] = {
    "lambda_schedule": {"method": ADAPTING},
    "lambda_max": {"method": ADAPTING},
    "lambda_delay": {"method": ADAPTING},
    "lambda_gamma": {"method": ADAPTING, "lambda_schedule": "ganin"},
    "lambda_warmup": {"method": ADAPTING, "lambda_schedule": ["linear", "cosine"]},
    "discriminator_width": {"method": ADVERSARIAL},
    "discriminator_depth": {"method": ADVERSARIAL},
    "discriminator_dropout": {"method": ADVERSARIAL},
    "momentum": {"optimizer": "sgd"},
}
"""Parameters with an effect only under another: the space adds these to what ``when`` says."""
