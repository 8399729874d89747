"""Run the benchmarks: ``python -m benchmarks [NAME …] [--tiny]``.

Each script runs in a process of its own. What it prints replaces what lies between its two markers
in docs/benchmarks.md (``<!-- NAME -->`` and ``<!-- end of NAME -->``), below a line with machine,
versions and date; a script without markers is printed alone. ``--tiny`` only sees that the
scripts work: it leaves the page as it is.
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
RUNS: dict[str, tuple[list[str], list[str]]] = {
    "orchestration": ([], ["--tiny"]),
    "trial_startup": ([], ["--trials", "3", "--documented", "1"]),
    "epoch_cost": ([], ["--backbones", "squeezenet1_1", "--side", "32", "--rounds", "1"]),
    "memory_format": ([], ["--rounds", "1", "--backbones", "dann_cnn"]),
    "trial_memory": ([], ["--cases", "1", "--steps", "1"]),
    "interval_coverage": ([], ["--worlds", "1", "--most-classes", "10"]),
    "search_quality": ([], ["--seeds", "2", "--trials", "2"]),
    "digits_table": (["--describe"], ["--describe"]),
    "scale": (["study"], ["study", "--trials", "20"]),
    "epoch_end": ([], ["--backbones", "dann_cnn", "--rounds", "1"]),
    "verdict_wait": ([], ["--rounds", "1", "--trials", "2", "--epochs", "3"]),
    "frozen_features": (
        [],
        ["--backbones", "dann_cnn", "--depths", "0", "--side", "32", "--rounds", "1"],
    ),
}
"""Arguments of each script that needs no images of yours, in full and tiny."""
NEED_MORE = {
    "accuracy": "shared data sets (--data)",
    "data_path": "folders of photographs (--data)",
    "jpeg_epoch": "folders of photographs (--data), and pytorch-adapt",
    "transfers": "shared data sets (--data)",
    "rivals": "skada and pytorch-adapt; accuracy runs it",
    "validators": "the folder of a search",
}
"""Scripts that are not run here, and what they need."""


def machine() -> str:
    """Name the machine, the versions and the day."""
    names = ("torch", "ray", "optuna", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    system = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{system}, {versions}, {datetime.date.today()}"


def output_of(name: str, arguments: list[str]) -> str:
    """Run a script; return what it prints.

    Raises:
        CalledProcessError: it failed; its errors were shown.
    """
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def with_output(page: str, name: str, output: str) -> str:
    """Return the page with a script's output between its markers, if it has them."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    between = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text = f"{begin}\n{machine()}\n\n{output.strip()}\n{end}"
    return between.sub(lambda _: text, page)


def main() -> None:
    """Run the scripts that were named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RUNS)}; all by default")
    parser.add_argument("--tiny", action="store_true", help="see that they work, measure nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - RUNS.keys():
        needs = [f"{name} needs {NEED_MORE[name]}" for name in unknown & NEED_MORE.keys()]
        parser.error("; ".join(needs) or f"unknown: {', '.join(sorted(unknown))}")
    for name in arguments.names or RUNS:
        output = output_of(name, RUNS[name][arguments.tiny])
        print(f"## {name}\n\n{output}", flush=True)
        if not arguments.tiny:
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(with_output(page, name, output), encoding="utf-8")


if __name__ == "__main__":
    main()
