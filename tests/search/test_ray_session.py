"""What is shown of a search in a terminal, and what goes into its log."""

import contextlib
import signal
import sys
import threading
from pathlib import Path

import pytest
import ray
from ray._private import parameter, services
from ray._private.node import Node

from dann_search.config.load import load_experiment
from dann_search.data.node_store import StoreSpec
from dann_search.models.registry import stage_counts
from dann_search.search import ray_session
from dann_search.search.executor import ON_THIS_MACHINE, Work
from dann_search.search.interrupts import command_signals, interrupts
from dann_search.search.ray_private import without_monitors
from dann_search.search.ray_session import _start_here
from tests.experiments import space_file
from tests.terminals import Terminal

SHOWN = """
import ctypes, logging, os, sys, time, warnings
from pathlib import Path
from dann_search.cli.watch import LiveDisplay
from dann_search.config.load import load_experiment
from dann_search.models.registry import stage_counts
from dann_search.results.reader import SearchState
from dann_search.results.status import snapshot_of
from dann_search.search.ray_session import quiet_output
from dann_search.storage.layout import ExperimentFolder
from tests.experiments import space_file

experiment, _ = load_experiment(space_file(Path.cwd(), search__trials=8), stage_counts())
state = SearchState(experiment, [], 8, None, True, None)
earlier = logging.StreamHandler()  # holds the sys.stderr of before
with quiet_output(Path("log")) as terminal:
    table = LiveDisplay().searching(terminal, "what goes in")
    folder = ExperimentFolder.at(experiment.place)
    table.show([snapshot_of(folder, state, time.time(), "starting Ray")])
    table.notice("a line for the user")
    print("Number of trials: print")
    print("Number of trials: stderr", file=sys.stderr)
    os.write(1, b"Number of trials: descriptor\\n")
    ctypes.CDLL(None).dprintf(2, b"Number of trials: native\\n")
    warnings.warn("Number of trials: warning")
    logging.getLogger("ray").addHandler(logging.StreamHandler())
    logging.getLogger("ray").warning("Number of trials: logged")
    logging.getLogger("old").addHandler(earlier)
    logging.getLogger("old").warning("Number of trials: logged as before")
    time.sleep(0.6)  # the table is drawn four times a second
    table.close()
print("after the table")
logging.getLogger("ray").warning("logged after the table")
"""
ROOT = str(Path(__file__).parents[2])
WAYS = ("print", "stderr", "descriptor", "native", "warning", "logged", "logged as before")


def test_what_libraries_print_beside_the_live_table_goes_into_the_log(tmp_path: Path) -> None:
    terminal = Terminal([sys.executable, "-c", SHOWN], tmp_path, PYTHONPATH=ROOT)
    shown = terminal.wait(60)
    assert terminal.process.returncode == 0, shown
    assert "0/8 trials done" in shown
    assert "what goes in" in shown and "a line for the user" in shown
    assert "after the table" in shown and "logged after the table" in shown
    assert "Number of trials" not in shown
    log = (tmp_path / "log").read_text()
    for way in WAYS:
        assert f"Number of trials: {way}\n" in log
    assert "after the table" not in log


def test_a_cluster_of_ones_own_has_no_autoscaler_no_server_and_no_reader_of_logs() -> None:
    usual, server = parameter.RayParams, services.start_api_server
    with without_monitors():
        made = parameter.RayParams()
        started = services.start_api_server(False, True, "127.0.0.1")
    assert made.no_monitor is True and made.include_log_monitor is False
    assert started == (None, None)
    assert (parameter.RayParams, services.start_api_server) == (usual, server)
    assert usual().include_log_monitor is not False


SLOW = "The current node timed out during startup. This could happen because"


@pytest.mark.parametrize(
    ("error", "failures", "starts"),
    [
        (SLOW, 1, 2),
        (SLOW, 2, 2),  # then it is given up
        ("no room in /tmp", 1, 1),
    ],
)
def test_a_raylet_that_does_not_come_up_in_time_is_started_once_more(
    monkeypatch: pytest.MonkeyPatch, error: str, failures: int, starts: int
) -> None:
    calls = list[str]()

    class HalfStarted(Node):
        def __init__(self) -> None:
            raise Exception(error)

    def init(**options: object) -> None:
        calls.append("init")
        if calls.count("init") <= failures:
            HalfStarted()

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    monkeypatch.setattr(Node, "kill_all_processes", lambda self, **_: calls.append("kill"))
    fails = pytest.raises(Exception, match=error) if failures >= starts else None
    with fails or contextlib.nullcontext():
        _start_here(cpus=2)
    assert calls == ["init", *["kill", "shutdown", "init"] * (starts - 1)]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_signal_while_ray_starts_ends_the_start_at_once(
    monkeypatch: pytest.MonkeyPatch, when: str, tmp_path: Path
) -> None:
    calls = list[str]()

    class Starts(Node):
        def __init__(self) -> None:
            calls.append("started")
            signal.raise_signal(signal.SIGTERM)
            calls.append("waited for the raylet")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # it may be, by other tests
    monkeypatch.setattr(ray, "init", lambda **_: Starts())
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    monkeypatch.setattr(Node, "kill_all_processes", lambda self, **_: calls.append("kill"))
    experiment, _ = load_experiment(space_file(tmp_path), stage_counts())
    with command_signals() as received, interrupts(threading.Event()) as interrupt:
        if when == "before":
            signal.raise_signal(signal.SIGTERM)
        work = Work(
            experiment=experiment,
            store=StoreSpec("", experiment.data, 16, {}),
            logs=tmp_path,
            wanted=1,
            interrupt=interrupt,
            tell=print,
        )
        with ON_THIS_MACHINE.fleet(work) as fleet:
            assert fleet is None
        signal.raise_signal(signal.SIGTERM)  # is noted again, as before the start
        assert received.number == signal.SIGTERM
    assert calls == ([] if when == "before" else ["started", "kill", "shutdown"])


def test_a_signal_that_is_seen_after_the_loss_of_ray_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes, ended = iter([1, 1, 143, 143]), list[tuple[str, int]]()
    monkeypatch.setattr(ray_session, "exit_code_at_failure", lambda: next(codes))
    monkeypatch.setattr(ray_session, "end_now", lambda what, code: ended.append((what, code)))
    ray_session._end_without_head("kept", "Ray is gone")
    assert ended == [("Ray is gone\nkept", 143)]
