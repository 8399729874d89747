"""Every fault that a search must survive, and the tests that inject it: one command runs them all.

    python -m tests.faults.campaign --seeds 20 [--only WORD]

Each row ends with a study that is complete and exact, or with a message that says what is wrong and
how to continue. Tests that draw moments from seeds run with as many as are asked for; the others
have one way to go wrong. Processes are killed for real in ``test_struck_processes.py`` alone, once
a seed; what needs no process of its own is in this one, where hundreds of seeds cost seconds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STRUCK = "faults/test_struck_processes.py::test_a_search_whose_processes_are_struck_ends_complete"
STRUCK += "_and_exact"


@dataclass(frozen=True)
class Row:
    """A fault and its tests, as pytest names them below ``tests``."""

    fault: str
    tests: tuple[str, ...]


def _struck(fault: str, name: str) -> Row:
    return Row(fault, (f"{STRUCK}[{name}]",))


IN_PROCESS = "search/test_in_process.py::test_"
OUTAGES = "faults/test_outages.py::test_"
RESUMED = "faults/test_kill_and_resume.py::test_"
LOCK = "storage/test_driver_lock.py::test_"

ROWS = (
    _struck("worker killed", "worker"),
    _struck("one rank of two killed", "rank"),
    _struck("worker frozen (SIGSTOP)", "frozen worker"),
    _struck("light process of a trial killed", "trial"),
    _struck("Train controller killed", "controller"),
    _struck("dispatcher killed", "dispatcher"),
    _struck("raylet killed", "raylet"),
    _struck("GCS killed", "gcs"),
    _struck("driver killed", "driver"),
    _struck("driver frozen for a while", "frozen driver"),
    _struck("SIGTERM", "SIGTERM"),
    _struck("SIGHUP", "SIGHUP"),
    _struck("Ctrl-C", "Ctrl-C"),
    _struck("Ctrl-C twice", "Ctrl-C twice"),
    Row("everything killed, also in a resume", (f"{RESUMED}a_search_killed_at_random_moments_is"
                                                "_complete_and_consistent_in_the_end",)),
    Row("killed while study and checkpoints are written",
        ("faults/test_kill_the_record.py",)),
    Row("worker dies at begin, step, checkpoint, report",
        (f"{IN_PROCESS}workers_that_die_at_any_moment_change_no_number",)),
    Row("driver dies again and again, workers too",
        (f"{IN_PROCESS}a_driver_that_dies_again_and_again_changes_no_number",)),
    Row("killed between last epoch and end of a trial",
        (f"{OUTAGES}a_kill_between_the_last_epoch_and_the_end_of_a_trial_leaves_its_file_and_its"
         "_events",)),
    Row("killed while the best model is written",
        ("faults/test_torn_files.py::test_a_kill_while_the_best_model_is_written",)),
    Row("node lost, reports late",
        (f"{IN_PROCESS}a_node_that_was_lost_and_reports_late_is_not_heard",)),
    Row("disk, bucket, database away for moments",
        (f"{OUTAGES}storage_that_fails_for_moments_changes_no_number",)),
    Row("PostgreSQL server restarted",
        ("scenarios/test_postgres.py::test_a_server_that_is_restarted_changes_no_number",)),
    Row("disk, bucket, database away for good",
        (f"{OUTAGES}storage_that_stays_away_ends_the_search_and_resume_goes_on",)),
    Row("file system full or read-only",
        (f"{OUTAGES}a_file_system_that_fills_up_holds_the_search_until_it_has_room",
         f"{OUTAGES}an_end_on_a_disk_that_fails_is_the_searchs_own_and_a_resume_there_is_refused")),
    Row("disk full while packing",
        ("data/test_store.py::test_a_disk_that_fills_while_packing_is_told_with_the_file",
         "inference/test_refit.py::test_a_disk_that_fills_while_splits_are_joined_is_told_with_the"
         "_file")),
    Row("checkpoint torn, one wrong bit",
        ("faults/test_torn_files.py::test_a_damaged_checkpoint_changes_no_number",
         "training/test_checkpoint.py::test_a_truncated_checkpoint_is_an_error_that_names_it",
         "inference/test_best.py::test_a_checkpoint_with_a_wrong_bit_becomes_no_model")),
    Row("study torn, wrong bits",
        ("faults/test_torn_files.py::test_a_damaged_study_is_said_and_left_as_it_is",)),
    Row("trial out of memory",
        (f"{IN_PROCESS}a_trial_killed_for_memory_trains_alone_to_the_same_numbers",
         f"{IN_PROCESS}a_trial_that_is_killed_for_memory_even_alone_says_what_it_needs_and_what"
         "_there_is")),
    Row("loss becomes NaN",
        ("training/test_loop.py::test_a_loss_that_diverges_ends_the_trial_with_the_rate_that_did"
         "_it",)),
    Row("trial raises, or kills its worker for ever",
        (f"{IN_PROCESS}a_trial_that_always_kills_its_worker_and_one_that_raises_fail_alone",)),
    Row("second driver",
        (f"{LOCK}a_second_driver_is_refused_and_told_which_process_runs",
         f"{LOCK}a_driver_that_wakes_after_another_took_over_stops_and_leaves_all_as_it_is")),
    Row("clock jumps",
        ("faults/test_torn_files.py::test_clocks_that_jump_change_no_number",
         f"{LOCK}a_heartbeat_that_goes_on_refuses_a_driver_whatever_the_clocks_say")),
    Row("odd paths", ("results/test_status.py::test_a_storage_folder_may_have_any_name",)),
)  # fmt: skip


@dataclass(frozen=True)
class Count:
    """What the tests of a row came to."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


def run(row: Row, seeds: int, log: Path) -> Count:
    """Run the tests of a row; what they print is added to the log."""
    environment = {**os.environ, "DANN_TEST_SEEDS": str(seeds), "DANN_TEST_KILLS": str(seeds)}
    with tempfile.TemporaryDirectory(prefix="dann-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            *(sys.executable, "-m", "pytest", "-n0", "-q", "-m", "", "-p", "no:cacheprovider"),
            *("--timeout", "0", "--basetemp", f"{folder}/files", "--junit-xml", str(report)),
            *(f"tests/{test}" for test in row.tests),
        ]
        with log.open("ab") as file:
            subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            suite = ElementTree.parse(report).getroot()[0]
        except (OSError, ElementTree.ParseError):
            return Count(failed=1)
    names = ("tests", "failures", "errors", "skipped")
    tests, failures, errors, skipped = (int(suite.attrib[name]) for name in names)
    failed = failures + errors
    return Count(tests - failed - skipped, failed, skipped)


def main() -> int:
    """Run the rows that are asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="run the faults with this word in their names")
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir(), "campaign.log"))
    given = parser.parse_args()
    rows = [row for row in ROWS if given.only.casefold() in row.fault.casefold()]
    if not rows:
        parser.error(f"no fault has '{given.only}' in its name")
    print(f"{'fault':50} {'runs':>5} {'failed':>7} {'skipped':>8} {'s':>6}")
    bad = 0
    for row in rows:
        begun = time.monotonic()
        count = run(row, given.seeds, given.log)
        bad += count.failed or not count.passed
        runs = count.passed + count.failed
        seconds = time.monotonic() - begun
        print(
            f"{row.fault:50} {runs:5} {count.failed:7} {count.skipped:8} {seconds:6.0f}", flush=True
        )
    print(f"{bad} failed; log: {given.log}" if bad else f"none failed; log: {given.log}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
