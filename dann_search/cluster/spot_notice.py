"""Watch for the cloud's notice that it takes a spot node away, and have Ray drain the node.

Ray 2.60's launcher does not listen to these notices. On a drained node, trials are saved at their
next step and continue elsewhere; without a notice they go back to their last epoch. Run
``python -m dann_search.cluster.spot_notice aws`` (or ``gcp``) beside Ray on every spot node. With
``now`` it drains at once, for callers that have received the notice themselves.
"""

import fcntl
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

LOOK_S = 5.0
ANSWER_S = 2.0
LEFT_S = {"aws": 120, "gcp": 30, "now": 60}
"""Seconds from the notice to the end. AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/
spot-instance-termination-notices.html; GCP: https://cloud.google.com/compute/docs/instances/spot"""
USAGE = f"usage: python -m dann_search.cluster.spot_notice {'|'.join(LEFT_S)}"


NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A metadata service is on a link-local address: a proxy would answer for its own machine."""


def aws_takes_it() -> bool:
    """Ask EC2's metadata service (version 2) whether it takes this node; 404 means no.

    Raises:
        OSError: no answer, or an error.
        ValueError: not an answer of the service.
    """
    host = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254"
    root = f"{host.rstrip('/')}/latest"
    # A new token for each request, so that none expires.
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    shown = {"X-aws-ec2-metadata-token": _read(f"{root}/api/token", lifetime, method="PUT")}
    try:
        action = _read(f"{root}/meta-data/spot/instance-action", shown)
    except urllib.error.HTTPError as exc:
        if exc.code == 404:
            return False
        raise
    content = json.loads(action)
    if not isinstance(content, dict) or "action" not in content:
        raise ValueError(f"unexpected answer: {action[:80]!r}")
    return True


def gcp_takes_it() -> bool:
    """Ask Google's metadata service; raises like ``aws_takes_it``."""
    host = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
    url = f"http://{host}/computeMetadata/v1/instance/preempted"
    answer = _read(url, {"Metadata-Flavor": "Google"})
    if answer not in ("TRUE", "FALSE"):
        raise ValueError(f"unexpected answer: {answer[:80]!r}")
    return answer == "TRUE"


def _read(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with NO_PROXY.open(request, timeout=ANSWER_S) as response:
            return str(response.read().decode())
    except http.client.HTTPException as exc:  # cut off, or not HTTP at all
        raise ValueError(f"{type(exc).__name__}: {exc}") from None


def drain(left_s: int) -> None:
    """Have Ray drain this node, which ends in ``left_s`` seconds.

    Raises:
        SubprocessError: Ray does not answer in that time, or refuses.
    """
    subprocess.run(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", "auto"),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION"),
            *("--reason-message", "the cloud takes this node away"),
            *("--deadline-remaining-seconds", str(left_s)),
        ],
        check=True,
        timeout=left_s,
    )


def watch(
    taken: Callable[[], bool], tell_ray: Callable[[], object], look_s: float = LOOK_S
) -> None:
    """Poll until the node is taken, then tell Ray once; repeat what fails.

    Report only the first of several failures in a row, to keep the log of a long-lived node short.
    """
    _until_done(taken, look_s, "the metadata service", "asked")
    _until_done(lambda: tell_ray() is None, look_s, "Ray", "told")


def _until_done(action: Callable[[], bool], pause_s: float, who: str, done: str) -> None:
    failing = False
    while True:
        try:
            if action():
                return
            if failing:
                print(f"{who} answers again", file=sys.stderr, flush=True)
            failing = False
        except (OSError, ValueError, subprocess.SubprocessError) as exc:
            if not failing:
                what = " ".join(str(exc).split()) or type(exc).__name__
                print(f"{who} failed, {done} again: {what}", file=sys.stderr, flush=True)
            failing = True
        time.sleep(pause_s)


def main(arguments: list[str]) -> int:
    """Run the watch named by the argument, at most one on a machine."""
    if len(arguments) != 1 or arguments[0] not in LEFT_S:
        print(USAGE, file=sys.stderr)
        return 2
    (kind,) = arguments
    if kind == "now":
        drain(LEFT_S[kind])
        return 0
    # A launcher that sets the node up again also starts this again.
    with open(Path(tempfile.gettempdir()) / "dann-search-spot-notice.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("a watch is kept already", file=sys.stderr)
            return 0
        watch({"aws": aws_takes_it, "gcp": gcp_takes_it}[kind], lambda: drain(LEFT_S[kind]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
