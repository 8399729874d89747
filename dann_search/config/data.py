"""The ``data`` section of an experiment file: two domains, how they are split and sized."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from dann_search.config.strict import FieldError, Strict

EMBEDDED = ("digits", "digits-m", "digits-m4")
DataSet = Literal[
    "digits", "digits-m", "digits-m4", "cifar10", "stl10", "mnist", "usps", "svhn", "fashion_mnist"
]
Url = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://.")]
Place = Annotated[Url | Path, Field(union_mode="left_to_right")]
"""A local path, or a URL that fsspec reads (s3://, gs://, …)."""

NO_CLASSES = "the target has no labels, so which classes it has is not known; leave this out"
NEEDS_LABELS = "the target has no labels, so there is nothing to add this to; leave it out"
PLACES = ("folder", "manifest", "unlabelled")
KINDS = ("dataset", "folder", "manifest", "huggingface")
HUB_NAME = r"[\w.-]*\w[\w.-]*(/[\w.-]*\w[\w.-]*)?"


class TargetLabels(Strict):
    """Which training images of the target have labels that training may see."""

    train: Annotated[int, Field(ge=1)] | Literal["all"] | None = Field(
        None,
        description="number of images of each class, drawn from the target's training split; all "
        "for every one that has a label",
    )
    folder: Place | None = Field(
        None, description="further images for the target's training split, in one folder a class"
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.train is None) == (self.folder is None):
            raise ValueError("needs exactly one of: train, folder")
        return self

    def __str__(self) -> str:
        if self.folder is not None:
            return f"those of {self.folder}"
        return "all" if self.train == "all" else f"{self.train} a class"


class HuggingFaceSet(Strict):
    """A data set of Hugging Face's ``datasets``: which, and what of it is the domain."""

    name: str | None = Field(None, description="of a data set on the Hub, such as flwrlabs/pacs")
    folder: Place | None = Field(None, description="of a data set that save_to_disk wrote")
    subset: str | None = Field(None, description="name of a subset (configuration) on the Hub")
    revision: str | None = Field(
        None, description="tag or commit on the Hub; the newest by default"
    )
    split: str | None = Field(
        None,
        description="the split to take, or several joined by +, divided anew; by default its "
        "train, validation and test are the domain's",
    )
    where: dict[str, str] = Field(
        default_factory=dict, description="take the rows that have these values, by column"
    )
    label: str | None = Field(
        None,
        description="column of labels; by default the one that is called so, or else the one of "
        "kind ClassLabel",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.name is None) == (self.folder is None):
            raise ValueError("needs exactly one of: name, folder")
        if self.name is not None and not re.fullmatch(HUB_NAME, self.name):
            raise FieldError(
                ("name",),
                f"must be a name on the Hub such as flwrlabs/pacs, got {self.name!r}; a folder "
                "that save_to_disk wrote is named under 'folder'",
            )
        for key in ("subset", "revision"):
            if self.folder is not None and getattr(self, key) is not None:
                raise FieldError(
                    (key,), "is of a data set on the Hub, not of a folder; leave it out"
                )
        return self

    def __str__(self) -> str:
        return f"data set {self.name or self.folder}"

    @property
    def shown(self) -> str:
        """How the domain is called in tables, by what tells it from others of the data set."""
        place = Path(self.name or str(self.folder)).name
        return "-".join([place, *filter(None, (self.subset, self.split)), *self.where.values()])


class DomainConfig(Strict):
    """Where a domain's images come from."""

    dataset: DataSet | None = Field(None, description="an embedded data set or one of torchvision")
    root: Path | None = Field(None, description="folder of torchvision's data sets")
    folder: Place | None = Field(None, description="one folder a class; or train/, val/, test/")
    manifest: Place | None = Field(None, description="CSV or Parquet of path, label and split")
    huggingface: HuggingFaceSet | None = Field(
        None, description="a data set of Hugging Face: name (on the Hub) or folder (save_to_disk)"
    )
    unlabelled: Place | None = Field(
        None, description="folder of more images for the target's training split"
    )
    labelled: bool | None = Field(
        None,
        description="whether the target has labels; by default it has none where it is a folder of "
        "images without folders in it, or a manifest without a column of labels",
    )
    labels: TargetLabels | None = Field(
        None, description="labels of the target's training images to train on; none by default"
    )
    classes: dict[str, str] = Field(
        default_factory=dict, description="this domain's class names to those both domains share"
    )

    grey_bits: int | None = Field(
        None,
        ge=8,
        le=16,
        description="bits that the values of its 16-bit grey images use; found over all of them "
        "by default",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise ValueError(f"needs exactly one of: {', '.join(KINDS)}")
        if self.root is not None and (self.dataset is None or self.dataset in EMBEDDED):
            raise ValueError("root is the folder of a torchvision data set; name one under dataset")
        if self.labelled is False and (key := self.lacking_labels):
            raise FieldError((key,), NEEDS_LABELS)
        return self

    @property
    def lacking_labels(self) -> str | None:
        """Return a key that is stated and means nothing for a target without labels."""
        if self.unlabelled:
            return "unlabelled"
        return "classes" if self.classes and self.labels is None else None

    @property
    def name(self) -> str:
        """How the domain is called in tables."""
        if self.dataset:
            return self.dataset
        if self.huggingface:
            return self.huggingface.shown
        place = str(self.folder or self.manifest)
        return Path(place).stem if self.manifest else Path(place).name


class SplitsConfig(Strict):
    """Shares of the target's images, drawn by class and by content hash.

    A domain that comes with splits of its own keeps them; without a val split it gives a part of
    its training split, in the proportion of ``val`` to ``train``.
    """

    train: float = Field(0.6, gt=0, lt=1)
    val: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _sum(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, got {total:g}")
        return self


class SourceSplits(SplitsConfig):
    """Shares of the source's images: nothing reads a test split of it, so it needs none."""

    train: float = Field(0.8, gt=0, lt=1)
    test: float = Field(0.0, ge=0, lt=1)

    @classmethod
    def beside(cls, target: SplitsConfig) -> Self:
        """Return the default beside these splits of the target: as much for validation, no test."""
        return cls(train=1 - target.val, val=target.val, seed=target.seed)


def _one_or_several(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Sources = Annotated[
    Annotated[DomainConfig, Tag("one")]
    | Annotated[tuple[DomainConfig, ...], Field(min_length=1), Tag("several")],
    Discriminator(_one_or_several),
]


class DataConfig(Strict):
    """Source (one or several) and target domain and how they are split and sized."""

    source: Sources
    target: DomainConfig
    splits: SplitsConfig = SplitsConfig()
    source_splits: SourceSplits | None = Field(
        # Null in records of before there was another default: divided as the target.
        default_factory=lambda above: SourceSplits.beside(above.get("splits", SplitsConfig())),
        description="of the source; by default the val share of splits, and all the rest for "
        "training. null divides it as the target",
    )
    image_size: int | None = Field(
        None, ge=8, le=1024, description="side in pixels at which images are stored"
    )
    crop_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="side in pixels that the network sees of it: random crops in training, the "
        "centre elsewhere",
    )
    shared_classes_only: bool = Field(
        False, description="leave out images of classes that only one domain has"
    )
    unreadable: Literal["error", "skip"] = Field(
        "error", description="what to do about images that cannot be decoded"
    )
    conflicting_labels: Literal["error", "drop", "keep"] = Field(
        "keep", description="what to do about images that a domain holds under several labels"
    )
    transparency: Literal["white", "black", "ignored"] = Field(
        "white",
        description="what is seen through transparent pixels; ignored: the colours they hide",
    )
    store_limit_gib: float = Field(50.0, gt=0, description="largest packed store, in GiB")
    feature_limit_gib: float = Field(
        20.0,
        ge=0,
        description="most that features of frozen stages take beside the packed store, in GiB; the "
        "least recently used make room. 0 to keep none",
    )

    @property
    def sources(self) -> tuple[DomainConfig, ...]:
        """The source domains."""
        return (self.source,) if isinstance(self.source, DomainConfig) else self.source

    def splits_of(self, role: str) -> SplitsConfig:
        """How ``source`` or ``target`` is divided."""
        return (self.source_splits or self.splits) if role == "source" else self.splits

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop_size is None:
            return self
        if self.image_size is None:
            raise FieldError(("crop_size",), "needs image_size, the side that images are stored at")
        if self.crop_size > self.image_size:
            message = f"must be at most image_size ({self.image_size}), got {self.crop_size}"
            raise FieldError(("crop_size",), message)
        return self

    @model_validator(mode="after")
    def _different(self) -> Self:
        if self.target.model_copy(update={"labelled": None, "labels": None}) in self.sources:
            raise ValueError("source and target are the same domain")
        if len(set(map(repr, self.sources))) < len(self.sources):
            raise ValueError("the same domain is listed twice among the sources")
        if any(domain.unlabelled for domain in self.sources):
            raise ValueError("a source has labels: 'unlabelled' belongs to the target")
        if any(domain.labelled is not None for domain in self.sources):
            raise ValueError("a source has labels: 'labelled' belongs to the target")
        if any(domain.labels is not None for domain in self.sources):
            raise ValueError("all labels of a source are used: 'labels' belongs to the target")
        if self.target.labelled is False and self.shared_classes_only:
            raise FieldError(("shared_classes_only",), NO_CLASSES)
        return self
