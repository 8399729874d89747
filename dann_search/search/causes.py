"""Whose fault an error is: the trial's, another worker's, the device's, or the node's.

Ray Train wraps the errors of workers in its own, so that often only the text tells.
"""

from collections.abc import Mapping

import ray

from dann_search.errors import InputError, RunError

NODE_DIED = ("its node has died", "the actor's node was ", "Worker exit type: NODE_DIED")
"""What Ray says of an actor that was lost with its node."""
OUT_OF_MEMORY = "due to the node running low on memory"
"""What it says of one that it killed itself."""
PEER_LEFT = ("/gloo/transport/", "DistBackendError", "NCCL error")
"""What errors of a collective say. Gloo raises a bare RuntimeError."""


def blamed(exceptions: Mapping[int, Exception], workers: int) -> dict[int, str]:
    """Return which slots failed and why, from the errors by rank.

    A rank is not to blame if another one of its slot left it alone, unless nothing else is known.
    """
    others = {rank: exc for rank, exc in exceptions.items() if not is_of_the_node(exc)}
    alone = {rank: exc for rank, exc in others.items() if is_of_a_peer(exc)}
    causes = {rank: exc for rank, exc in others.items() if rank not in alone}
    known = causes if len(others) < len(exceptions) else {**alone, **causes}
    return {rank // workers: first_line(exc) for rank, exc in known.items()}


def is_of_the_node(exc: Exception) -> bool:
    """Return whether a worker was lost with its node.

    Any mention of a node will not do: Ray's advice on a killed process has one too.
    """
    cause = getattr(exc, "preempted", False) or isinstance(exc, ray.exceptions.NodeDiedError)
    return cause or any(phrase in str(exc) for phrase in NODE_DIED)


def is_of_memory(exc: BaseException) -> bool:
    """Return whether Ray's memory monitor has killed a worker as its node ran out of memory."""
    return isinstance(exc, ray.exceptions.OutOfMemoryError) or OUT_OF_MEMORY in str(exc)


def is_of_a_peer(exc: Exception) -> bool:
    """Return whether a collective failed because another rank has left it."""
    return any(phrase in str(exc) for phrase in PEER_LEFT)


def is_of_the_device(exc: Exception) -> bool:
    """Return whether the GPU failed: every later call in this process would fail too."""
    import torch

    return isinstance(exc, torch.AcceleratorError) and not isinstance(exc, torch.OutOfMemoryError)


def described(exc: Exception) -> str:
    """Return an error as its user is told of it: with its type, unless its message suffices."""
    told = isinstance(exc, InputError | RunError | FileNotFoundError)
    return str(exc) if told else f"{type(exc).__name__}: {exc}"


def first_line(exc: BaseException) -> str:
    """Return the first line of an exception's message, or its type."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0] if lines else type(exc).__name__
