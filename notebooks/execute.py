"""Execute the notebook and write it back with clean outputs: ``python notebooks/execute.py``.

It runs in an empty folder of its own. What would differ from machine to machine is taken out of the
outputs: paths, colour codes of terminals, the version of Python.
"""

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

TOUR = Path(__file__).with_name("tour.ipynb")
CELL_TIMEOUT_S = 300


def read() -> NotebookNode:
    """Return the notebook as it is committed."""
    notebook: NotebookNode = nbformat.read(TOUR, as_version=4)
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run every cell in ``folder``; the first error ends it.

    Raises:
        CellExecutionError: a cell raised; with its traceback.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    return client.execute()


def clean(notebook: NotebookNode, folder: Path) -> None:
    """Take out of the outputs what is of this machine, in place."""
    notebook.metadata = NotebookNode(
        kernelspec=NotebookNode(name="python3", display_name="Python 3", language="python"),
        language_info=NotebookNode(name="python"),
    )
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = _cleaned(output.text, folder)
            for kind, content in output.get("data", {}).items():
                if kind.startswith("text/"):
                    output.data[kind] = _cleaned(content, folder)


def _cleaned(text: str, folder: Path) -> str:
    without_colours = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    here = without_colours.replace(f"{folder}/", "").replace(str(folder), ".")
    return re.sub(r"(?:/[\w.+-]+)+/(site-packages|dann_search)/", r"\1/", here)


def main() -> None:
    """Execute and write back."""
    notebook = read()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        execute(notebook, folder)
        clean(notebook, folder)
    nbformat.write(notebook, TOUR)
    print(f"{TOUR.name}: {TOUR.stat().st_size / 1000:.0f} KB", file=sys.stderr)


if __name__ == "__main__":
    main()
