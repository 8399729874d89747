"""What ends an epoch beside the next one: its label-free scores, and its checkpoint on disk."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from dann_search.training.result import History
from dann_search.training.seeding import undisturbed


class Saving:
    """An epoch's label-free scores and checkpoint, as a thread makes them."""

    def __init__(self, history: History, write: Callable[[], None], writer: ThreadPoolExecutor):
        self.history, self._write = history, write
        self._written: Future[None] | None = writer.submit(write)

    @property
    def is_over(self) -> bool:
        """Whether the thread has written it, or failed to."""
        return self._written is None or self._written.done()

    def finish(self) -> None:
        """Wait until it is written; where that failed, write it at the next call."""
        written, self._written = self._written, None
        if written:
            written.result()
        else:
            self._write()


def once_kept(saving: Saving, keep: Callable[[Callable[[], None]], None]) -> Iterator[History]:
    """Yield a history once its checkpoint is written."""
    keep(saving.finish)
    with undisturbed():
        yield saving.history
