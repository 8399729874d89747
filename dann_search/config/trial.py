"""The recipe of one trial, as one frozen model."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from dann_search.config.entries import OneOf
from dann_search.config.extensions import AUGMENTATIONS, METHODS, Option
from dann_search.config.strict import Strict

NO_EXTRA = "none"
"""Value of ``extra`` where no second method adds a term."""
AUTO = "auto"
"""Value of ``precision`` that stands for the fastest one; a trial never has it."""


class TrialConfig(Strict):
    """The recipe of one trial: each field fixed under ``training`` or searched under ``space``.

    Registered augmentations, and the options of registered methods, are fields too.
    """

    method: Annotated[str, OneOf(lambda: METHODS)] = Field(
        "dann",
        description="how target images are used; source_only uses none, and from_scratch neither "
        "them nor pre-trained weights",
    )
    backbone: str = Field("resnet50", description="name in the catalogue of backbones")
    pretrained: bool = Field(
        True, description="start from pre-trained weights if the backbone has any"
    )
    unfrozen_depth: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="number of trained stages, counted from the top; all of them if absent",
    )
    fine_tuning: Literal["stages", "lora"] = Field(
        "stages",
        description="what is trained of unfrozen stages: all weights, or low-rank adapters of "
        "their linear layers and convolutions, which the model's weights then contain",
    )
    lora_rank: int = Field(8, ge=1, le=1024, description="rank of the low-rank adapters")
    epochs: int = Field(
        20, ge=1, le=100_000, description="number of passes over the larger training split"
    )
    batch_size: int = Field(
        32, ge=2, le=65_536, description="images of each domain in a step, over all workers"
    )
    class_balanced: bool = Field(
        False, description="draw each class of the source equally often, rather than each image"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random in a training")

    learning_rate: float = Field(
        1e-3, gt=0, description="learning rate of the backbone at the start"
    )
    head_lr_factor: float = Field(
        10.0, gt=0, description="learning rate of the heads, as a multiple of the backbone's"
    )
    stage_lr_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="learning rate of a stage, as a multiple of that of the stage above",
    )
    gradual_unfreezing: int = Field(
        0,
        ge=0,
        le=100_000,
        description="epochs after which one more stage is trained, beginning with the heads only; "
        "0 to train all stages from the start",
    )
    linear_probe_epochs: int = Field(
        0,
        ge=0,
        le=100_000,
        description="epochs in which the heads alone are trained, before any stage",
    )
    head_init: Literal["random", "class_means"] = Field(
        "random",
        description="what the label classifier begins with: random weights, or those that choose "
        "the nearest mean of a class of the source, by the features before training",
    )
    lr_schedule: Literal["ganin", "cosine", "constant"] = Field(
        "ganin", description="how the learning rates fall during training"
    )
    lr_gamma: float = Field(
        10.0, gt=0, description="steepness of Ganin's schedule of the learning rates"
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD or AdamW")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD")
    weight_decay: float = Field(1e-3, ge=0, description="of all trained weights")
    gradient_clipping: float = Field(
        0.0, ge=0, description="largest norm of the gradient; 0 for no limit"
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a label's probability that is spread over all classes",
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of a moving average of the weights, which is validated; 0 for none",
    )
    precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        "fp32",
        description="precision of forward passes; weights stay fp32, and fp16 scales the loss; "
        "auto is bf16 for the backbones that it makes faster where the search begins, fp32 for "
        "others",
    )
    batch_norm: Literal["joint", "separate", "frozen", "domain"] = Field(
        "separate",
        description="both domains in one forward pass, in one each, with fixed statistics, or in "
        "one each with statistics of its own, of which the target's are kept",
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
        0.0, ge=0, lt=1, description="dropout after each hidden layer of the domain discriminator"
    )
    discriminator_norm: Literal["none", "batch", "spectral"] = Field(
        "none",
        description="batch norm after each hidden layer of the domain discriminator, or spectral "
        "norm of its layers",
    )
    discriminator_gradient_penalty: float = Field(
        0.0,
        ge=0,
        description="weight of the domain discriminator's squared gradient in what it sees",
    )
    discriminator_lr_factor: float = Field(
        1.0,
        gt=0,
        description="learning rate of the domain discriminator, as a multiple of the heads'",
    )

    extra: Annotated[str, OneOf(lambda: [NO_EXTRA, *possible_extras()])] = Field(
        NO_EXTRA, description="second method whose term is added to that of the first"
    )
    extra_weight: float = Field(
        1.0, ge=0, description="weight of the second method's term, as a multiple of lambda"
    )

    pseudo_labels: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="last share of the epochs that also train on the target's training images, "
        "under labels that the network gives the surest quarter of each class; 0 for none",
    )
    pseudo_label_weight: float = Field(
        1.0, gt=0, description="weight of the loss on these labels, from their first epoch on"
    )

    lambda_schedule: Literal["constant", "linear", "cosine", "ganin"] = Field(
        "ganin", description="how the weight of the adaptation rises during training"
    )
    lambda_max: float = Field(
        1.0,
        ge=0,
        description="largest weight of the adaptation, as a multiple of the method's trade-off",
    )
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

    target_augmentation: float = Field(
        1.0, ge=0, le=1, description="strength on target images, as a share of the source's"
    )
    views: int = Field(
        0,
        ge=0,
        le=1000,
        description="augmented views of each training image, of which an epoch shows one: 0 for "
        "new ones in every epoch, 1 for the image as it is; features of frozen stages are then "
        "computed once",
    )

    @property
    def fine_tunes(self) -> bool:
        """Whether training begins with a backbone worth keeping: not from_scratch."""
        return self.method != "from_scratch"

    @property
    def adversarial(self) -> bool:
        """Whether a domain discriminator is trained."""
        return bool(METHODS[self.method].discriminator)

    @property
    def adds_further(self) -> bool:
        """Whether a second term or a penalty stands beside the method's own term."""
        return self.extra != NO_EXTRA or self.discriminator_gradient_penalty > 0

    @property
    def adapts(self) -> bool:
        """Whether target images are trained on."""
        return METHODS[self.method].adapts

    @property
    def by_statistics(self) -> bool:
        """Whether batch norm alone adapts: there is no term for lambda to weigh."""
        return METHODS[self.method].by_statistics

    @property
    def strong_views(self) -> bool:
        """Whether target images are seen once more, under strong augmentation."""
        return METHODS[self.method].strong_views

    @property
    def uses_target_labels(self) -> bool:
        """Whether labelled training images of the target, where there are any, are trained on."""
        return METHODS[self.method].target_labels != "unused"

    @property
    def method_options(self) -> dict[str, Any]:
        """The values of the options that the method brings along."""
        return {one.name: getattr(self, one.name) for one in METHODS[self.method].options}


def possible_extras() -> list[str]:
    """Return the methods whose term can stand beside another: those that need no network."""
    return [
        name
        for name, method in METHODS.items()
        if method.adapts
        and not (method.by_statistics or method.discriminator or method.module or method.labels)
        and not (method.classifier == "cosine" or method.strong_views)
    ]


def adapting() -> list[str]:
    """Return the methods that train on target images."""
    return [name for name, method in METHODS.items() if method.adapts]


def weighed() -> list[str]:
    """Return the methods that have a term for lambda to weigh."""
    return [name for name in adapting() if not METHODS[name].by_statistics]


When = dict[str, str | list[str]]


def implied_conditions() -> dict[str, When]:
    """Return, by name, what a parameter needs of others to have an effect.

    The space adds these conditions to what ``when`` says.
    """
    weighs: When = {"method": weighed()}
    trains: When = {"method": adapting()}
    judged: When = {"method": [name for name, one in METHODS.items() if one.discriminator]}
    kept: When = {"method": [name for name in METHODS if name != "from_scratch"]}
    found = {n: judged for n in TrialConfig.model_fields if n.startswith("discriminator_")}
    for name, method in METHODS.items():
        found |= {option.name: {**option.when, "method": [name]} for option in method.options}
    found |= {one.name: dict(one.when) for one in AUGMENTATIONS.values() if one.when}
    found |= dict.fromkeys(("lambda_schedule", "lambda_max", "lambda_delay", "extra"), weighs)
    found |= dict.fromkeys(("pseudo_labels", "pseudo_label_weight"), trains)
    found |= dict.fromkeys(("fine_tuning", "linear_probe_epochs", "head_init"), kept)
    return found | {
        "lambda_gamma": {**weighs, "lambda_schedule": "ganin"},
        "lambda_warmup": {**weighs, "lambda_schedule": ["linear", "cosine"]},
        "extra_weight": {**weighs, "extra": possible_extras()},
        "lora_rank": {**kept, "fine_tuning": "lora"},
        "lr_gamma": {"lr_schedule": "ganin"},
        "momentum": {"optimizer": "sgd"},
    }


def own_options() -> dict[str, Option]:
    """Return the fields that augmentations and methods brought along, by name."""
    return dict(_options)


_options: dict[str, Option] = {}
_owners: dict[str, str] = {}


def _add_fields(owner: str, options: Iterable[Option]) -> None:
    """Make options fields of ``TrialConfig``.

    Raises:
        ValueError: there is such a field already.
    """
    for one in options:
        if one.name in TrialConfig.model_fields and _owners.get(one.name) != owner:
            raise ValueError(f"{owner}: a recipe already has a field {one.name}")
        limits: dict[str, Any] = {"gt" if one.above_low else "ge": one.low, "le": one.high}
        info = Field(one.neutral, description=one.description, **limits)
        field = FieldInfo.from_annotated_attribute(type(one.neutral), info)
        TrialConfig.__pydantic_fields__[one.name] = field
        _options[one.name], _owners[one.name] = one, owner
        TrialConfig.model_rebuild(force=True)


def _remove_fields(options: Iterable[Option]) -> None:
    """Remove the fields of options whose method or augmentation is forgotten."""
    for one in options:
        del TrialConfig.__pydantic_fields__[one.name], _options[one.name], _owners[one.name]
        TrialConfig.model_rebuild(force=True)


METHODS.follow(
    lambda method: _add_fields(f"method {method.name}", method.options),
    lambda method: _remove_fields(method.options),
)
AUGMENTATIONS.follow(
    lambda one: _add_fields(f"augmentation {one.name}", [one]), lambda one: _remove_fields([one])
)
