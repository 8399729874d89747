"""An image is the same bytes by whatever way it is read, and the same to every network."""

import importlib.util
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dann_search.config.data import DataConfig, DomainConfig
from dann_search.config.trial import TrialConfig
from dann_search.data import image_pixels
from dann_search.data.decode import Preparation, decode_image
from dann_search.data.folder import load_folder_domain
from dann_search.data.open_domain import open_pair
from dann_search.data.splits import split_domain
from dann_search.data.store import pack, read_info
from dann_search.errors import InputError
from dann_search.evaluation.evaluation_set import file_batches, labelled_images
from dann_search.inference.batched_logits import logits_of, stored_batches
from dann_search.inference.best import _preprocessing, weights_of
from dann_search.inference.export import programs, safetensors_folder, standalone
from dann_search.inference.export.export import FORMATS, export_model
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_files import write_model
from dann_search.inference.predict import predict_files
from tests.data.images import noise
from tests.inference.models import make_sensitive, random_model, write_random_model

SIDE = 24
TURNED_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright image is to be stored for its EXIF orientation to turn it back."""

Pixels = NDArray[np.uint8]
Saved = tuple[Image.Image, str, dict[str, Any]]


def grey(dtype: str) -> Image.Image:
    """A ramp over the whole of 16 bits."""
    values = np.linspace(0, 65535, 40 * 50).reshape(40, 50)
    return Image.fromarray(values.astype(np.uint16).astype(dtype))


def as_stored(orientation: int) -> Saved:
    upright = noise(7, 90, 60)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = TURNED_BY.get(orientation)
    return upright if turn is None else upright.transpose(turn), "png", {"exif": exif}


def transparent(transparency: int | bytes) -> Saved:
    return noise(3, 30, 40).quantize(16), "png", {"transparency": transparency}


def jpeg(height: int, width: int, mode: str = "RGB", **options: Any) -> Saved:
    return noise(4, height, width).convert(mode), "jpg", {"quality": 90, **options}


ODD: dict[str, Saved] = {
    **{f"turned {number}": as_stored(number) for number in range(1, 9)},
    "turned jpeg": jpeg(90, 60, exif=as_stored(6)[2]["exif"]),
    "turned tiff": (as_stored(5)[0], "tif", as_stored(5)[2]),
    "turned webp": (as_stored(8)[0], "webp", as_stored(8)[2]),
    "turned grey of 16 bits": (grey("u2"), "png", as_stored(6)[2]),
    "turned grey of 16 bits, packed": (
        grey(">u2"), "tif", {**as_stored(6)[2], "compression": "tiff_lzw"}),
    "grey of 16 bits": (grey("u2"), "png", {}),
    "grey of 16 bits, big endian": (grey(">u2"), "tif", {}),
    "grey of 16 in 32 bits": (grey("i4"), "tif", {}),
    "grey": (noise(0, 30, 40).convert("L"), "png", {}),
    "grey and alpha": (noise(1, 30, 40).convert("LA"), "png", {}),
    "alpha": (noise(2, 30, 40).convert("RGBA"), "png", {}),
    "palette": (noise(3, 30, 40).quantize(16), "png", {}),
    "palette, one colour transparent": transparent(3),
    "palette, alpha by colour": transparent(bytes(range(0, 160, 10))),
    "black and white": (noise(5, 30, 40).convert("1"), "png", {}),
    "cmyk": jpeg(60, 90, "CMYK"),
    "ycbcr": (noise(6, 30, 40).convert("YCbCr"), "tif", {}),
    "lab": (noise(6, 30, 40).convert("LAB"), "tif", {}),
    "tall": jpeg(900, 30),
    "large": jpeg(600, 900),
    "progressive": jpeg(300, 400, progressive=True),
    "tiny": (noise(8, 1, 2), "png", {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> DannModel:
    return random_model("dann_cnn", side=16, stored=SIDE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """``model.py`` as an export has it."""
    path = tmp_path_factory.mktemp("export") / "model.py"
    path.write_text(safetensors_folder.loader())
    return imported(path)


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
    return module


def _carried(loader: ModuleType, model: DannModel) -> Any:
    """The classifier that a module of an export makes of a model."""
    return loader.Classifier(model.network, model.record)


def saved(folder: Path, name: str) -> Path:
    image, kind, options = ODD[name]
    path = folder / f"image.{kind}"
    image.save(path, **options)
    return path


def loaded(path: Path) -> Image.Image:
    image = Image.open(path)
    image.load()
    return image


def of_memory(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def of_domain(path: Path) -> Pixels:
    """As packing, and ``evaluate --data``, decode it."""
    path.parent.joinpath("class").mkdir()
    path.rename(path.parent / "class" / path.name)
    return load_folder_domain(path.parent).decode(0, SIDE)


WAYS: dict[str, Callable[[Path], Any]] = {
    "its name": str,
    "a binary file": lambda path: io.BytesIO(path.read_bytes()),
    "opened": Image.open,
    "opened and loaded": loaded,
    "opened in memory": of_memory,
    "copied": lambda path: Image.open(path).copy(),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", ODD)
def test_an_odd_image_is_the_same_bytes_by_every_way(
    tmp_path: Path, model: DannModel, exported: ModuleType, name: str
) -> None:
    path = saved(tmp_path, name)
    expected = decode_image(path, SIDE)
    assert expected.shape == (3, SIDE, SIDE) and expected.dtype == np.uint8
    for way, given in WAYS.items():
        assert (decode_image(given(path), SIDE) == expected).all(), way
        assert (model.batch([given(path)])[0].numpy() == expected).all(), way
        for loader in (standalone, exported):
            classifier = _carried(loader, model)
            assert (classifier.read(given(path)) == expected).all(), way
    assert (of_domain(path) == expected).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_seen_upright_whichever_way_it_is_stored(
    tmp_path: Path, orientation: int
) -> None:
    expected = decode_image(noise(7, 90, 60), SIDE)
    for kind in ("png", "tif"):
        stored, _, options = as_stored(orientation)
        stored.save(tmp_path / f"turned.{kind}", **options)
        assert (decode_image(tmp_path / f"turned.{kind}", SIDE) == expected).all(), kind
        assert (decode_image(Image.open(tmp_path / f"turned.{kind}"), SIDE) == expected).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_a_turned_tiff_that_pillow_would_map_is_not_sheared(tmp_path: Path, mode: str) -> None:
    stored, _, options = as_stored(6)
    stored.convert(mode).save(tmp_path / "turned.tif", **options)
    expected = decode_image(noise(7, 90, 60).convert(mode), SIDE)
    assert (decode_image(tmp_path / "turned.tif", SIDE) == expected).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    shallow = Image.fromarray((np.asarray(grey("u2")) >> 8).astype(np.uint8))
    expected = decode_image(shallow, SIDE)
    for name in (name for name in ODD if name.startswith("grey of 16")):
        assert (decode_image(Image.open(saved(tmp_path, name)), SIDE) == expected).all(), name


def test_damaged_exif_turns_no_image_and_refuses_none(tmp_path: Path) -> None:
    upright, path = noise(1), tmp_path / "damaged.jpg"
    upright.save(path, exif=b"Exif\0\0no header of a TIFF")
    upright.save(tmp_path / "plain.jpg")
    expected = image_pixels.read_pixels(tmp_path / "plain.jpg", SIDE)
    with Image.open(path) as opened:
        ways: list[image_pixels.ImageSource] = [path, opened, opened.copy(), opened.convert("RGB")]
        for given in ways:
            assert (image_pixels.read_pixels(given, SIDE) == expected).all()


def test_what_is_no_image_at_all_is_refused_by_its_type(model: DannModel) -> None:
    number: Any = 3
    with pytest.raises(
        InputError, match=r"of type int: not a readable .* Pillow image or an array"
    ):
        model.predict([number])
    with pytest.raises(InputError, match=r"an array of uint8 \(9, 9, 7\): not a readable image"):
        model.predict([np.zeros((9, 9, 7), np.uint8)])


def test_a_torn_file_is_refused_by_its_name(
    tmp_path: Path, model: DannModel, exported: ModuleType
) -> None:
    noise(2, 90, 140).save(tmp_path / "torn.jpg", quality=90)
    (tmp_path / "torn.jpg").write_bytes((tmp_path / "torn.jpg").read_bytes()[:300])
    for loader, error in ((model, InputError), (_carried(exported, model), ValueError)):
        with pytest.raises(error, match=r"torn\.jpg: not a readable image"):
            loader.predict([tmp_path / "torn.jpg"])


def test_a_pillow_image_stays_as_it_was(tmp_path: Path) -> None:
    image = Image.open(saved(tmp_path, "turned jpeg"))
    size, mode, bytes_before = image.size, image.mode, image.copy().tobytes()
    first, again = (decode_image(image, SIDE) for _ in range(2))
    assert (first == again).all()
    assert (image.size, image.mode, image.tobytes()) == (size, mode, bytes_before)
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("mode", "between"),
    [("HSV", "RGB"), ("PA", "P"), ("RGBX", "RGB"), ("RGBa", "RGBA"), ("LAB", "RGB")],
)
def test_a_mode_that_files_seldom_have_looks_as_its_rgb(mode: str, between: str) -> None:
    image = noise(1, 30, 40)
    decoded = decode_image(image.convert(between).convert(mode), SIDE).astype(int)
    assert abs(decoded - decode_image(image, SIDE)).mean() < (30 if between == "P" else 3)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((9, 9), 0.5, np.float32), "floating-point numbers of unknown range"),
        (np.full((9, 9), 2**16, np.int32), "32-bit numbers of unknown range"),
        (np.full((9, 9), -1, np.int32), "32-bit numbers of unknown range"),
    ],
)
def test_numbers_of_unknown_range_are_refused_alike_by_path_and_as_an_image(
    tmp_path: Path,
    model: DannModel,
    exported: ModuleType,
    values: NDArray[np.generic],
    reason: str,
) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray(values).save(path)
    refused = rf"deep\.tif: not a readable image: its pixels are {reason}"
    for given in (path, Image.open(path)):
        with pytest.raises(InputError, match=refused):
            model.predict([given])
        with pytest.raises(ValueError, match=refused):
            _carried(exported, model).read(given)
    with pytest.raises(InputError, match=f"an image of mode .: not a readable .* {reason}"):
        model.predict([Image.fromarray(values)])


def test_a_tensor_is_prepared_as_the_images_it_holds(
    model: DannModel, exported: ModuleType
) -> None:
    images = [noise(seed, 40, 50) for seed in range(2)]
    tensor = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
    expected = model.batch(images)
    assert expected.shape == (2, 3, SIDE, SIDE)
    assert torch.equal(model.batch(tensor), expected)
    assert torch.equal(model.batch(expected), expected)
    classifier = _carried(exported, model)
    assert torch.equal(classifier.batch(tensor), expected)
    assert torch.equal(classifier.batch(expected), expected)


STORED, SEEN = 40, 28
"""Sides of the images packed and of those that the network sees: as with several backbones."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains as a search without ``image_size`` packs them, and a model of it."""
    root = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("source", "target")):
        for label, folder in enumerate(
            root / name / one for one in ("bike", "mug", "lamp", "desk")
        ):
            folder.mkdir(parents=True)
            for image in range(5):
                sharp = noise(100 * number + 10 * label + image, 9, 11).resize((110, 90), 0)
                sharp.save(folder / f"{image}.png")
    pack(config_of(root), STORED, root / "store")
    model = random_model("dann_cnn", side=SEEN, stored=STORED, bottleneck=0)
    make_sensitive(model, sorted(root.rglob("*.png")))
    write_model(root / "model", weights_of(model.network), model.record)
    return root


def config_of(root: Path) -> DataConfig:
    return DataConfig(
        source=DomainConfig(folder=root / "source"), target=DomainConfig(folder=root / "target")
    )


def packed(root: Path, model: DannModel) -> tuple[list[Path], NDArray[np.float64]]:
    """The target's test files, and the probabilities that ``evaluate`` makes of their pixels."""
    target = open_pair(config_of(root), root).target
    rows = split_domain(target, config_of(root).splits_of("target"))["test"]
    logits = logits_of(model, stored_batches(root / "store", "target", "test", SEEN))
    probabilities = torch.from_numpy(logits / model.temperature).softmax(1).numpy()
    return [Path(target.places[row]) for row in rows], probabilities


def test_predictions_are_those_of_the_pixels_that_were_packed(photos: Path, tmp_path: Path) -> None:
    model = load_model(photos / "model")
    files, expected = packed(photos, model)
    straight = torch.from_numpy(np.stack([decode_image(file, SEEN) for file in files]))
    with torch.no_grad():
        assert np.abs(model.probabilities(straight).numpy() - expected).max() > 0.01
    assert len(files) == 4
    for images in (files, [Image.open(file) for file in files]):
        found = [list(one.probabilities.values()) for one in model.predict(images)]
        assert np.abs(np.array(found) - expected).max() < 1e-6
    by_name = [
        {label.label: label.probability for label in one.top}
        for one in predict_files(photos / "model", files, top=4)
    ]
    named = [[one[name] for name in model.class_names] for one in by_name]
    assert np.abs(np.array(named) - expected).max() < 1e-6
    batches = file_batches(labelled_images(model.class_names, photos / "target"), model)
    assert next(batches).shape[1:] == (3, STORED, STORED)


@pytest.mark.parametrize("format_", sorted(FORMATS.keys() - {"hf"}))  # as safetensors
def test_exports_see_the_pixels_that_were_packed(
    photos: Path, tmp_path: Path, format_: str
) -> None:
    model = load_model(photos / "model")
    files, expected = packed(photos, model)
    folder = export_model(photos / "model", format_, out=tmp_path / format_).folder
    if format_ == "safetensors":
        one_by_one = imported(folder / "model.py").load().predict(files)
        found = np.array([list(one.probabilities.values()) for one in one_by_one])
    else:
        assert re.findall(r'read_pixels\("photo.jpg", (\d+)\)', card(folder)) == [str(STORED)]
        found = FORMATS[format_].open_written(folder)(files).numpy()
    assert np.abs(found - expected).max() < 1e-5


def card(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_the_record_says_at_which_side_images_were_packed(photos: Path) -> None:
    info = read_info(photos / "store")
    assert not info.fixed_size
    record = _preprocessing(TrialConfig(backbone="dann_cnn"), info, {})
    assert (record["stored_size"], record["image_size"]) == (STORED, SEEN)
    fixed = _preprocessing(TrialConfig(backbone="dann_cnn"), replace(info, fixed_size=True), {})
    assert (fixed["stored_size"], fixed["image_size"]) == (STORED, STORED)


def test_a_model_of_an_earlier_format_reads_images_at_the_side_of_its_network(
    tmp_path: Path,
) -> None:
    folder = write_random_model(tmp_path / "model", "dann_cnn", side=SEEN)
    record = json.loads((folder / "model.json").read_text())
    del record["preprocessing"]["stored_size"]
    (folder / "model.json").write_text(json.dumps({**record, "format": 2}))
    assert load_model(folder).batch([noise(1, 60, 60)]).shape == (1, 3, SEEN, SEEN)
    assert standalone.Classifier(torch.nn.Flatten(), record).stored_size == SEEN


def test_what_an_export_carries_is_the_packages_own_text(tmp_path: Path) -> None:
    source = Path(image_pixels.__file__).read_text()
    assert source in safetensors_folder.loader()
    assert "dann_search." not in safetensors_folder.loader().replace(source, "")
    model = random_model("dann_cnn", side=16)
    programs.write_torch(model, tmp_path)
    assert (tmp_path / "image_pixels.py").read_text() == source


def deep_copy(file: Path, bits: int) -> None:
    """Replace an image by its grey values, as so many bits of a 16-bit file."""
    values = np.asarray(Image.open(file).convert("L")).astype(np.uint16)
    Image.fromarray(values << (bits - 8)).save(file)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_grey_values_of_fewer_bits_are_scaled_by_the_range_of_their_domain(
    tmp_path: Path, bits: int
) -> None:
    for number, name in enumerate(("shallow", "deep")):
        for label in ("bike", "mug"):
            (tmp_path / name / label).mkdir(parents=True)
            for image in range(4):
                noise(image + 10 * (label == "mug"), 9, 11).resize((40, 40), 0).save(
                    file := tmp_path / name / label / f"{image}.png"
                )
                Image.open(file).convert("L").save(file)
                if number:
                    deep_copy(file, bits)
    expected, found = (load_folder_domain(tmp_path / name) for name in ("shallow", "deep"))
    assert (expected.grey_bits, found.grey_bits) == (None, bits)
    for row in range(8):
        assert (found.decode(row, SIDE) == expected.decode(row, SIDE)).all()
    said = f"deep: 8 images of 16 bits hold values of {bits} bits, such as {tmp_path}/deep/bike/0"
    assert len(found.remarks) == (bits < 16)
    assert all(remark.startswith(said) for remark in found.remarks)


def test_one_range_serves_all_images_of_a_domain_and_a_few_hot_pixels_do_not_widen_it(
    tmp_path: Path,
) -> None:
    dim, bright = np.full((40, 40), 200, np.uint16), np.full((40, 40), 4000, np.uint16)
    bright[0, 0] = 65535
    for name, values in (("dim", dim), ("bright", bright)):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "a.png")
    domain = load_folder_domain(tmp_path)
    assert domain.grey_bits == 12
    assert [int(np.median(domain.decode(row, 40))) for row in range(2)] == [250, 12]


def test_a_range_that_is_stated_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((9, 9), 200, np.uint16)).save(tmp_path / "a" / "a.png")
    domain = load_folder_domain(tmp_path, Preparation(grey_bits=10))
    assert domain.grey_bits == 10 and domain.remarks == ()
    assert (domain.decode(0, SIDE) == 50).all()


@pytest.fixture
def deep_photos(tmp_path: Path) -> Path:
    """A target of 16-bit files with 12-bit values, and a model as a search on it leaves."""
    for seed, name in enumerate(("source", "target")):
        for label, one in enumerate(("bike", "mug", "lamp", "desk")):
            (tmp_path / name / one).mkdir(parents=True)
            for image in range(5):
                sharp = noise(100 * seed + 10 * label + image, 9, 11).resize((50, 40), 0)
                sharp.save(tmp_path / name / one / f"{image}.png")
                if name == "target":
                    deep_copy(tmp_path / name / one / f"{image}.png", 12)
    info = pack(config_of(tmp_path), SIDE, tmp_path / "store")
    assert (info.grey_bits, info.transparency) == (12, "white")
    model = random_model("dann_cnn", side=SIDE, stored=SIDE, bottleneck=0)
    model.record["preprocessing"] |= _preprocessing(
        TrialConfig(**model.record["config"]), info, {}
    ) | {"image_size": SIDE}
    make_sensitive(model, sorted((tmp_path / "source").rglob("*.png")))
    write_model(tmp_path / "model", weights_of(model.network), model.record)
    return tmp_path


@pytest.mark.parametrize("format_", ["safetensors", "torch"])
def test_a_model_and_its_exports_keep_the_range_it_was_trained_with(
    deep_photos: Path, format_: str
) -> None:
    dim = deep_photos / "dim.png"
    Image.fromarray(np.full((40, 50), 200, np.uint16)).save(dim)
    files = [dim, *sorted((deep_photos / "target").rglob("*.png"))]
    model = load_model(deep_photos / "model")
    assert int(model.read(dim).max()) == 200 >> 4  # not 200, as its own range would have it
    expected = model.probabilities(model.batch(files)).detach().numpy()
    assert (model.batch([Image.open(dim)]) == model.batch([dim])).all()
    folder = export_model(deep_photos / "model", format_, out=deep_photos / "export").folder
    found = FORMATS[format_].open_written(folder)(files).numpy()
    assert np.abs(found - expected).max() < 1e-5
    if format_ == "torch":
        assert f'read_pixels("photo.jpg", {SIDE}, grey_bits=12)' in card(folder)


def test_a_model_without_a_known_range_takes_that_of_each_image(
    tmp_path: Path, model: DannModel
) -> None:
    noise(3, 40, 50).convert("L").save(tmp_path / "shallow.png")
    expected = model.read(tmp_path / "shallow.png")
    for bits in (8, 10, 12, 16):
        noise(3, 40, 50).convert("L").save(tmp_path / "deep.png")
        deep_copy(tmp_path / "deep.png", bits)
        assert (model.read(tmp_path / "deep.png") == expected).all(), bits


def hiding(colour: int, mode: str = "RGBA") -> Image.Image:
    """A red square on transparent ground that hides a colour."""
    pixels = np.full((40, 40, 4), (colour, colour, colour, 0), np.uint8)
    pixels[10:30, 10:30] = (200, 30, 30, 255)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_transparent_pixels_hide_is_not_seen(mode: str) -> None:
    seen = [decode_image(hiding(colour, mode), SIDE) for colour in (0, 255)]
    assert (seen[0] == seen[1]).all() and (seen[0][:, 0, 0] == 255).all()
    black = decode_image(hiding(255, mode), SIDE, how=Preparation(transparency="black"))
    assert (black[:, 0, 0] == 0).all()
    ignored = Preparation(transparency="ignored")
    assert decode_image(hiding(0, mode), SIDE, how=ignored)[0, 0, 0] == 0


def test_models_of_earlier_formats_see_what_they_were_trained_on(model: DannModel) -> None:
    record = json.loads(json.dumps(model.record))
    for name in ("grey_bits", "transparency"):
        del record["preprocessing"][name]
    for loader in (DannModel, standalone.Classifier):
        old = loader(model.network, record)
        assert int(old.read(hiding(0))[0, 0, 0]) == 0
        assert int(old.read(np.full((40, 40), 512, np.uint16)).max()) == 2


def test_a_single_image_is_taken_for_one(
    tmp_path: Path, model: DannModel, exported: ModuleType
) -> None:
    noise(1, 40, 50).save(tmp_path / "photo.jpg")
    classifier = _carried(exported, model)
    image = Image.open(tmp_path / "photo.jpg")
    for predict in (model.predict, classifier.predict):
        (expected,) = predict([tmp_path / "photo.jpg"])
        for one in (str(tmp_path / "photo.jpg"), tmp_path / "photo.jpg", image, np.asarray(image)):
            (found,) = predict(one)
            assert found.probabilities == expected.probabilities
        assert len(predict(np.zeros((5, 8, 8), np.uint8))) == 5
        assert len(predict(np.zeros((5, 8, 8, 3), np.uint8))) == 5
