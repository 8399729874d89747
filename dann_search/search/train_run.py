"""A Ray Train run without what a search has no use for: less to start, less memory to hold.

Ray's ``TorchTrainer`` imports torch in the driver and in the run's controller, and starts an actor
for data sets where there are none and one that asks an autoscaler for what the fleet's probes ask
for. Its base class is for developers; what is overridden here is not public. Checked with Ray 2.60.
"""

from typing import Any

from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


def backend_of(workers_per_trial: int) -> BackendConfig:
    """Return how the workers of a run are connected; not at all where each has its own trials."""
    if workers_per_trial == 1:
        return Alone()
    from ray.train.torch import TorchConfig

    # Control only: it never touches a GPU, so slots may share one.
    return TorchConfig(backend="gloo")


class LeanTrainer(DataParallelTrainer):
    """Starts a controller and workers, and nothing else that can be done without."""

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        kept = [one for one in parts["callbacks"] if not isinstance(one, DatasetsCallback)]
        policy = UnregisteredPolicy(self.scaling_config)
        changed = parts | {"callbacks": kept, "scaling_policy": policy}
        return super()._initialize_and_run_controller(**changed)


class UnregisteredPolicy(FixedScalingPolicy):
    """As many workers as were asked for, of which no autoscaler is told."""

    def _maybe_send_resource_request(self) -> None:
        pass

    _send_resource_request = _cancel_resource_request = _maybe_send_resource_request


class Alone(BackendConfig):
    """Workers that need no connection."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Set up nothing."""
        return _Alone


class _Alone(Backend):
    share_cuda_visible_devices = True
    """As torch's backend has it: see ``worker._own_device``."""
