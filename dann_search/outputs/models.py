"""Results of best, evaluate, predict and export: a model, and how good it is."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.shared import (
    ClassRow,
    Interval,
    MetricIntervals,
    Metrics,
    PresentClasses,
    Recipe,
)


class ValidationMetrics(Output):
    """Metrics on the target's validation split, 0 to 1; averages over classes are unweighted."""

    accuracy_val: float = Field(description="share of images classified right")
    precision_macro_val: float = Field(description="mean precision")
    recall_macro_val: float = Field(description="mean recall")
    f1_macro_val: float = Field(description="mean F1")


class ChosenBy(Output):
    """What trials were ranked by."""

    objective: str = Field(description="f1_macro, or a validator's name")
    value: float | None = Field(
        description="that the trial has of it at its best epoch; null where an older version "
        "searched without it"
    )


class Refit(Output):
    """The training on training and validation images together."""

    epochs: int = Field(description="trained; as many as did best in the search")
    trained_on: list[str] = Field(description="splits, in words")
    validation_of_images_seen: ValidationMetrics | None = Field(
        description="of the last epoch; says nothing of other images; null where the target has no "
        "labels"
    )


class BestModel(Output):
    """A model that was written."""

    folder: Path = Field(description="its folder: what evaluate, predict and export take")
    model: Path = Field(description="path of model.safetensors in it")
    record: Path = Field(description="path of model.json in it")
    trial: int = Field(description="number of its trial")
    epoch: int = Field(description="the trial's best epoch, from 1, whose weights these are")
    validation: ValidationMetrics | None = Field(
        description="of the search's model; of a refit's too; null where the target has no labels"
    )
    validation_ci95: dict[str, Interval] = Field(
        description="by metric: accuracy, precision_macro, recall_macro, f1_macro; empty where the "
        "packed images are gone or the target has no labels"
    )
    config: Recipe
    chosen_by: ChosenBy = Field(description="what trials were ranked by")
    refit: Refit | None = Field(description="null without --refit")


class CalibrationError(Output):
    """How far probabilities can be believed; 0 is best."""

    ece: float = Field(description="expected calibration error, 15 bins, 0 to 1")
    nll: float = Field(description="mean negative log-likelihood of the labels, in nats")
    brier: float = Field(description="mean squared distance to the label's one-hot vector, 0 to 2")


class ReliabilityBin(Output):
    """The images whose largest probability lies in one bin."""

    low: float = Field(description="lower edge, exclusive except for 0")
    high: float = Field(description="upper edge, inclusive")
    n: int = Field(description="images in the bin")
    confidence: float | None = Field(description="mean largest probability; null without images")
    accuracy: float | None = Field(description="share classified correctly; null without images")


class Scores(Metrics):
    """Predicted classes against the labels of a set of images."""

    split: str = Field(description="test, or the folder or manifest that --data names")
    n: int = Field(description="images")
    ci95: MetricIntervals = Field(description="95 % intervals of the four metrics")
    per_class: list[ClassRow] = Field(description="in label order")
    absent_classes: list[str] = Field(
        description="classes without an image here; they count as 0 in the macro averages, but not "
        "in those of present"
    )
    present: PresentClasses = Field(
        description="the same averages over the classes with images alone"
    )
    confusion: list[list[int]] = Field(
        description="images by true class (rows) and predicted class (columns), in label order"
    )


class Measurement(CalibrationError, Scores):
    """Predicted probabilities against the labels of a set of images."""

    temperature: float = Field(description="divisor of the logits; 1 if not calibrated")
    reliability: list[ReliabilityBin] = Field(description="15 bins of equal width")
    uncalibrated: CalibrationError | None = Field(
        description="the same at temperature 1; null if the model is not calibrated"
    )


class Rejection(Output):
    """Images that a model is too unsure of, perhaps of classes that the source lacks."""

    threshold: float = Field(
        description="largest probability, uncalibrated, below which an image is rejected: set so "
        "that 5 % of the source's validation images are"
    )
    source_share: float = Field(description="of the source's validation images, 0 to 1")
    rejected: int = Field(description="images below the threshold")
    share: float | None = Field(description="of these images, 0 to 1; null without images")


class Evaluation(Measurement):
    """A model measured on labelled images of the target."""

    model: str = Field(description="folder of the model")
    trial: int = Field(description="number of the model's trial")
    epoch: int = Field(description="that trial's best epoch, from 1, whose weights these are")
    rejection: Rejection | None = Field(
        description="how many images the model is too unsure of; null where it has no rule"
    )


class LabelProbability(Output):
    """A class and how likely it is."""

    label: str = Field(description="name of the class")
    probability: float = Field(description="0 to 1")


class FilePrediction(Output):
    """The model's prediction for one file. Each line of ``--format jsonl`` is such an object."""

    path: str = Field(description="of the file, as it was found; bytes that are no UTF-8 replaced")
    label: str | None = Field(description="the likeliest class; null where it cannot be read")
    probability: float | None = Field(description="of that class, 0 to 1; null as label")
    top: list[LabelProbability] = Field(
        description="as many classes as --top asks for, the likeliest first; empty as label is null"
    )
    refused: bool = Field(description="whether its probability is below --threshold")
    error: str | None = Field(description="why it cannot be read; null where it can")


class Refusal(Output):
    """Labels that ``--threshold`` refused."""

    threshold: float = Field(description="probability, as written, below which a label is refused")
    refused: int = Field(description="images refused")
    share: float | None = Field(description="of the images read, 0 to 1; null without any")
    expected_share: float | None = Field(
        description="of the target's validation images, 0 to 1; null where the model's experiment "
        "is not found"
    )


class Predictions(Output):
    """Images that were classified. If no file can be read, the command fails instead."""

    model: Path = Field(description="folder of the model")
    images: int = Field(description="files, those that cannot be read included")
    unreadable: int = Field(description="files that cannot be read")
    out: Path | None = Field(description="the file that --out names; null without")
    device: str = Field(description="cpu or cuda")
    elapsed_s: float = Field(description="seconds, without loading the model")
    images_per_s: float | None = Field(description="images a second; null if it took no time")
    rejection: Rejection | None = Field(
        description="how many images the model is too unsure of; null where it has no rule"
    )
    refusal: Refusal | None = Field(description="null without --threshold")
    sheet: Path | None = Field(description="the page that --sheet names; null without")
    predictions: list[FilePrediction] | None = Field(
        description="in the order of the files; null with --out, which has them"
    )


class Verification(Output):
    """How an export compared with its model; an export that differs by more is not written."""

    images: int = Field(description="images compared")
    of: str = Field(description="which, in words")
    max_difference: float = Field(description="largest of any probability on any image")
    top1_agree: int = Field(description="images whose likeliest class is the same")
    tolerance: float = Field(description="largest difference allowed")

    def __str__(self) -> str:
        return (
            f"verified on {self.images} {self.of}: largest difference of probabilities "
            f"{self.max_difference:.1e} (tolerance {self.tolerance:.0e}), top-1 agrees on "
            f"{self.top1_agree} of {self.images}"
        )


class Export(Output):
    """A model that was written for use without dann-search."""

    export: Path = Field(description="its folder")
    model: Path = Field(description="folder of the model it was made from")
    trial: int = Field(description="number of that model's trial")
    format: Literal["safetensors", "onnx", "torch", "hf"] = Field(description="as asked for")
    files: list[Path] = Field(description="paths of what was written")
    verification: Verification = Field(description="how it compared with its model")
    elapsed_s: float = Field(description="seconds, verification included")

    @property
    def folder(self) -> Path:
        """The folder of the export, as of every other model."""
        return self.export
