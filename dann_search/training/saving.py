"""Write an epoch's label-free scores and checkpoint while the next epoch begins."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from dann_search.training.result import History
from dann_search.training.seeding import undisturbed


class Saving:
    """An epoch's label-free scores and checkpoint, which a thread makes by ``write``."""

    def __init__(self, history: History, write: Callable[[], None], writer: ThreadPoolExecutor):
        self.history, self._write = history, write
        self._written: Future[None] | None = writer.submit(write)
        self._is_told = False

    @property
    def is_over(self) -> bool:
        """Whether the thread has written the checkpoint, or failed to."""
        return self._written is None or self._written.done()

    def finish(self) -> None:
        """Wait until it is written; where that failed, write it at the next call."""
        written, self._written = self._written, None
        if written:
            written.result()
        else:
            self._write()

    def told(self, keep: Callable[[Callable[[], None]], None]) -> Iterator[History]:
        """Yield the history once its checkpoint is written; nothing if it is empty or was told."""
        if self._is_told or not self.history:
            return
        self._is_told = True
        keep(self.finish)
        with undisturbed():
            yield self.history
