"""A search in a notebook's kernel: its live table, and what the stop button does."""

import queue
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from dann_search.results.status import status
from dann_search.storage.layout import ExperimentFolder
from tests.drivers import LIMIT_S
from tests.experiments import space_file

Kernel = tuple[KernelManager, BlockingKernelClient]


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    manager, client = start_new_kernel(cwd=str(tmp_path))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def messages(client: BlockingKernelClient) -> Iterator[dict[str, Any]]:
    """What the running cell puts out, until it is done."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return
        yield message
    raise AssertionError(f"the cell did not end in {LIMIT_S} s")


@pytest.mark.scenario
@pytest.mark.ray
def test_the_stop_button_ends_a_search_in_mid_trial_and_keeps_what_was_trained(
    tmp_path: Path, kernel: Kernel
) -> None:
    manager, client = kernel
    path = space_file(
        tmp_path, search__trials=100, training__epochs=500, resources__max_parallel_trials=1
    )
    client.execute(
        f"import dann_search\nresult = dann_search.launch({str(path)!r})\n"
        "print('stopped by', result.stopped_by)"
    )
    tables, printed, pressed = list[str](), "", False
    for message in messages(client):
        content = message["content"]
        if message["msg_type"] in ("display_data", "update_display_data"):
            tables.append(content["data"]["text/plain"])
            epochs = [int(done) for done in re.findall(r"(\d+)/500", tables[-1])]
            if max(epochs, default=0) >= 3 and not pressed:
                manager.interrupt_kernel()
                pressed = True
        elif message["msg_type"] == "stream":
            printed += content["text"]
        assert message["msg_type"] != "error", content
    assert pressed and "stopped by interrupt" in printed
    assert "Number of trials" not in printed  # nor anything else that Ray prints
    assert "starting Ray" in tables[0] and "running" in tables[-1]
    found = status(ExperimentFolder(tmp_path / "runs" / "small"))
    assert found.state == "interrupted"
    assert 3 <= max(one.epochs for one in found.running_trials) < 500
