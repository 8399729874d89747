"""This machine alone: quick, without starting Ray."""

import socket
import uuid

from dann_search.cluster.doctor import judge, places, probe
from dann_search.cluster.doctor.authentication import check_own_mode
from dann_search.cluster.doctor.needs import Needs
from dann_search.cluster.doctor.report import Report
from dann_search.search.ray_session import OBJECT_STORE_BYTES
from dann_search.storage.remote_folder import is_url


def check_machine(needs: Needs) -> Report:
    """All that can be said without a cluster."""
    node, storage = socket.gethostname(), needs.storage
    folders = (storage,) if storage is not None and not is_url(storage) else ()
    facts = probe.look(folders)
    checks = [
        judge.judge_versions(node, facts),
        *judge.judge_cuda({node: facts}),
        judge.judge_gpus(node, facts),
        judge.judge_shared_memory(node, facts, OBJECT_STORE_BYTES),
        judge.judge_disk(node, facts, needs),
        check_own_mode(node),
    ]
    if storage is not None:
        run, mark = uuid.uuid4().hex, "here"
        wrote = places.write(storage, run, mark)
        sees = places.marks(storage, run)
        places.erase(storage, run, wrote.made)
        checks.append(judge.judge_storage(node, storage, wrote.error, sees, {mark: node}))
    report = Report(checks)
    if needs.places is None:
        report.not_checked.append("data: name the search with --space SPACE.yaml")
    else:
        checks.append(judge.judge_data(node, needs.places, places.missing(needs.places)))
    return report
