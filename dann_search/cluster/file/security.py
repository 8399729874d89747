"""Whether token authentication is on, the dashboard closed, and no port open to strangers."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from dann_search.cluster.doctor.authentication import LOOPBACK
from dann_search.cluster.file.launcher_file import CLOUDS, LauncherFile, section
from dann_search.outputs.cluster import Finding
from dann_search.search.authentication import OTHERS, token_file_mode

MODE = "RAY_AUTH_MODE=token"
TOKEN_FILE = ".ray/auth_token"
CLOSED = re.compile(rf"chmod\s+0?600\s+\S*{re.escape(TOKEN_FILE)}")
DASHBOARD = re.compile(r"(?<!\S)--dashboard-host[=\s]+[\"']?([^\s\"';&|]+)")
SSH = 22
WIDEST = {4: 8, 6: 16}
"""Shortest prefix, by IP version, of a network that one owner may have, such as 10.0.0.0/8."""


def check_security(file: LauncherFile) -> Iterator[Finding]:
    """Check the token, the dashboard and the rules of the security group."""
    for check in (_check_token, _check_token_mode, _check_mode, _check_dashboard, _check_rules):
        yield from check(file)


def _check_token(file: LauncherFile) -> Iterator[Finding]:
    places = [TOKEN_FILE]
    for text in [*file.commands, *(option for one in file.nodes for option in one.options)]:
        # $NAME and $(...) come from elsewhere; anything else is the token itself.
        if re.search(r"\bRAY_AUTH_TOKEN=[\"']?[^\s\"'$]", text.text):
            yield file.error(
                text.path, "contains the token itself; bring its file with file_mounts instead"
            )
        mode = re.search(r"\bRAY_AUTH_MODE=[\"']?(\w+)", text.text)
        if mode and mode[1] != "token":
            yield file.error(text.path, f"RAY_AUTH_MODE: must be token, got {mode[1]}")
        if place := re.search(r"\bRAY_AUTH_TOKEN_PATH=[\"']?([^\s\"']+)", text.text):
            places.append(place[1])
    if not any(target.endswith(tuple(places)) for target in file.brought):
        yield file.error(
            ("file_mounts",),
            f"no token reaches the nodes: add '~/{TOKEN_FILE}: ~/{TOKEN_FILE}' (make yours with "
            "'ray get-auth-token --generate')",
        )


def _check_token_mode(file: LauncherFile) -> Iterator[Finding]:
    """Require that only its owner reads the token, here and on the nodes: it lets in anyone."""
    target = next((one for one in file.brought if TOKEN_FILE in one), None)
    if target is None:
        return
    if (mode := token_file_mode()) is not None and mode & OTHERS:
        yield file.warning(
            ("file_mounts", target),
            f"~/{TOKEN_FILE} of this machine has mode {mode:04o}: other users can read it and run "
            f"code on every node; run: chmod 600 ~/{TOKEN_FILE}",
        )
    for one in file.nodes:
        commands = [*file.texts(("initialization_commands",)), *one.setup]
        if not any(CLOSED.search(command.text) for command in commands):
            yield file.warning(
                ("setup_commands",),
                "leaves the token readable by all users of a node, who can run code on every node; "
                f"add: chmod 600 ~/{TOKEN_FILE}",
            )


def _check_mode(file: LauncherFile) -> Iterator[Finding]:
    for one in file.nodes:
        if one.image:
            # initialization_commands run on the host, whose environment the container does not see.
            elsewhere, remedy = one.options, f"in docker.run_options: -e {MODE}"
        else:
            exports = [*file.texts(("initialization_commands",)), *one.setup]
            elsewhere = [command for command in exports if "export" in command.text]
            remedy = "before it"
        on = bool(one.starts) and all("RAY_AUTH_MODE=" in start.text for start in one.starts)
        if not on and not any("RAY_AUTH_MODE=" in command.text for command in elsewhere):
            yield file.error(
                one.start_key,
                "token authentication is not on: whoever reaches a port runs code; set "
                f"{MODE} {remedy}",
            )


def _check_dashboard(file: LauncherFile) -> Iterator[Finding]:
    if not file.head.starts and file.provider in CLOUDS:
        yield file.error(
            ("head_start_ray_commands",),
            "must start Ray: Ray's default opens the dashboard on every address (0.0.0.0)",
        )
    for command in file.head.starts:
        host = DASHBOARD.search(command.text)
        if host and host[1] not in LOOPBACK:
            yield file.error(
                command.path,
                f"--dashboard-host: must be 127.0.0.1, got {host[1]}; use ray dashboard",
            )


def _check_rules(file: LauncherFile) -> Iterator[Finding]:
    group = section(section(file.content, "provider"), "security_group")
    for index, rule in _items(group.get("IpPermissions")):
        for key, cidr in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
            for number, one in _items(rule.get(key)):
                if cidr in one and (wrong := _opens(rule, str(one[cidr]))):
                    path = ("provider", "security_group", "IpPermissions", index, key, number, cidr)
                    yield file.error(path, f"{wrong}, got {one[cidr]}")


def _opens(rule: dict[str, Any], cidr: str) -> str:
    """Say what a rule opens to strangers; empty if nothing but SSH."""
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return "must be a network such as 203.0.113.0/24"
    low, high = rule.get("FromPort"), rule.get("ToPort")
    if (low, high) == (SSH, SSH) or network.prefixlen >= WIDEST[network.version]:
        return ""
    ports = "all ports" if low in (None, -1) else f"ports {low} to {high}"
    return (
        f"opens {ports} to the internet; only {SSH} may be open: reach the dashboard through a "
        "tunnel (ray dashboard), or name your own network"
    )


def _items(items: Any) -> list[tuple[int, dict[str, Any]]]:
    found = enumerate(items if isinstance(items, list) else [])
    return [(index, item) for index, item in found if isinstance(item, dict)]
