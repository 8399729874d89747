"""What a training calls between its steps, so that its caller can report, pause and stop it."""

from collections.abc import Callable
from dataclasses import dataclass


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """Functions that ``train`` calls.

    Attributes:
        on_begin: called once, when network and data are ready.
        beat: called after every step and every batch of the validation, a sign of life.
        pause: called after every step but an epoch's last. Where it returns true, the same on all
            workers, a checkpoint is written in the middle of the epoch, from which another call
            continues as if there had been no pause (to the last digit with one worker).
        settle: called after every epoch, before its checkpoint is begun. It waits until training
            may go past the epochs yielded before, and raises if it may not.
        keep: called with a function that waits until an epoch's checkpoint is written. Where that
            fails, calling the function again writes it.
    """

    on_begin: Callable[[], None] = _nothing
    beat: Callable[[], None] = _nothing
    pause: Callable[[], bool] = lambda: False
    settle: Callable[[], None] = _nothing
    keep: Callable[[Callable[[], None]], None] = lambda finish: finish()


NO_HOOKS = Hooks()
