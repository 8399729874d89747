"""Who gets in: open ports, the dashboard's address, token authentication."""

import ipaddress
import re
from typing import Any

from dann_search.cluster.file.cluster_file import ClusterFile, Command, section
from dann_search.cluster.file.finding import Notes
from dann_search.config.source import KeyPath

WIDEST = {4: 8, 6: 16}
"""The fewest bits of a network that one owner can have, by IP version: 10.0.0.0/8 is the widest."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SSH = 22
TOKEN_FILE = ".ray/auth_token"


def check_security(file: ClusterFile, notes: Notes) -> None:
    """Rules of the firewall, the dashboard, the token."""
    _check_rules(file, notes)
    _check_dashboard(file, notes)
    _check_published(file, notes)
    _check_token(file, notes)
    _check_secrets(file, notes)


def _check_rules(file: ClusterFile, notes: Notes) -> None:
    group = section(section(file.content, "provider"), "security_group")
    rules = group.get("IpPermissions")
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        for key, cidr in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
            ranges = rule.get(key)
            for number, one in enumerate(ranges if isinstance(ranges, list) else []):
                if isinstance(one, dict) and cidr in one:
                    path: KeyPath = ("provider", "security_group", "IpPermissions", index, key)
                    _check_open(rule, (*path, number, cidr), str(one[cidr]), notes)


def _check_open(rule: dict[str, Any], path: KeyPath, cidr: str, notes: Notes) -> None:
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        notes.error(path, f"must be a network such as 203.0.113.0/24, got {cidr}")
        return
    low, high = rule.get("FromPort"), rule.get("ToPort")
    if (low, high) == (SSH, SSH) or network.prefixlen >= WIDEST[network.version]:
        return
    everything = str(rule.get("IpProtocol")) == "-1" or low in (None, -1)
    ports = "all ports" if everything else f"port {low}" if low == high else f"ports {low}-{high}"
    whom = "a large part of the internet" if network.prefixlen else "the whole internet"
    notes.error(
        path,
        f"{ports} open to {whom}; only {SSH} may be: reach the dashboard through a "
        f"tunnel (ray dashboard), or name your own network, got {cidr}",
    )


def _check_dashboard(file: ClusterFile, notes: Notes) -> None:
    starts = [c for c in file.commands("head_start_ray_commands") if c.starts_ray]
    for command in starts:
        host = command.option("--dashboard-host")
        if host is not None and host not in LOOPBACK:
            notes.error(
                command.path, f"--dashboard-host: must be 127.0.0.1, got {host}: use ray dashboard"
            )


def _check_published(file: ClusterFile, notes: Notes) -> None:
    """Docker drops published ports where a container has the host's network, as Ray's have."""
    for option in _options(file):
        if re.search(r"(^|\s)(-p[=\s]*\d|-P(\s|$)|--publish)", option.text):
            notes.error(
                option.path,
                f"{option.text} does nothing: Ray's containers use the host's network; remove it, "
                "and reach the dashboard through a tunnel (ray dashboard)",
            )


def _check_token(file: ClusterFile, notes: Notes) -> None:
    for command in _all_text(file):
        mode = re.search(r"\bRAY_AUTH_MODE=[\"']?(\w+)", command.text)
        if mode and mode[1] != "token":
            notes.error(command.path, f"RAY_AUTH_MODE: must be token, got {mode[1]}")
            return
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        commands = file.commands(key)
        starts = [command for command in commands if command.starts_ray]
        if not _mode_is_set(file, starts, key.startswith("head")):
            notes.error(
                starts[0].path if starts else (key,),
                "token authentication is not on: whoever reaches a port runs code; set "
                "RAY_AUTH_MODE=token "
                + ("in docker.run_options: -e RAY_AUTH_MODE=token" if file.docker else "before it"),
            )
    mounts = file.content.get("file_mounts")
    targets = [str(target) for target in mounts] if isinstance(mounts, dict) else []
    stated = [
        match[1]
        for command in _all_text(file)
        if (match := re.search(r"\bRAY_AUTH_TOKEN_PATH=[\"']?([^\s\"']+)", command.text))
    ]
    if not any(target.endswith(TOKEN_FILE) or target in stated for target in targets):
        notes.error(
            ("file_mounts",),
            f"no token reaches the nodes: add '~/{TOKEN_FILE}: ~/{TOKEN_FILE}' (make yours with "
            "'ray get-auth-token --generate')",
        )


def _mode_is_set(file: ClusterFile, starts: list[Command], head: bool) -> bool:
    setting = "RAY_AUTH_MODE=token"
    if starts and all(setting in start.text for start in starts):
        return True
    if file.docker:
        # Shells of the host, where initialization_commands run, are not those of the container.
        role = "head_run_options" if head else "worker_run_options"
        options = [*file.commands("docker", "run_options"), *file.commands("docker", role)]
        if any(setting in option.text for option in options):
            return True
    early = [] if file.docker else file.commands("initialization_commands")
    setup = file.head_setup if head else file.worker_setup(next(iter(file.workers), None))
    return any(setting in c.text and "export" in c.text for c in [*early, *setup])


def _check_secrets(file: ClusterFile, notes: Notes) -> None:
    for command in _all_text(file):
        # $NAME and $(…) are taken from elsewhere; anything else is the token itself.
        if re.search(r"\bRAY_AUTH_TOKEN=[\"']?[^\s\"'$]", command.text):
            notes.error(
                command.path,
                "the token itself stands in the file; mount its file instead (file_mounts)",
            )
    provider = section(file.content, "provider")
    for key in ("aws_credentials", "gcp_credentials"):
        if provider.get(key):
            notes.error(
                ("provider", key),
                "a secret in a file that is shared; leave it out: Ray takes what the cloud's own "
                "command line uses",
            )


def _all_text(file: ClusterFile) -> list[Command]:
    """Commands, and options of the container."""
    return [*file.all_commands, *_options(file)]


def _options(file: ClusterFile) -> list[Command]:
    lists = ("run_options", "head_run_options", "worker_run_options")
    options = [option for key in lists for option in file.commands("docker", key)]
    own = [
        option
        for node_type in file.types
        for option in file.commands(*map(str, node_type.path), "docker", "worker_run_options")
    ]
    return [*options, *own]
