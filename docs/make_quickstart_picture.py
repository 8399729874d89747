"""Draw docs/quickstart.svg: what the README's commands print at the end of a quickstart.

python docs/make_quickstart_picture.py FOLDER, where runs/quickstart lies
"""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 110
COMMANDS = (
    "dann-search leaderboard quickstart --top 5",
    "dann-search evaluate quickstart",
    "dann-search compare quickstart",
)
# The reader's own fixed-width font: a picture asks no network for one.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def printed(command: str, folder: Path) -> str:
    """Return what a command prints on a terminal, colours included."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "LINES": "60", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command.split(), cwd=folder, stdout=theirs, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # of Linux, at the end
            break
        if not part:
            break
        parts.append(part)
    if process.wait() != 0:
        sys.exit(f"{command}: exit code {process.returncode}")
    return b"".join(parts).decode().replace("\r\n", "\n")


def main() -> None:
    """Run the commands and draw what they print."""
    folder = Path(sys.argv[1])
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for command in COMMANDS:
        console.print(Text(f"$ {command}", style="bold"))
        shown = printed(command, folder).replace(f"{folder.resolve()}/", "")
        console.print(Text.from_ansi(shown))
    out = Path(__file__).with_name("quickstart.svg")
    out.write_text(console.export_svg(title="dann-search", code_format=FORMAT))


if __name__ == "__main__":
    main()
