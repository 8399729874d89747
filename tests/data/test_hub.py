"""Data sets of Hugging Face's package, saved in a folder or by name, are domains as others are."""

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from dann_search.config.data import DomainConfig
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.load import load_experiment
from dann_search.data.domain import Domain
from dann_search.data.folder import load_folder_domain
from dann_search.data.open_domain import open_domain
from dann_search.data.store import pack
from dann_search.data.target_has_labels import target_has_labels
from dann_search.data.write_domain import write_domain
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from tests.data.images import noise
from tests.experiments import space_file

NAMES = ["cup", "dog"]
KINDS = {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}


def jpeg(seed: int) -> bytes:
    content = io.BytesIO()
    noise(seed).save(content, "JPEG")
    return content.getvalue()


def rows(seeds: Sequence[int], labels: Sequence[Any] | None = None, **columns: Any) -> Any:
    """A set of JPEGs whose labels alternate, with further columns of (kind, values)."""
    found = {"image": [{"bytes": jpeg(seed), "path": None} for seed in seeds]}
    kinds: dict[str, Any] = {"image": KINDS["image"]}
    values = {"label": (KINDS["label"], labels or [n % 2 for n in range(len(seeds))])} | columns
    for name, (kind, value) in values.items():
        kinds[name], found[name] = kind, value
    return datasets.Dataset.from_dict(found, features=datasets.Features(kinds))


def saved(data: Any, folder: Path) -> Path:
    data.save_to_disk(str(folder))
    return folder


def opened(cache: Path, **keys: Any) -> Domain:
    config = DomainConfig.model_validate({"huggingface": keys})
    return open_domain(config, cache)


def classes_of(domain: Domain) -> list[str]:
    return [domain.class_of(row) for row in range(len(domain))]


def test_a_saved_set_is_the_domain_of_its_files(tmp_path: Path) -> None:
    domain = opened(tmp_path / "cache", folder=saved(rows(range(6)), tmp_path / "phone"))
    assert (domain.name, domain.class_names, domain.splits) == ("phone", ("cup", "dog"), None)
    for seed in range(6):
        place = tmp_path / "files" / NAMES[seed % 2] / f"{seed}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(jpeg(seed))
    files = load_folder_domain(tmp_path / "files")
    # By content and class: a set and the files that it was made of are divided alike.
    assert domain.split_hash(np.arange(6)) == files.split_hash(np.arange(6))


def test_it_is_not_taken_for_a_folder_of_images(tmp_path: Path) -> None:
    parts = {"train": rows([0, 1]), "test": rows([2, 3])}
    for data in rows(range(3)), datasets.DatasetDict(parts):
        place = saved(data, tmp_path / type(data).__name__)
        with pytest.raises(InputError, match=r"under huggingface: \{folder: …\}"):
            open_domain(DomainConfig(folder=place), tmp_path)


def test_splits_are_those_of_the_set(tmp_path: Path) -> None:
    parts = {"train": rows([0, 1]), "validation": rows([2, 3]), "test": rows([4, 5])}
    place = saved(datasets.DatasetDict(parts), tmp_path / "phone")
    assert opened(tmp_path, folder=place).splits == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    one = opened(tmp_path, folder=place, split="train+test")
    assert (one.name, one.splits, len(one)) == ("phone-train+test", None, 4)


def test_a_set_with_one_split_is_divided(tmp_path: Path) -> None:
    place = saved(datasets.DatasetDict({"train": rows([0, 1])}), tmp_path / "phone")
    assert opened(tmp_path, folder=place).splits is None


@pytest.mark.parametrize("kind", [datasets.Value("string"), datasets.ClassLabel(names=["a", "b"])])
def test_rows_are_chosen_by_what_a_column_says(tmp_path: Path, kind: Any) -> None:
    data = rows(range(6), domain=(kind, ["a", "b", "b", "b", "a", "b"]))
    place = saved(data, tmp_path / "pacs")
    domain = opened(tmp_path, folder=place, where={"domain": "a"})
    assert (domain.name, classes_of(domain)) == ("pacs-a", ["cup", "cup"])
    other = opened(tmp_path, folder=place, where={"domain": "b", "label": "dog"})
    assert classes_of(other) == ["dog"] * 3


def test_an_experiment_file_packs_two_domains_of_one_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    column = (datasets.Value("string"), ["photo"] * 12 + ["sketch"] * 12)
    saved(rows(range(24), domain=column), tmp_path / "pacs")
    domains = {
        f"data__{role}": {"huggingface": {"folder": "pacs", "where": {"domain": value}}}
        for role, value in (("source", "photo"), ("target", "sketch"))
    }
    experiment, _ = load_experiment(space_file(tmp_path, **domains), stage_counts())
    info = pack(experiment.data, 16, tmp_path / "store")
    assert info.domains == {"source": "pacs-photo", "target": "pacs-sketch"}
    assert info.class_names == NAMES
    assert [sum(info.sizes[role].values()) for role in ("source", "target")] == [12, 12]
    recorded = ExperimentConfig.model_validate(experiment.model_dump(mode="json"))
    assert pack(recorded.data, 16, tmp_path / "store") == info


def test_a_column_of_labels_can_be_named(tmp_path: Path) -> None:
    fine = (datasets.ClassLabel(names=["x", "y", "z"]), [2, 1, 0])
    data = rows(range(3), fine_label=fine, coarse=(datasets.Value("int64"), [7, 7, 8]))
    place = saved(data, tmp_path / "a")
    assert classes_of(opened(tmp_path, folder=place)) == ["cup", "dog", "cup"]
    assert classes_of(opened(tmp_path, folder=place, label="fine_label")) == ["z", "y", "x"]
    assert classes_of(opened(tmp_path, folder=place, label="coarse")) == ["7", "7", "8"]
    place = saved(data.remove_columns("label").rename_column("coarse", "size"), tmp_path / "b")
    assert classes_of(opened(tmp_path, folder=place)) == ["z", "y", "x"]


def test_missing_labels_and_a_set_without_any(tmp_path: Path) -> None:
    some = saved(rows(range(4), labels=[0, None, -1, 1]), tmp_path / "some")
    assert classes_of(opened(tmp_path, folder=some)) == ["cup", "", "", "dog"]
    bare = rows(range(3)).remove_columns("label")
    config = {"huggingface": {"folder": saved(bare, tmp_path / "bare")}}
    target = DomainConfig.model_validate(config)
    assert not target_has_labels(target, tmp_path / "cache")
    assert len(open_domain(target, tmp_path / "cache", labelled=False)) == 3


def test_a_set_of_the_hub_is_loaded_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        return datasets.DatasetDict({"train": rows(range(4))})

    monkeypatch.setattr(datasets, "load_dataset", load)
    domain = opened(tmp_path, name="flwrlabs/pacs", subset="small", revision="v1")
    assert asked == [(("flwrlabs/pacs", "small"), {"revision": "v1"})]
    assert (domain.name, len(domain)) == ("pacs-small", 4)


def test_a_set_that_is_not_to_be_had_is_told_of_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: Any, **options: Any) -> Any:
        raise ConnectionError("Couldn't reach 'a/b'\non the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError, match=r"^data set a/b: cannot be loaded: ConnectionError: Couldn"
                       "'t reach 'a/b' on the Hub$"):  # fmt: skip
        opened(tmp_path, name="a/b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"empty: .*Error: .*; 'folder' is one that save_to_disk wr"
    ):
        opened(tmp_path, folder=tmp_path / "empty")


def test_code_that_a_set_brings_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)  # a folder of that name stands for the Hub's
    with pytest.raises(InputError, match=r"data set evil: .*scripts are no longer supported"):
        opened(tmp_path, name="evil")
    assert not (tmp_path / "ran").exists()


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"data set a/b: needs .*pip install 'dann-search\[hf\]'"):
        opened(tmp_path, name="a/b")


def test_neither_is_the_package_imported_for_other_domains() -> None:
    code = "import sys, dann_search.data.open_domain; sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_it_is_copied_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, cache = saved(rows(range(4)), tmp_path / "phone"), tmp_path / "cache"
    first = opened(cache, folder=place)
    with monkeypatch.context() as patch:
        patch.setattr("dann_search.data.hub.write_domain", None)  # not needed again
        assert opened(cache, folder=place).fingerprint() == first.fingerprint()
    changed = rows([0, 1, 2, 9])
    for file in place.iterdir():
        file.unlink()
    assert opened(cache, folder=saved(changed, place)).fingerprint() != first.fingerprint()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split": "train"}, "split: it has no splits, got 'train'"),
        ({"where": {"domian": "a"}}, "where: no column 'domian'; did you mean 'domain'?"),
        ({"where": {"domain": "sketches"}}, "where: no 'sketches' in domain; did you mean 'sketch"),
        ({"label": "lable"}, "label: no column 'lable'; did you mean 'label'?"),
        ({"label": "image"}, "label: the column 'image' holds images"),
        ({"where": {"image": "x"}}, "where: the column 'image' holds images"),
        ({"label": "domain", "where": {"domain": "photo"}}, ""),
    ],
)
def test_a_key_that_does_not_fit_the_set_is_refused(
    tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    data = rows(range(3), domain=(datasets.Value("string"), ["sketch", "photo", "photo"]))
    place = saved(data, tmp_path / "pacs")
    if not message:
        assert classes_of(opened(tmp_path / "cache", folder=place, **keys)) == ["photo"] * 2
        return
    with pytest.raises(InputError, match=f"^data set {place}: {message}"):
        opened(tmp_path / "cache", folder=place, **keys)


def test_an_unknown_split_is_refused_with_the_nearest(tmp_path: Path) -> None:
    parts = {"train": rows([0, 1]), "validation": rows([2, 3])}
    place = saved(datasets.DatasetDict(parts), tmp_path / "phone")
    with pytest.raises(InputError, match="split: no 'trian'; did you mean 'train'"):
        opened(tmp_path, folder=place, split="trian")
    with pytest.raises(InputError, match=r"not train, test .* as in split: train\+validation$"):
        opened(tmp_path, folder=place)
    assert len(opened(tmp_path, folder=place, split="train + validation")) == 4


def test_not_all_values_of_a_long_column_are_listed(tmp_path: Path) -> None:
    names = (datasets.Value("string"), [f"{number}.jpg" for number in range(21)])
    place = saved(rows([0] * 21, file=names), tmp_path / "phone")
    with pytest.raises(InputError, match=r"where: no 'x' in file; it has 21 values$"):
        opened(tmp_path, folder=place, where={"file": "x"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.remove_columns("image"), "one column of images, got none of label"),
        (lambda data: data.add_column("mask", [None] * 3).cast_column("mask", datasets.Image()),
         "one column of images, got image, mask of image, label, mask"),
        (lambda data: data.rename_column("label", "x").cast_column("x", datasets.Value("int64"))
         .rename_column("x", "Labels"), "the labels may be in Labels; say so with 'label'"),
        (lambda data: data.add_column("b", [0] * 3).cast_column("b", KINDS["label"])
         .rename_column("label", "a"), "the labels may be in a or b; say so with 'label'"),
    ],
)  # fmt: skip
def test_nothing_is_guessed_about_columns(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_domain(change(rows(range(3))), tmp_path / "phone")


def test_from_python_a_set_is_written_as_it_is(tmp_path: Path) -> None:
    data = rows(range(4)).with_format("numpy")
    manifest = write_domain(data, tmp_path / "phone")
    files = sorted((tmp_path / "phone" / "images").iterdir())
    assert [file.read_bytes() for file in files] == [jpeg(seed) for seed in range(4)]
    domain = open_domain(DomainConfig(manifest=manifest), tmp_path)
    assert classes_of(domain) == ["cup", "dog"] * 2


def test_images_outside_of_a_set_are_read_and_missing_ones_named(tmp_path: Path) -> None:
    noise(0).save(tmp_path / "a.png")
    data = datasets.Dataset.from_dict(
        {"image": [str(tmp_path / "a.png"), None], "label": ["cup", "dog"]}
    ).cast_column("image", datasets.Image())
    with pytest.raises(InputError, match="item 1: cannot be read: ValueError: it has no image"):
        write_domain(data, tmp_path / "phone")
    manifest = write_domain(data.select([0]), tmp_path / "phone")
    domain = open_domain(DomainConfig(manifest=manifest), tmp_path)
    assert np.array_equal(domain.decode(0, 12).shape, (3, 12, 12))


def test_a_stream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got IterableDataset; a stream has neither"):
        write_domain(rows(range(3)).to_iterable_dataset(), tmp_path / "phone")


def test_an_image_that_cannot_be_decoded_is_told_of_when_it_is_packed(tmp_path: Path) -> None:
    data = datasets.Dataset.from_dict(
        {"image": [{"bytes": b"no image", "path": None}], "label": ["a"]},
        features=datasets.Features(image=datasets.Image(), label=datasets.Value("string")),
    )
    domain = opened(tmp_path, folder=saved(data, tmp_path / "phone"))
    with pytest.raises(InputError, match="not a readable image"):
        domain.decode(0, 8)
