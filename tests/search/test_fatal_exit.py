"""The end at once: exit code, error and JSON reach who waits, whatever the main thread does."""

import json
import subprocess
import sys
from pathlib import Path

END = """
import sys, threading, time
from pathlib import Path
from dann_search.search import fatal_exit
from dann_search.cli import main
from dann_search.cli.app import app
from dann_search.search.ray_session import quiet_output

@app.command()
def hang(json: bool = False):
    with quiet_output(Path({log!r})):
        print("noise", flush=True)
        threading.Thread(target=fatal_exit.end_now, args=("the head is gone",)).start()
        while True:
            time.sleep(1)

main({words!r})
"""


def ended(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = END.format(log=str(tmp_path / "log"), words=["hang", *words])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (tmp_path / "log").read_text() == "noise\n"
    return done


def test_a_command_that_ends_at_once_says_its_error_to_its_user(tmp_path: Path) -> None:
    done = ended(tmp_path)
    assert (done.stdout, done.stderr) == ("", "error: the head is gone\n")


def test_and_to_a_script_as_json(tmp_path: Path) -> None:
    done = ended(tmp_path, "--json")
    assert json.loads(done.stdout) == {"error": "the head is gone"}


def test_a_program_of_ones_own_reads_it_on_standard_error() -> None:
    code = "from dann_search.search.fatal_exit import end_now; end_now('the head is gone')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: the head is gone\n")
