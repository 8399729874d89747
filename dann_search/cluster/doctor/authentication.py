"""Check that no stranger can run code: the token of Ray's ports, the dashboard's address."""

import http.client
import os

from dann_search.cluster.doctor.nodes import verdict
from dann_search.outputs.cluster import Check
from dann_search.search.ray_private import ANSWERED, LIMIT_S, REFUSED, ask_head, own_token

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NAME = "token authentication"
REMEDY = (
    "make a token (ray get-auth-token --generate), copy ~/.ray/auth_token to every node and start "
    "Ray with RAY_AUTH_MODE=token"
)


def check_own_mode(node: str) -> Check:
    """Check the mode of the clusters that launches start on this machine."""
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    wrong = f"RAY_AUTH_MODE={mode}: whoever reaches this machine can run code" * (mode != "token")
    found = "on: Ray makes a token for the clusters it starts here"
    return verdict(NAME, node, found, wrong, "unset RAY_AUTH_MODE, or set it to token")


def check_gcs(address: str) -> Check:
    """Ask the cluster for its nodes without a token, which it must refuse."""
    answer = ask_head(address, None)
    if answer == REFUSED:
        return verdict(NAME, address, "on: refuses requests without a token")
    if answer != ANSWERED:
        remedy = "is a firewall between this machine and it?"
        return verdict(NAME, address, "", f"could not be asked: {answer}", remedy)
    wrong = f"off: whoever reaches {address} runs code"
    return verdict(NAME, address, "", wrong, REMEDY)


def check_own_token(address: str) -> Check:
    """Ask the cluster with this machine's token: Ray would try for long and not say why."""
    token = own_token()
    wrong = ""
    if ask_head(address, token) == REFUSED:
        what = "the token of this machine" if token else "this machine has no token and"
        wrong = f"{what} is refused"
    remedy = "copy ~/.ray/auth_token of the cluster's head to this machine"
    return verdict(NAME, address, "accepted", wrong, remedy)


def check_dashboard(url: str) -> Check:
    """Check that the dashboard, which runs jobs, is on the loopback or asks for a token."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    if host in LOOPBACK:
        return verdict("dashboard", url, "on the loopback: reach it through a tunnel")
    connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)
    try:
        connection.request("GET", "/api/jobs/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return verdict("dashboard", url, f"not reached from here ({type(exc).__name__})")
    finally:
        connection.close()
    wrong = "open: lists its jobs to anyone" if status not in (401, 403) else ""
    remedy = "start the head with --dashboard-host=127.0.0.1 and RAY_AUTH_MODE=token"
    return verdict("dashboard", url, "refuses requests without a token", wrong, remedy)
