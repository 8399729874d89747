"""Entries that a script or a notebook registers, on their way to worker processes.

They travel by value, as Ray sends functions; what comes from storage is never unpickled.
"""

import pickle
import sys

from dann_search.config.extensions import REGISTRIES
from dann_search.errors import InputError, in_one_line


def entries_to_send() -> bytes:
    """Pickle the entries that only this process has; empty if there are none.

    Raises:
        InputError: a function cannot be sent.
    """
    sent = []
    for kind, registry in REGISTRIES.items():
        for spec, code in registry.unshared():
            try:
                sent.append((kind, spec, _by_value(code)))
            except Exception as exc:  # whatever the objects that it refers to raise
                raise InputError(
                    f"{kind} {spec.name}: the function {code.__qualname__} of {code.__module__} "
                    f"cannot be sent to worker processes ({in_one_line(exc)}); put it in a file "
                    "and name that under 'extensions' in the experiment file"
                ) from None
    return pickle.dumps(sent) if sent else b""


def _by_value(code: object) -> bytes:
    """Pickle a function with what it refers to in its module, which workers cannot import."""
    from ray import cloudpickle

    module = sys.modules[code.__module__]
    if code.__module__ == "__main__":  # always by value
        return bytes(cloudpickle.dumps(code))
    cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(code))
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def register_sent(content: bytes) -> None:
    """Register on a worker what ``entries_to_send`` pickled in the driver.

    Raises:
        RunError: a function needs something that is not installed here.
    """
    if not content:
        return
    import dann_search.models.registry  # noqa: F401  # adds its kind

    for kind, spec, code in pickle.loads(content):
        REGISTRIES[kind].add(spec, pickle.loads(code))
