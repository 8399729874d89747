"""How trials and workers reach the dispatcher, wherever it runs."""

from dataclasses import dataclass
from typing import Any, Protocol

import ray


class DispatcherCalls(Protocol):
    """Calls the dispatcher's methods by name."""

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method and return what it returns."""
        ...

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method without waiting for it."""
        ...


@dataclass(frozen=True)
class ActorCalls:
    """Calls to the dispatcher's actor."""

    actor: Any

    def ask(self, method: str, *arguments: Any) -> Any:
        """As in ``DispatcherCalls``; raises Ray's error where the actor is lost."""
        return ray.get(getattr(self.actor, method).remote(*arguments))

    def tell(self, method: str, *arguments: Any) -> None:
        """As in ``DispatcherCalls``."""
        getattr(self.actor, method).remote(*arguments)
