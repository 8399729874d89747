"""Jobs over HTTP: lost connections, one job for each experiment, storage, the token."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dann_search.cli import main
from dann_search.cluster import job_server, jobs
from dann_search.cluster.job_record import Job, write_job
from dann_search.cluster.job_server import JobServer
from dann_search.outputs.search import SearchEnded
from dann_search.outputs.shared import TrialCounts
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from tests.cluster.fake_job_server import (
    FakeJobServer,
    Fault,
    fake_job_server,
    fall_silent,
    hang_up,
    hang_up_after,
    say,
    say_nothing,
)
from tests.experiments import space_file
from tests.json_output import failed, printed

Patch = pytest.MonkeyPatch
Captured = pytest.CaptureFixture[str]
LOST: dict[str, Fault] = {
    "hung up": hang_up,
    "no answer in time": say_nothing,
    "server error": say(500, "Traceback\n  in x\nRuntimeError: no room"),
    "gateway": say(502, "<html>\nbad gateway\n</html>"),
    "not JSON": say(200, "<html>welcome</html>"),
    "other JSON": say(200, '["a"]'),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A user without a token or a cache."""
    for name in (
        "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS",
        "DANN_SEARCH_STORAGE", "http_proxy",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "home"


@pytest.fixture
def server(home: Path, monkeypatch: Patch) -> Iterator[FakeJobServer]:
    monkeypatch.setattr(job_server, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(job_server, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(jobs, "RECONNECT_S", 0.01)
    monkeypatch.setattr(jobs, "ENDING_S", 0.1)
    with fake_job_server() as fake:
        yield fake


def folder_of(path: Path) -> ExperimentFolder:
    return ExperimentFolder.at(path / "runs" / "small")


def running_job(server: FakeJobServer, path: Path) -> ExperimentFolder:
    """Start a job on the server, and return the experiment that has its record."""
    folder = folder_of(path)
    server.add("one", "RUNNING")
    write_job(folder, Job(server.url, "one"))
    return folder


def leave_result(folder: ExperimentFolder) -> None:
    folder.root.mkdir(parents=True, exist_ok=True)
    result = SearchEnded(
        experiment=str(folder),
        trials=TrialCounts(completed=2, pruned=0, failed=0),
        objective="f1_macro",
        best=None,
        confirmation=None,
        elapsed_s=1.5,
        stopped_by="trials",
    )
    folder.result.write_text(result.model_dump_json())


def launch(tmp_path: Path, server: FakeJobServer, *words: str) -> int:
    path = space_file(tmp_path)
    return main(["launch", str(path), "--address", server.url, "--detach", *words])


@pytest.mark.parametrize("fault", LOST)
def test_a_job_whose_submission_got_no_answer_is_submitted_once(
    fault: str, server: FakeJobServer, tmp_path: Path, monkeypatch: Patch
) -> None:
    if fault == "no answer in time":
        monkeypatch.setattr(job_server, "ANSWER_S", 1.0)
    server.fail("POST /api/jobs/", hang_up_after, LOST[fault])
    assert launch(tmp_path, server) == 0
    assert len(server.jobs) == 1
    (job_id,) = server.jobs
    assert json.loads(folder_of(tmp_path).job.read_text()) == {"address": server.url, "id": job_id}


@pytest.mark.parametrize("fault", ["server error", "not JSON", "hung up"])
def test_a_submission_that_is_never_answered_says_that_the_job_may_be_there(
    fault: str, server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    monkeypatch.setattr(jobs, "SUBMIT_S", 0.1)
    server.fail("POST /api/jobs/", *[LOST[fault]] * 100)
    assert launch(tmp_path, server, "--json") == 1
    said = capsys.readouterr()
    folder = folder_of(tmp_path)
    assert "may have been accepted" in said.err
    assert f"dann-search attach {folder}" in said.err
    assert "Traceback" not in said.err
    if fault == "server error":
        assert "no room" in said.err
    assert json.loads(folder.job.read_text())["id"] in failed("launch", said.out)
    # The same command again.
    server.faults.clear()
    assert launch(tmp_path, server) == 0
    assert len(server.jobs) == 1


def test_the_record_is_there_before_the_job(
    server: FakeJobServer, tmp_path: Path, monkeypatch: Patch
) -> None:
    folder, found = folder_of(tmp_path), []

    async def look(fake: FakeJobServer, request: Any) -> Any:
        found.append(json.loads(folder.job.read_text())["id"])
        return await fake.served(request)

    server.fail("POST /api/jobs/", look)
    assert launch(tmp_path, server) == 0
    assert found == list(server.jobs)


def test_a_job_that_is_refused_leaves_nothing(
    server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    server.fail("POST /api/jobs/", say(400, "TypeError: no such field"))
    assert launch(tmp_path, server) == 2
    assert "no such field" in capsys.readouterr().err
    assert not folder_of(tmp_path).root.exists()


def test_an_experiment_whose_job_is_live_is_not_submitted_again(
    server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    assert launch(tmp_path, server) == 0
    assert launch(tmp_path, server) == 2
    (job_id,) = server.jobs
    said = capsys.readouterr().err
    assert job_id in said and "dann-search attach" in said
    server.jobs[job_id]["status"] = "FAILED"  # before it wrote the experiment
    assert launch(tmp_path, server) == 0
    assert len(server.jobs) == 2


def test_of_two_who_submit_at_once_one_is_told_of_the_other(
    server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    async def other_was_first(fake: FakeJobServer, request: Any) -> Any:
        told = await request.json()
        fake.add(told["submission_id"], "RUNNING", **(told["metadata"] | {"submission": "other"}))
        return await fake.served(request)

    server.fail("POST /api/jobs/", other_was_first)
    assert launch(tmp_path, server) == 2
    assert "is already searching it" in capsys.readouterr().err
    (job_id,) = server.jobs
    assert json.loads(folder_of(tmp_path).job.read_text())["id"] == job_id


@pytest.mark.parametrize("fault", LOST)
def test_short_drops_are_waited_out_while_a_job_is_followed(
    fault: str, server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    if fault == "no answer in time":
        monkeypatch.setattr(job_server, "ANSWER_S", 1.0)
    folder = running_job(server, tmp_path)
    leave_result(folder)
    server.tails = ["trial 0\n", "trial 0\ntrial 1\n", "trial 0\ntrial 1\ntrial 2\n"]
    server.fail("GET /api/jobs/one/logs/tail", LOST["server error"], LOST["not JSON"])
    server.fail("GET /api/jobs/one", *[LOST[fault]] * 2)
    assert main(["attach", str(folder.root), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["stopped_by"] == "trials"
    for number in range(3):
        assert said.err.count(f"trial {number}") == 1, said.err
    assert said.err.count("connection lost") == 1


def test_a_connection_that_was_cut_without_a_word_is_made_anew(
    server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    monkeypatch.setattr(jobs, "SILENCE_S", 0.3)
    folder = running_job(server, tmp_path)
    leave_result(folder)
    server.tails = ["trial 0\n", "trial 0\ntrial 1\n"]
    server.fail("GET /api/jobs/one/logs/tail", fall_silent)
    assert main(["attach", str(folder.root)]) == 0
    assert capsys.readouterr().err == "trial 0\ntrial 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "ended as SUCCEEDED without a result; what was trained is kept"),
        ('{"experiment": "small"}', "without a result that this version can read ("),
    ],
)
def test_a_job_without_a_result_ends_with_the_way_to_resume(
    text: str | None, message: str, server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    folder = running_job(server, tmp_path)
    if text is not None:
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.result.write_text(text)
    server.tails = ["trial 0\n"]
    assert main(["attach", str(folder.root)]) == 1
    said = capsys.readouterr().err
    assert message in said and f"dann-search resume {folder} --address {server.url}" in said


@pytest.mark.parametrize("fault", ["server error", "hung up", "not JSON"])
def test_a_connection_that_stays_lost_ends_with_the_way_back(
    fault: str, server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    monkeypatch.setattr(jobs, "LOST_S", 0.1)
    folder = running_job(server, tmp_path)
    server.fail("GET /api/jobs/one", *[LOST[fault]] * 100)
    assert main(["attach", str(folder.root)]) == 1
    said = capsys.readouterr().err
    assert "continues" in said and f"dann-search attach {folder}" in said
    assert "Traceback" not in said
    assert server.jobs["one"]["status"] == "RUNNING"


def test_a_job_that_the_head_has_forgotten_is_told(
    server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    folder = folder_of(tmp_path)
    write_job(folder, Job(server.url, "one"))
    assert main(["attach", str(folder.root)]) == 2
    assert "repeat the launch" in capsys.readouterr().err
    folder.record.touch()
    assert main(["attach", str(folder.root)]) == 2
    assert "dann-search resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "words"),
    [(say(401, "who?"), "requires a token"), (say(403, "no"), "refuses this machine's token")],
)
def test_who_is_refused_while_attached_is_told_that_the_job_goes_on(
    fault: Fault, words: str, server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    folder = running_job(server, tmp_path)
    server.fail("GET /api/jobs/one", fault, fault)
    assert main(["attach", str(folder.root)]) == 2
    said = capsys.readouterr().err
    assert words in said and "continues" in said


@pytest.mark.parametrize("fault", LOST)
def test_what_is_no_job_server_is_refused_at_once(
    fault: str, server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    monkeypatch.setattr(job_server, "ANSWER_S", 1.0)
    server.fail("GET /api/version", LOST[fault])
    assert launch(tmp_path, server) == 2
    assert "no Ray job server answers there" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("address", ["http://", "http://head:port", "https://[::1"])
def test_an_address_that_is_none_is_refused(
    address: str, home: Path, tmp_path: Path, capsys: Captured
) -> None:
    path = space_file(tmp_path)
    assert main(["launch", str(path), "--address", address, "--detach"]) == 2
    assert f"--address {address}" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["runs", "../runs", "~/runs", "file:///srv/runs"])
def test_storage_of_this_machine_is_refused_with_its_line(
    value: str, server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    path = space_file(tmp_path, storage=value)
    assert main(["launch", str(path), "--address", server.url]) == 2
    said = capsys.readouterr().err
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "storage:" in text)
    assert f"{path}:{line}: storage: must be" in said and repr(value) in said.replace('"', "'")
    assert main(["launch", str(path), "--storage", value, "--address", server.url]) == 2
    assert f"--storage {value}: storage: must be" in capsys.readouterr().err
    assert not server.jobs


def test_storage_that_nobody_names_is_refused_and_that_of_the_environment_by_its_name(
    server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    path = space_file(tmp_path)
    kept = [line for line in path.read_text().splitlines() if not line.startswith("storage")]
    path.write_text("\n".join(kept))
    assert main(["launch", str(path), "--address", server.url]) == 2
    assert f"{path}: storage: is missing" in capsys.readouterr().err
    monkeypatch.setenv("DANN_SEARCH_STORAGE", "experiments")
    assert main(["launch", str(path), "--address", server.url]) == 2
    assert "$DANN_SEARCH_STORAGE: must be" in capsys.readouterr().err


def test_an_experiment_on_the_clusters_disk_is_followed_and_resumed_from_here(
    server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    place = tmp_path / "mnt" / "efs" / "small"  # exists on the cluster alone
    assert launch(tmp_path, server, "--storage", str(place.parent)) == 0
    said = capsys.readouterr().out
    assert "this machine does not see" in said and f"'dann-search status {place}'" in said
    assert not (tmp_path / "mnt").exists()
    (job,) = server.jobs
    server.jobs[job]["status"] = "FAILED"
    server.fail(f"GET /api/jobs/{job}/logs/tail", say(500, "no log"))
    assert main(["attach", str(place)]) == 1
    said = capsys.readouterr().err
    assert "ended as FAILED" in said and "this machine does not see" in said
    assert main(["attach", str(place)]) == 0
    said = capsys.readouterr().out
    assert "the job succeeded" in said and f"'dann-search status {place}'" in said
    assert main(["attach", str(place), "--json"]) == 0
    ended = printed("attach", capsys.readouterr().out)
    assert ended == {
        "experiment": str(place), "job": job, "address": server.url, "state": "SUCCEEDED"
    }  # fmt: skip
    assert main(["stop", str(place)]) == 2
    assert f"'dann-search stop {place}'" in capsys.readouterr().err
    assert main(["resume", str(place), "--address", server.url, "--detach"]) == 0
    assert len(server.jobs) == 2
    assert not (tmp_path / "mnt").exists()


def test_named_variables_go_with_a_job_and_others_do_not(
    server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    monkeypatch.setenv("STUDY_PW", "hunter2")
    monkeypatch.setenv("OTHER", "stays here")
    assert launch(tmp_path, server, "--env", "STUDY_PV") == 2
    said = capsys.readouterr().err
    assert "--env STUDY_PV: no such variable is set; did you mean 'STUDY_PW'?" in said
    assert launch(tmp_path, server, "--env", "STUDY_PW") == 0
    shown = capsys.readouterr()
    assert "hunter2" not in shown.out + shown.err
    assert server.environments == [{"STUDY_PW": "hunter2"}]
    assert main(["launch", str(tmp_path / "space.yaml"), "--env", "STUDY_PW"]) == 2
    assert "--env: needs a job server" in capsys.readouterr().err


def test_watching_a_job_that_has_not_begun_waits_for_its_search(
    server: FakeJobServer,
    searched: ExperimentFolder,
    tmp_path: Path,
    monkeypatch: Patch,
    capsys: Captured,
) -> None:
    place = tmp_path / "runs" / searched.root.name
    write_job(ExperimentFolder(place), Job(server.url, "one"))
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            shutil.copytree(searched.root, place, dirs_exist_ok=True)

    monkeypatch.setattr("dann_search.cli.results.time.sleep", sleep)
    assert main(["status", str(place), "--watch"]) == 0
    said = capsys.readouterr()
    assert said.err.count("waiting for the job to begin") == 1 and str(place) in said.err
    assert len(looks) >= 3 and searched.root.name in said.out
    assert main(["status", str(tmp_path / "runs" / "nothing"), "--watch"]) == 2


def test_an_experiment_of_this_machine_is_not_resumed_elsewhere_by_its_name(
    server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    folder = folder_of(tmp_path)
    folder.root.mkdir(parents=True)
    folder.record.touch()
    monkeypatch.chdir(tmp_path)
    for name in ("small", "runs/small"):
        assert main(["resume", name, "--address", server.url, "--detach"]) == 2
        assert f"dann-search resume {folder} --address" in capsys.readouterr().err
    assert main(["resume", str(folder), "--address", server.url, "--detach"]) == 0
    (job,) = server.jobs.values()
    job["status"] = "SUCCEEDED"
    monkeypatch.setenv("DANN_SEARCH_STORAGE", str(tmp_path / "runs"))
    assert main(["resume", "small", "--address", server.url, "--detach"]) == 0
    assert len(server.jobs) == 2


def test_a_search_goes_on_as_soon_as_its_stopped_job_has_ended(
    server: FakeJobServer, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(jobs, "ENDING_S", 60.0)
    folder = folder_of(tmp_path)
    folder.root.mkdir(parents=True)
    folder.record.touch()
    server.add("one", "RUNNING", experiment=str(folder))

    async def end(fake: FakeJobServer, request: Any) -> Any:
        answer = await fake.served(request)
        fake.jobs["one"]["status"] = "SUCCEEDED"
        return answer

    server.fail("GET /api/jobs/", end)
    assert main(["resume", str(folder.root), "--address", server.url, "--detach"]) == 0
    assert len(server.jobs) == 2


def test_an_experiment_that_a_driver_works_on_is_not_launched(
    server: FakeJobServer, tmp_path: Path, capsys: Captured
) -> None:
    with DriverLock(folder_of(tmp_path)):  # it may be packing: there is no record yet
        assert launch(tmp_path, server) == 2
    assert "already running" in capsys.readouterr().err
    assert not server.jobs


@pytest.fixture
def token(monkeypatch: Patch) -> str:
    """Set the user's token, which Ray's client reads once in a process."""
    header = {"authorization": "Bearer secret"}
    module = "ray.dashboard.modules.dashboard_sdk.get_auth_headers_if_auth_enabled"
    monkeypatch.setattr(module, lambda headers: dict(header))
    return "secret"


def shown_to(server: FakeJobServer) -> bool:
    return any("secret" in repr(headers) for _, _, headers in server.asked)


def test_a_redirect_is_refused_and_nothing_goes_where_it_leads(
    server: FakeJobServer, token: str, tmp_path: Path, capsys: Captured
) -> None:
    with fake_job_server() as other:
        for status in (302, 307):
            server.fail("GET /api/version", say(status, "", Location=f"{other.url}/api/version"))
            assert launch(tmp_path, server) == 2
            assert f"redirects to {other.url}" in capsys.readouterr().err
        server.fail("POST /api/jobs/", say(307, "", Location=f"{other.url}/api/jobs/"))
        assert launch(tmp_path, server) == 2
        assert not other.asked and shown_to(server)
        # The log is followed on a connection of its own.
        folder = running_job(server, tmp_path)
        where = say(302, "", Location=f"{other.url}/api/jobs/one/logs/tail")
        server.fail("GET /api/jobs/one/logs/tail", where)
        leave_result(folder)
        assert main(["attach", str(folder.root)]) == 0
        assert not shown_to(other)


def test_an_address_of_the_environment_does_not_replace_the_one_that_is_named(
    server: FakeJobServer, token: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    with fake_job_server() as other:
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            monkeypatch.setenv(name, other.url)
        assert launch(tmp_path, server) == 0
        assert server.jobs and not other.asked


def test_a_token_is_not_shown_to_an_address_that_a_record_names(
    server: FakeJobServer, token: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    monkeypatch.setattr(job_server, "is_loopback", lambda address: False)
    server.token = token
    folder = running_job(server, tmp_path)
    leave_result(folder)
    assert main(["attach", str(folder.root)]) == 2
    assert f"add --address {server.url}" in capsys.readouterr().err
    assert not shown_to(server)
    assert main(["attach", str(folder.root), "--address", server.url]) == 0
    assert shown_to(server)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://localhost:8265", True),
        ("http://127.0.0.1:8265", True),
        ("http://[::1]:8265", True),
        ("http://localhost.evil.org:8265", False),
        ("http://127.0.0.1@evil.org:8265", False),
        ("http://10.0.0.1:8265", False),
    ],
)
def test_the_end_of_a_tunnel_is_on_this_machine(address: str, here: bool) -> None:
    assert job_server.is_loopback(address) == here
    assert JobServer(address, named=False).shows_token == here


def test_who_has_no_token_or_another_is_told_which_is_wanted(
    server: FakeJobServer, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    headers: dict[str, str] = {}
    module = "ray.dashboard.modules.dashboard_sdk.get_auth_headers_if_auth_enabled"
    monkeypatch.setattr(module, lambda _: dict(headers))
    monkeypatch.setattr(job_server, "own_token", lambda: None)
    server.token = "theirs"
    assert launch(tmp_path, server) == 2
    assert "this machine has none; put the cluster's in" in capsys.readouterr().err
    monkeypatch.setattr(job_server, "own_token", lambda: "mine")
    assert launch(tmp_path, server) == 2
    assert "RAY_AUTH_MODE turns it off" in capsys.readouterr().err
    headers["authorization"] = "Bearer mine"
    assert launch(tmp_path, server) == 2
    said = capsys.readouterr().err
    assert "refuses this machine's token" in said and "RAY_AUTH_TOKEN" in said
    assert not (tmp_path / "runs").exists()
