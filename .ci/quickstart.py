"""Run the quickstart and every command of the README on what it left; check both.

python .ci/quickstart.py FOLDER
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dann_search.outputs import parse_output
from dann_search.outputs.base import Failure

LIMIT_S = 300


def run(*words: str, cwd: Path, code: int = 0) -> dict[str, Any]:
    """Run a dann-search command with --json; its one JSON object, of which its schema is right."""
    print("$ dann-search", *words, flush=True)
    done = subprocess.run(
        ["dann-search", *words, "--json"], cwd=cwd, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != code:
        sys.exit(f"exit code {done.returncode}, expected {code}: {done.stdout}")
    printed = parse_output(words[0], done.stdout)
    check(isinstance(printed, Failure) == (code != 0), f"printed a {type(printed).__name__}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check(holds: bool, claim: str) -> None:
    """Stop where a claim does not hold."""
    print(f"  {'ok' if holds else 'NO'}: {claim}", flush=True)
    if not holds:
        sys.exit(1)


def main() -> None:
    """The README's way through the quickstart."""
    work = Path(sys.argv[1]).resolve()
    space = Path(__file__).resolve().parents[1] / "search_spaces" / "quickstart.yaml"
    begun = time.monotonic()
    launched = run("launch", str(space), cwd=work)
    seconds = time.monotonic() - begun
    trials, best = launched["trials"], launched["best"]
    check(sum(trials.values()) >= 12, f"at least 12 trials: {trials}")
    check(trials["failed"] == 0, "none failed")
    check(seconds < LIMIT_S, f"under {LIMIT_S} s: {seconds:.0f} s")
    folder = Path(launched["experiment"])
    for name in ("model.safetensors", "model.json"):
        check((folder / "best" / name).stat().st_size > 0, f"best/{name} written")
    check((folder / "leaderboard.csv").exists(), "leaderboard.csv written")
    record = json.loads((folder / "best" / "model.json").read_text())
    check(len(record["class_names"]) == 10, "ten classes named")

    state = run("status", "quickstart", cwd=work)
    check(state["completed"] == trials["completed"], "status agrees with launch")
    rows = run("leaderboard", "quickstart", cwd=work)["trials"]
    check(rows[0]["trial"] == best["trial"], "the leaderboard's first is the best")
    check(rows[0]["f1_macro_val"] == best["f1_macro_val"], "with the same F1")
    written = run("best", "quickstart", "--rank", "2", "--out", "second", cwd=work)
    check(written["trial"] == rows[1]["trial"], "best --rank 2 is the leaderboard's second")
    test = run("evaluate", "quickstart", cwd=work)
    low, high = test["ci95"]["f1_macro"]
    inside = low <= test["f1_macro"] <= high
    check(inside, f"test F1 {test['f1_macro']:.3f} in [{low:.3f}, {high:.3f}]")
    check(test["n"] == sum(map(sum, test["confusion"])), "every test image counted")
    methods = run("compare", "quickstart", "--seeds", "3", cwd=work)["methods"]
    winner, baseline = methods["dann"]["f1_macro_test"], methods["source_only"]["f1_macro_test"]
    gap = winner["mean"] - baseline["mean"]
    check(
        gap > max(winner["sd"], baseline["sd"]),
        f"dann {winner['mean']:.3f} ± {winner['sd']:.3f} above "
        f"source_only {baseline['mean']:.3f} ± {baseline['sd']:.3f}",
    )
    more = run("resume", "quickstart", "--add-trials", "2", cwd=work)
    check(sum(more["trials"].values()) == sum(trials.values()) + 2, "resume added two trials")
    again = run("launch", str(space), cwd=work, code=2)
    check("exists already" in again["error"], "the same name again is refused")


if __name__ == "__main__":
    main()
