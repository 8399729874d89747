"""Manifests: tables of images, CSV and Parquet alike."""

import csv
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dann_search.data.domain import NO_LABEL
from dann_search.data.manifest import load_manifest_domain
from dann_search.errors import InputError
from tests.data.images import noise

TEXT = st.text("abcÄß,;\"' 0", min_size=1, max_size=8).map(str.strip).filter(bool)


def write(folder: Path, rows: list[dict[str, str]], kind: str = "csv", images: int = 6) -> Path:
    (folder / "images").mkdir(exist_ok=True)
    for number in range(images):
        noise(number).save(folder / "images" / f"{number}.jpg")
    path = folder / f"photos.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return path


def rows_of(labels: list[str], splits: list[str] | None = None) -> list[dict[str, str]]:
    rows = [{"path": f"images/{n}.jpg", "label": label} for n, label in enumerate(labels)]
    for row, split in zip(rows, splits or [], strict=bool(splits)):
        row["split"] = split
    return rows


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_paths_labels_and_splits_are_read(tmp_path: Path, kind: str) -> None:
    rows = rows_of(["mug", "bike", "", "mug"], ["train", "validation", "train", "test"])
    domain = load_manifest_domain(write(tmp_path, rows, kind))
    assert domain.class_names == ("bike", "mug")
    assert list(domain.labels) == [1, 0, NO_LABEL, 1]
    assert domain.splits == ["train", "val", "train", "test"]
    assert domain.places[3] == str(tmp_path / "images" / "3.jpg")
    assert domain.decode(0, 8).shape == (3, 8, 8)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_splits_and_columns_are_read_under_their_usual_names(tmp_path: Path, kind: str) -> None:
    splits = ["Training", "dev", "train", "TEST"]
    plain = rows_of(["mug", "bike", "mug", "mug"], splits)
    named = {"path": "Path", "label": " label", "split": " Split "}
    rows = [{named[key]: value for key, value in row.items()} | {"size": "3"} for row in plain]
    path = write(tmp_path, rows, kind)
    domain = load_manifest_domain(path)
    assert domain.class_names == ("bike", "mug")
    assert domain.splits == ["train", "val", "train", "test"]
    assert domain.remarks == (
        f"{path}: read as splits: TEST as test, Training as train, dev as val, train as train",
        f"{path}: columns that are not read: size",
    )


def test_a_column_without_a_name_is_told_of(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(["mug", "bike"]))
    lines = path.read_text().splitlines()
    path.write_text("\n".join(f",{line}" for line in lines))
    assert load_manifest_domain(path).remarks == (f"{path}: columns that are not read: (no name)",)


def test_a_byte_order_mark_and_spaces_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(["mug", "bike"]))
    path.write_text("\ufeff" + path.read_text().replace(",mug", ", mug "))
    domain = load_manifest_domain(path)
    assert domain.class_names == ("bike", "mug") and domain.splits is None


@settings(max_examples=25, deadline=None, derandomize=True)
@given(labels=st.lists(TEXT, min_size=1, max_size=6))
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_any_labels_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], kind: str
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    path = write(folder, rows_of(labels), kind, images=len(labels))
    domain = load_manifest_domain(path)
    assert [domain.class_names[label] for label in domain.labels] == labels
    assert domain.class_names == tuple(sorted(set(labels)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\nimages/0.jpg\n", "photos.csv: no column 'label'; it has path"),
        ("", "photos.csv: no column 'path'; it has none"),
        ("path:label\na:b\n", "photos.csv: no column 'path'; it has path:label; cells are "
         "separated by commas, semicolons or tabs"),
        ("filename,class\nimages/0.jpg,a\n", "photos.csv: no column 'path'; "
         "it has filename, class; rename 'filename' to 'path'"),
        ("path,class\nimages/0.jpg,a\n", "photos.csv: no column 'label'; "
         "it has path, class; rename 'class' to 'label'"),
        ("filename\tclass\nimages/0.jpg\ta\n", "photos.csv: no column 'path'; "
         "it has filename, class; rename 'filename' to 'path'"),
        ("images/0.jpg,a\nimages/1.jpg,b\n", "photos.csv: no column 'path'; "
         "it has images/0.jpg, a; name the columns in the first line: path,label"),
        ("path,label\n", "photos.csv: no rows"),
        ("path,label\nimages/0.jpg,a\nimages/9.jpg,a\n",
         "photos.csv:3: no such file: images/9.jpg"),
        ("path,label\n,a\n", "photos.csv:2: the path is empty"),
        ("path,label\nimages/0.jpg\n", "photos.csv:2: expected 2 cells"),
        ("path,label\nimages/0.jpg,a,b\n", "photos.csv:2: expected 2 cells"),
        ("path,label\nimages/0.jpg,a\nimages/../images/0.jpg,b\n",
         "photos.csv:3: images/../images/0.jpg stands already at photos.csv:2"),
        ("path,label\nphotos.csv,a\n", "photos.csv:2: photos.csv is no image"),
        ("path,label,split\nimages/0.jpg,a,tran\n",
         "photos.csv:2: unknown split 'tran'; did you mean 'train'?"),
        ("path,label,split\nimages/0.jpg,a,eval\n",
         "photos.csv:2: the split 'eval' may be val or test"),
        ("path,label,Label\nimages/0.jpg,a,b\n", "photos.csv: 2 columns are 'label'"),
        ("path,label,split\nimages/0.jpg,,test\n",
         "photos.csv:2: an image of the test split needs a label"),
        ("path,label,split\nimages/0.jpg,a,train\n", "photos.csv: no row of the test split"),
        ("path,label\nimages/0.jpg,\n", "photos.csv: no row has a label"),
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, rows_of(["a"]))
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_manifest_domain(path)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a manifest is a \.csv, a \.tsv or a \.parquet file"):
        load_manifest_domain(tmp_path / "photos.xlsx")
    (tmp_path / "photos.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"photos\.parquet: not a valid Parquet file"):
        load_manifest_domain(tmp_path / "photos.parquet")
    (tmp_path / "photos.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"photos\.csv: not a valid CSV file"):
        load_manifest_domain(tmp_path / "photos.csv")


def labels_in(path: Path) -> list[str]:
    domain = load_manifest_domain(path)
    return [(*domain.class_names, "")[label] for label in domain.labels]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["1.0", "2.0", "", "10.0"], ["1", "2", "", "10"]),
        (["1", "2.0", "nan", "<NA>"], ["1", "2", "", ""]),
        (["-1.0", "0.0"], ["-1", "0"]),
        (["1.0", "1.5"], ["1.0", "1.5"]),
        (["1.0", "v2"], ["1.0", "v2"]),
        (["007", "8"], ["007", "8"]),
    ],
)
def test_whole_numbers_that_pandas_made_floats_are_whole(
    tmp_path: Path, written: list[str], read: list[str]
) -> None:
    assert labels_in(write(tmp_path, rows_of(written))) == read


def test_how_numbers_and_names_of_nothing_are_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(["1.0", "2.0"]))
    assert load_manifest_domain(path).remarks == (
        f"{path}: labels such as 1.0 are read as whole numbers",
    )
    path = write(tmp_path, rows_of(["mug", "None", "nan"]))
    assert load_manifest_domain(path).remarks == (
        f"{path}: None, nan is read as a class; leave the cells of missing labels empty",
    )


def test_missing_labels_of_parquet_are_missing(tmp_path: Path) -> None:
    paths = [f"images/{number}.jpg" for number in range(4)]
    path = write(tmp_path, rows_of(["a"]), images=4)
    for labels, expected in (
        (pa.array([1.0, 2.0, float("nan"), None]), ["1", "2", "", ""]),
        (pa.array(["mug", "pen", None, ""]), ["mug", "pen", "", ""]),
        (pa.array([b"mug", b"pen", None, b"mug"]), ["mug", "pen", "", "mug"]),
        (pa.array(["mug", "pen", "mug", None]).dictionary_encode(), ["mug", "pen", "mug", ""]),
    ):
        table = pa.table({"path": paths, "label": labels})
        parquet.write_table(table, path.with_suffix(".parquet"))
        assert labels_in(path.with_suffix(".parquet")) == expected


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_excel_writes_them_are_read(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    path = write(tmp_path, rows_of(["thé", "mug"]))
    path.write_bytes(path.read_text("utf-8").replace(",", delimiter).encode(encoding))
    assert labels_in(path) == ["thé", "mug"]


def test_other_encodings_are_refused_with_the_line_and_the_way_on(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(["mug", "thé"]))
    text = path.read_text("utf-8")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"photos\.csv:3: not in UTF-8: byte 0xe9, in Latin-1 "
                       r"'images/1\.jpg,thé'; save the file as UTF-8"):  # fmt: skip
        load_manifest_domain(path)
    path.write_bytes(text.encode("utf-16-le"))
    with pytest.raises(InputError, match=r"zero bytes, as UTF-16 without a mark does; save it"):
        load_manifest_domain(path)


def test_missing_files_are_counted_and_links_that_lead_nowhere_are_unreadable(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, rows_of(["mug"] * 30), images=1)
    with pytest.raises(InputError) as caught:
        load_manifest_domain(path)
    first, *others = str(caught.value).splitlines()
    assert first == (
        f"{path}:3: no such file: {tmp_path / 'images/1.jpg'}; of 30 files 29 are missing; paths "
        f"are relative to {tmp_path}:"
    )
    assert len(others) == 20 and others[-1].strip() == "… 9 more"
    for number in range(1, 30):
        (tmp_path / "images" / f"{number}.jpg").symlink_to(f"/nowhere/{number}.jpg")
    domain = load_manifest_domain(path)
    with pytest.raises(InputError, match="a link that leads nowhere"):
        domain.decode(1, 8)


def test_a_table_of_tabs_may_be_called_so(tmp_path: Path) -> None:
    write(tmp_path, rows_of(["a", "b"]))
    path = tmp_path / "photos.tsv"
    path.write_text("path\tlabel\nimages/0.jpg\ta\nimages/1.jpg\tb\n")
    assert load_manifest_domain(path).class_names == ("a", "b")


def test_paths_of_windows_are_read_where_only_so_there_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(["a", "b"]))
    (tmp_path / "odd\\name.jpg").write_bytes((tmp_path / "images" / "2.jpg").read_bytes())
    path.write_text("path,label\nimages\\0.jpg,a\nimages/1.jpg,b\nodd\\name.jpg,b\n")
    domain = load_manifest_domain(path)
    names = ("images/0.jpg", "images/1.jpg", "odd\\name.jpg")
    assert domain.places == [str(tmp_path / name) for name in names]
    assert domain.remarks == (f"{path}: paths such as images\\0.jpg are read with / for each \\",)


def test_missing_labels_beside_numbers_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, rows_of(["1", "2", "NA"]))
    domain = load_manifest_domain(path)
    assert domain.class_names == ("1", "2")
    assert domain.remarks == (f"{path}: labels such as NA are read as missing, beside numbers",)
