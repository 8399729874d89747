"""The report of an epoch, sent beside the training, which continues meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


class NotWantedError(Exception):
    """The trial was stopped: what was trained since its last report does not count."""


class Reports:
    """The reports of a trial, one at a time.

    A report is sent once the epoch's files are on storage, and its verdict says whether the trial
    continues. The next epoch is trained meanwhile, but neither saved nor reported before the
    verdict: so results do not depend on how late that is.
    """

    def __init__(self) -> None:
        self._verdict: Future[bool] | None = None

    def send(self, keep: Callable[[], None], report: Callable[[], bool]) -> None:
        """Bring an epoch's files to storage, then report it, in a thread."""
        assert self._verdict is None, "the last report has no verdict yet"
        verdict = self._verdict = Future[bool]()

        def work() -> None:
            try:
                keep()
                verdict.set_result(report())
            except BaseException as exc:  # raised where the verdict is waited for
                verdict.set_exception(exc)

        threading.Thread(target=work, daemon=True, name="report").start()

    @property
    def is_stop(self) -> bool:
        """Whether the last report is known to be answered by anything but "continue"."""
        verdict = self._verdict
        if verdict is None or not verdict.done():
            return False
        return verdict.exception() is not None or not verdict.result()

    def settle(self) -> bool:
        """Wait for the verdict of the last report, if it was not waited for before.

        Raises:
            OutageError: storage did not take the epoch's files. Any other error is the report's.
        """
        verdict, self._verdict = self._verdict, None
        return verdict is None or verdict.result()
