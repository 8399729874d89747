"""Whose fault a worker's end is; CUDA has a stand-in."""

import pytest
from ray.exceptions import NodeDiedError, OutOfMemoryError

from dann_search.search.causes import blamed, first_line, is_of_memory, is_of_the_node

DIED = """A worker health check failed.
The actor died unexpectedly before finishing this task.
\tclass_name: RayTrainWorker
\tip: 127.0.0.1
"""
KILLED = (
    DIED + "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
    "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. "
    "Some common causes include: (1) the process was killed by the OOM killer due to high memory "
    "usage. If the process was killed by the kernel OOM killer (verifiable by checking for OOM in "
    "dmesg of the OOMing node), consider enabling resource isolation via "
    "--enable-resource-isolation to prevent node deaths by resource contention."
)
NODE_GONE = DIED + "The actor died because its node has died. Node Id: 7fd8af8c83df"
PREEMPTED = DIED + "\tthe actor's node was preempted: the spot market"


@pytest.mark.parametrize("text", [KILLED, DIED, "a node died in my search tree"])
def test_a_worker_that_died_alone_is_its_trials_fault_whatever_ray_advises(text: str) -> None:
    assert not is_of_the_node(RuntimeError(text))


@pytest.mark.parametrize(
    "exc", [RuntimeError(NODE_GONE), RuntimeError(PREEMPTED), NodeDiedError("gone")]
)
def test_a_worker_lost_with_its_node_is_nobodys_fault(exc: Exception) -> None:
    assert is_of_the_node(exc)


# As Ray 2.60's memory monitor says it.
OUT_OF_MEMORY = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: "
    "10.0.0.2, ID: bf69ae3e3d17) was 5.78GB used / 23.54GB limit (0.245347)\nOOM kill reason: "
    "Memory usage 5925720064B exceeded threshold of 1263803008B"
)


def test_what_ray_killed_for_memory_is_told_from_other_deaths() -> None:
    assert is_of_memory(OutOfMemoryError("killed"))
    assert is_of_memory(RuntimeError(DIED + OUT_OF_MEMORY))  # as Train wraps it
    assert not is_of_the_node(RuntimeError(DIED + OUT_OF_MEMORY))
    assert not is_of_memory(RuntimeError(KILLED))  # Ray only guesses there


def test_the_first_line_said_of_an_error_is_its_first_that_says_anything() -> None:
    assert first_line(RuntimeError("\n  \nkilled\nmore")) == "killed"
    assert first_line(RuntimeError()) == "RuntimeError"


ALONE = RuntimeError(
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer "
    "[127.0.0.1]:54916. This is typically caused by a remote worker crashing."
)


def test_a_rank_left_alone_is_not_to_blame_for_the_one_that_left() -> None:
    assert blamed({0: ALONE, 1: RuntimeError(KILLED)}, workers=2) == {0: first_line_of(KILLED)}
    assert blamed({0: RuntimeError(KILLED), 1: ALONE}, workers=2) == {0: first_line_of(KILLED)}
    assert blamed({0: ALONE, 1: RuntimeError(NODE_GONE)}, workers=2) == {}
    assert blamed({2: ALONE, 3: RuntimeError(KILLED)}, workers=2) == {1: first_line_of(KILLED)}


def test_a_rank_left_alone_by_nobody_known_counts_or_its_trial_would_be_tried_for_ever() -> None:
    assert blamed({0: ALONE}, workers=2) == {0: first_line(ALONE)}


def first_line_of(text: str) -> str:
    return first_line(RuntimeError(text))
