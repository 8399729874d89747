"""The image and the release workflow: what no service here can run is held against its rules."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dann_search import __version__

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
    if line.strip()
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
LOCK = dict(
    line.split("==")
    for line in (ROOT / "docs/cluster/nodes.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line and not line.startswith("#")
)
SECRET = re.compile(r"(?i)(token|secret|passw|credential|api_?key)")


def of(instruction: str) -> list[str]:
    return [words for name, words in INSTRUCTIONS if name == instruction]


def steps() -> list[dict[str, Any]]:
    return [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_the_image_is_built_by_known_instructions_and_ends_as_an_ordinary_user() -> None:
    known = {"ARG", "FROM", "COPY", "RUN", "USER", "WORKDIR", "CMD"}
    assert {name for name, _ in INSTRUCTIONS} == known
    assert all(words.split()[0] == "${BASE}" for words in of("FROM"))
    last = [name for name, _ in INSTRUCTIONS][::-1].index("FROM")
    final = INSTRUCTIONS[-last - 1 :]
    assert [words for name, words in final if name == "USER"] == ["ray"]
    assert not any("sudo" in words or "curl" in words for words in of("RUN"))


def test_no_secret_and_no_cache_goes_into_a_layer() -> None:
    assert not any(SECRET.search(f"{name} {words}") for name, words in INSTRUCTIONS)
    installs = re.findall(r"pip (?:install|wheel).*", "\n".join(of("RUN")))
    assert installs and all("--no-cache" in line for line in installs)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and "docs/cluster/nodes.txt" in allowed
    assert all((ROOT / name).exists() for name in allowed)
    # What setuptools reads, and no more.
    assert {"README.md", "LICENSE", "pyproject.toml", "dann_search", "search_spaces"} < allowed


def test_the_lock_satisfies_what_the_package_asks_for() -> None:
    extras = re.search(r"\.whl\)\[([a-z0-9,]+)\]", DOCKERFILE)
    assert extras
    optional = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(one for x in extras[1].split(",") for one in optional[x])]
    for requirement in map(Requirement, asked):
        locked = LOCK.get(canonicalize_name(requirement.name))
        assert locked is not None, f"{requirement.name} is not in nodes.txt"
        assert requirement.specifier.contains(locked), f"{requirement}: {locked}"


def test_base_images_have_the_locked_ray_and_torch_is_that_of_the_tests() -> None:
    named = set(re.findall(r"rayproject/ray:([\d.]+)-py311", DOCKERFILE))
    matrix = WORKFLOW["jobs"]["image"]["strategy"]["matrix"]["include"]
    named |= {one["base"].split(":")[1].split("-")[0] for one in matrix}
    assert named == {LOCK["ray"]}
    constraints = (ROOT / ".ci/constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", constraints))
    assert {name: LOCK[name] for name in ("torch", "torchvision")} == {
        name: pinned[name] for name in ("torch", "torchvision")
    }


def test_the_cluster_runs_the_image_that_the_dockerfile_says_to_build() -> None:
    built = set(re.findall(r"docker build -t (\S+)", DOCKERFILE))
    text = (ROOT / "docs/cluster/rayjob.yaml").read_text(encoding="utf-8")
    used = set(re.findall(r"REGISTRY/[\w.:/-]+", text))
    assert built == used == {f"REGISTRY/dann-search:{__version__}"}


def test_a_job_may_do_no_more_than_it_needs() -> None:
    # YAML 1.1 reads the key "on" as true.
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}}
    assert WORKFLOW["permissions"] == {"contents": "read"}
    granted = {name: job.get("permissions") for name, job in WORKFLOW["jobs"].items()}
    assert granted == {"build": None, "pypi": {"id-token": "write"}, "image": None}
    for name, job in WORKFLOW["jobs"].items():
        assert job["runs-on"] and job["timeout-minutes"] <= 60
        assert name == "build" or job["needs"] == "build"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_actions_have_versions_and_no_expression_reaches_a_shell() -> None:
    for step in steps():
        assert "@" in step.get("uses", "@")
        # An expression in a script is code by whoever names a tag.
        assert "${{" not in step.get("run", "")
        for name in re.findall(r"secrets\.(\w+)", str(step)):
            assert "docker/login-action" in step["uses"] and name.startswith("REGISTRY_")


def test_scripts_of_the_workflow_parse_and_what_they_run_is_there() -> None:
    scripts = "\n".join(step["run"] for step in steps() if "run" in step)
    subprocess.run(["bash", "-n"], input=scripts, text=True, check=True)
    assert (ROOT / ".ci/wheel").stat().st_mode & 0o111
    assert ".ci/wheel" in scripts
    upload = next(step for step in steps() if "upload-artifact" in step.get("uses", ""))
    assert 'work="$PWD/.ci/work/wheel"' in (ROOT / ".ci/wheel").read_text(encoding="utf-8")
    assert upload["with"]["path"] == ".ci/work/wheel/dist"


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dann_search", "--version"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"dann-search {__version__}"
