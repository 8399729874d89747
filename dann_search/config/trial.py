"""Everything one training needs to know, as one frozen model."""

from typing import Literal

from pydantic import Field

from dann_search.config.strict import Strict

Method = Literal["dann", "source_only", "from_scratch"]


class TrialConfig(Strict):
    """The recipe of one trial: each field fixed under ``training`` or searched under ``space``."""

    method: Method = Field(
        "dann", description="from_scratch is source_only without pre-trained weights"
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
    seed: int = Field(0, ge=0, lt=2**31)

    learning_rate: float = Field(1e-3, gt=0, description="of the backbone at the start of training")
    head_lr_factor: float = Field(
        10.0, gt=0, description="the heads learn this much faster than the backbone"
    )
    lr_schedule: Literal["ganin", "cosine", "constant"] = "ganin"
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum of SGD")
    weight_decay: float = Field(1e-3, ge=0)
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

    lambda_schedule: Literal["constant", "linear", "ganin"] = "ganin"
    lambda_max: float = Field(
        1.0, ge=0, description="weight of the reversed gradient at its largest"
    )
    lambda_gamma: float = Field(10.0, gt=0, description="steepness of Ganin's schedule")
    lambda_warmup: float = Field(
        1.0, gt=0, le=1, description="share of training in which linear reaches its maximum"
    )

    rotation_degrees: float = Field(0.0, ge=0, le=180, description="largest rotation either way")
    translation: float = Field(
        0.0, ge=0, le=0.5, description="largest shift, as a fraction of the side"
    )
    horizontal_flip: float = Field(0.0, ge=0, le=1, description="probability")

    @property
    def adversarial(self) -> bool:
        """Whether a domain discriminator is trained and target images are used."""
        return self.method == "dann"


IMPLIED_CONDITIONS: dict[str, dict[str, str]] = {
    "lambda_schedule": {"method": "dann"},
    "lambda_max": {"method": "dann"},
    "lambda_gamma": {"method": "dann", "lambda_schedule": "ganin"},
    "lambda_warmup": {"method": "dann", "lambda_schedule": "linear"},
    "discriminator_width": {"method": "dann"},
}
"""Parameters with an effect only under another: the space adds these to what ``when`` says."""
