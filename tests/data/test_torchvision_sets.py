"""torchvision's data sets, in the files that they are published in, written small."""

import bz2
import hashlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from numpy.typing import NDArray

from dann_search.data.torchvision_sets import load_torchvision_domain
from dann_search.data.torchvision_shim import torchvision
from dann_search.errors import InputError

Pixels = NDArray[np.uint8]
TRAIN, TEST = 12, 5
LABELS = {"train": np.arange(TRAIN) % 10, "test": np.arange(TEST) % 10}


def images(split: str, shape: tuple[int, ...]) -> Pixels:
    rng = np.random.default_rng(split == "test")
    return rng.integers(0, 256, (len(LABELS[split]), *shape), dtype=np.uint8)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def write_mnist(root: Path, kind: str = "MNIST") -> None:
    raw = root / kind / "raw"
    raw.mkdir(parents=True)
    for split, name in ("train", "train"), ("test", "t10k"):
        pixels, labels = images(split, (28, 28)), LABELS[split].astype(np.uint8)
        header = struct.pack(">IIII", 0x803, len(pixels), 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = struct.pack(">II", 0x801, len(labels))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def write_usps(root: Path) -> None:
    for split, name in ("train", "usps.bz2"), ("test", "usps.t.bz2"):
        lines = []
        for label, image in zip(LABELS[split], images(split, (16, 16)), strict=True):
            values = enumerate(image.reshape(-1) / 255 * 2 - 1, 1)
            lines.append(f"{label + 1} " + " ".join(f"{i}:{v:.6f}" for i, v in values))
        (root / name).write_bytes(bz2.compress("\n".join(lines).encode()))


def write_svhn(root: Path, patch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    known = {}
    for split in LABELS:
        file = root / f"{split}_32x32.mat"
        pixels = images(split, (32, 32, 3)).transpose(1, 2, 3, 0)
        # The published files call the digit 0 a 10.
        labels = np.where(LABELS[split] == 0, 10, LABELS[split])[:, None]
        savemat(file, {"X": pixels, "y": labels})
        known[split] = ["", file.name, md5(file)]
    patch.setattr(torchvision.datasets.SVHN, "split_list", known)


def write_stl10(root: Path, patch: pytest.MonkeyPatch) -> None:
    folder = root / "stl10_binary"
    folder.mkdir()
    for split in LABELS:
        by_column = images(split, (3, 96, 96)).transpose(0, 1, 3, 2)
        (folder / f"{split}_X.bin").write_bytes(by_column.tobytes())
        (folder / f"{split}_y.bin").write_bytes((LABELS[split] + 1).astype(np.uint8).tobytes())
    (folder / "class_names.txt").write_text("\n".join(STL10))
    kind = torchvision.datasets.STL10
    patch.setattr(
        kind,
        "train_list",
        [
            *([name, md5(folder / name)] for name in ("train_X.bin", "train_y.bin")),
            ["class_names.txt", md5(folder / "class_names.txt")],
        ],
    )
    patch.setattr(kind, "test_list", [[n, md5(folder / n)] for n in ("test_X.bin", "test_y.bin")])


def write_cifar10(root: Path, patch: pytest.MonkeyPatch) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    kind = torchvision.datasets.CIFAR10
    for split, names in ("train", ["data_batch_1"]), ("test", ["test_batch"]):
        content = {"data": images(split, (3072,)), "labels": LABELS[split].tolist()}
        (folder / names[0]).write_bytes(pickle.dumps(content))
        patch.setattr(kind, f"{split}_list", [[n, md5(folder / n)] for n in names])
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CIFAR10}))
    meta = kind.meta | {"md5": md5(folder / "batches.meta")}
    patch.setattr(kind, "meta", meta)


CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STL10 = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
DIGITS = [str(digit) for digit in range(10)]
WRITERS: dict[str, tuple[Callable[[Path, Any], None], tuple[int, ...], list[str]]] = {
    "mnist": (lambda root, _: write_mnist(root), (28, 28), DIGITS),
    "usps": (lambda root, _: write_usps(root), (16, 16), DIGITS),
    "svhn": (write_svhn, (32, 32, 3), DIGITS),
    "stl10": (write_stl10, (3, 96, 96), STL10),
    "cifar10": (write_cifar10, (3072,), CIFAR10),
    "fashion_mnist": (lambda root, _: write_mnist(root, "FashionMNIST"), (28, 28), []),
}


@pytest.mark.parametrize("name", WRITERS)
def test_images_labels_and_official_splits_are_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, shape, classes = WRITERS[name]
    write(tmp_path, monkeypatch)
    domain = load_torchvision_domain(name, tmp_path)
    assert list(domain.class_names) == (classes or torchvision.datasets.FashionMNIST.classes)
    assert domain.splits == ["train"] * TRAIN + ["test"] * TEST
    assert domain.labels.tolist() == [*LABELS["train"], *LABELS["test"]]
    assert len(set(domain.keys)) == TRAIN + TEST
    side = 32 if shape == (3072,) else max(shape)
    pixels = images("test", shape)[2]
    expected = pixels.reshape(3, 32, 32) if shape == (3072,) else pixels
    if shape[-1] == 3:
        expected = expected.transpose(2, 0, 1)
    shown = domain.decode(TRAIN + 2, side).astype(int)
    assert shown.shape == (3, side, side)
    assert abs(shown - expected).max() <= 1  # USPS comes as rounded decimals


def test_a_set_that_cannot_be_had_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: Any, **options: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", unreachable)
    with pytest.raises(InputError, match=r"cifar10: its train images are not below .*no route to "
                       r"host.*; put them there as torchvision\.datasets\.CIFAR10"):  # fmt: skip
        load_torchvision_domain("cifar10", tmp_path)


def test_a_changed_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    def unreachable(*args: Any, **options: Any) -> None:
        raise URLError("offline")

    write_cifar10(tmp_path, monkeypatch)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", unreachable)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="its train images are not below"):
        load_torchvision_domain("cifar10", tmp_path)
    assert not (tmp_path / "sprung").exists()
