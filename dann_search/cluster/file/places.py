"""Where nodes are to be had: a region and its zones, a project, or machines by their addresses."""

import ipaddress
import re
from typing import Any

from dann_search.cluster.file.cluster_file import ClusterFile, section
from dann_search.cluster.file.finding import Notes
from dann_search.config.messages import shown

REQUIRED = {
    "aws": ("region",),
    "gcp": ("region", "availability_zone", "project_id"),
    "local": ("head_ip", "worker_ips"),
}
RAYS_ACCOUNT = re.compile(r"ray-autoscaler-sa-v1@([\w-]+)\.iam\.gserviceaccount\.com")
"""Made by Ray, in the project that the nodes are in."""


def check_places(file: ClusterFile, notes: Notes) -> None:
    """What a provider cannot do without, and what of it contradicts the rest."""
    provider = section(file.content, "provider")
    managed = file.provider == "local" and "coordinator_address" in provider
    known = managed or notes.wrong_in("provider")
    for key in () if known else REQUIRED.get(file.provider, ()):
        if not provider.get(key):
            notes.error(("provider", key), "is missing")
    _check_zones(file.provider, provider, notes)
    _check_account(file, provider, notes)
    if file.provider == "local":
        _check_machines(file, provider, notes)
    _check_user(file, notes)


def _check_zones(kind: str, provider: dict[str, Any], notes: Notes) -> None:
    region, zones = provider.get("region"), provider.get("availability_zone")
    if kind not in ("aws", "gcp") or not isinstance(region, str) or not isinstance(zones, str):
        return
    first = region + ("-" if kind == "gcp" else "")
    for zone in (part.strip() for part in zones.split(",")):
        if not zone.startswith(first) or zone == region:
            notes.error(
                ("provider", "availability_zone"),
                f"must be in the region {region}, such as {first}a, got {zone}",
            )
            return


def _check_account(file: ClusterFile, provider: dict[str, Any], notes: Notes) -> None:
    project = provider.get("project_id")
    for node_type in file.types if file.provider == "gcp" else []:
        accounts = node_type.settings.get("serviceAccounts")
        for account in accounts if isinstance(accounts, list) else []:
            email = str(account.get("email")) if isinstance(account, dict) else ""
            found = RAYS_ACCOUNT.fullmatch(email)
            if found and project and found[1] != project:
                notes.error(
                    (*node_type.path, "node_config", "serviceAccounts"),
                    f"Ray makes this account in the project of the nodes ({project}), got {email}",
                )


def _check_machines(file: ClusterFile, provider: dict[str, Any], notes: Notes) -> None:
    """Every machine by an address of its own."""
    workers = provider.get("worker_ips")
    workers = workers if isinstance(workers, list) else []
    head = provider.get("head_ip")
    seen = {head: "the head"} if isinstance(head, str) else {}
    for index, address in enumerate([head, *workers]):
        key = ("head_ip",) if index == 0 else ("worker_ips", index - 1)
        if re.fullmatch(r"[\d.]+", str(address)) and not _is_ipv4(str(address)):
            notes.error(
                ("provider", *key), f"must be an address such as 192.168.1.11, got {shown(address)}"
            )
        elif index and isinstance(address, str):
            if address in seen:
                notes.error(
                    ("provider", *key), f"{address} stands twice: it is {seen[address]} already"
                )
            seen[address] = "a worker"
    most, least = file.content.get("max_workers"), file.content.get("min_workers", len(workers))
    if isinstance(most, int) and isinstance(least, int) and most < min(least, len(workers)):
        notes.error(
            ("max_workers",),
            f"must be at least min_workers ({least}; by default the number of worker_ips), "
            f"got {most}",
        )


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _check_user(file: ClusterFile, notes: Notes) -> None:
    """Ray has a user for the clouds where nothing stands under ``auth``, and none otherwise."""
    by_default = file.provider != "local" and "auth" not in file.content
    auth = section(file.content, "auth")
    missing = not by_default and not auth.get("ssh_user") and not notes.wrong_in("auth")
    if file.provider in REQUIRED and missing:
        notes.error(("auth", "ssh_user"), "is missing: ray up could not log in")
