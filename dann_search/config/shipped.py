"""The experiment files that come with the package: found by name, and copied to begin with."""

import json
import re
from pathlib import Path

from dann_search.errors import InputError, nearest

FOLDER = Path(__file__).parents[1] / "search_spaces"


def shipped_files() -> dict[str, Path]:
    """Return the files by their names, such as ``quickstart``."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}


def title_of(file: Path) -> str:
    """Return the first line of a file's comment, which says what it is for."""
    with open(file, encoding="utf-8") as lines:
        return lines.readline().removeprefix("#").strip()


def named_file(path: Path) -> Path:
    """Return the file at a path; where there is none, the shipped one of that name.

    Raises:
        InputError: a name without a folder or an ending is that of no file at all.
    """
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    shipped = shipped_files()
    if str(path) not in shipped:
        raise InputError(
            f"{path}: no such file, and none of this name comes along; "
            f"{nearest(str(path), shipped)}"
        )
    return shipped[str(path)]


def write_copy(name: str, out: Path, source: Path | None, target: Path | None) -> None:
    """Write a shipped file, comments included, for the user's own folders of source and target.

    The name of the new file, ``out``, becomes that of the experiment.

    Raises:
        InputError: there is no such file or folder, or ``out`` exists or cannot be written.
    """
    shipped = shipped_files()
    if name not in shipped:
        raise InputError(f"--from {name}: no such file comes along; {nearest(name, shipped)}")
    text = shipped[name].read_text(encoding="utf-8")
    if extends := re.search(r"^extends: (\S+)", text, re.MULTILINE):
        raise InputError(
            f"--from {name}: it extends {extends[1]}; for one file with everything: "
            f"dann-search space {name} --resolved {out}"
        )
    text = re.sub(r"^name: .*$", f"name: {json.dumps(out.stem)}", text, flags=re.MULTILINE)
    text = text.replace(f"search_spaces/{shipped[name].name}", str(out))
    for key, folder in (("source", source), ("target", target)):
        if folder is not None:
            text = _with_domain(text, key, folder)
    write_new(out, text)


def write_new(out: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        InputError: it is, or cannot be written.
    """
    try:
        with open(out, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise InputError(f"{out}: cannot be written: {exc.strerror}") from None


def _with_domain(text: str, key: str, folder: Path) -> str:
    if not folder.is_dir():
        raise InputError(f"--{key} {folder}: no such folder")
    # A relative path in a file is relative to that file's folder, not to the working folder.
    place = json.dumps(str(folder.resolve()), ensure_ascii=False)
    before, after = re.split(rf"^  {key}: {{[^#\n]*}}", text, maxsplit=1, flags=re.MULTILINE)
    return f"{before}  {key}: {{folder: {place}}}{after}"
