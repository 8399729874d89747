"""The dispatcher's protocol, without Ray around it."""

import asyncio
from collections.abc import Awaitable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from dann_search.search import dispatcher, runs
from dann_search.search.dispatcher import DispatcherState
from dann_search.search.messages import Order

A, B = ("run", 0), ("run", 1)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, timeout=5))


def order(number: int) -> Order:
    return Order(number, {"epochs": 3}, f"trials/{number}", "data")


def epochs(count: int) -> tuple[dict[str, Any], ...]:
    return tuple({"epoch": epoch} for epoch in range(1, count + 1))


async def is_waiting(awaitable: Awaitable[Any]) -> bool:
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0.01)
    waiting = not task.done()
    task.cancel()
    return waiting


def test_an_epoch_is_followed_by_the_next_only_once_its_trial_has_seen_it() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        assert await state.next_trial(A) == order(0)
        report = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        assert (await state.epochs_after(0, 0)).history == epochs(1)
        assert not report.done()
        follow = asyncio.ensure_future(state.epochs_after(0, 1))
        assert await report is True
        follow.cancel()

    run(scenario())


def test_a_withdrawn_trial_frees_its_slot_at_the_next_report() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        report = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        await state.epochs_after(0, 0)
        await state.withdraw(0)
        assert await report is False
        await state.finished(A, 0)
        await state.submit(order(1))
        assert await state.next_trial(A) == order(1)

    run(scenario())


def test_a_light_trial_that_was_begun_for_nothing_changes_nothing() -> None:
    """Tune asks for a process for a trial, then gives the trial to one that is free again."""

    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))  # by one that is never used, and may die
        await state.submit(order(0))
        await state.next_trial(A)
        asked = asyncio.ensure_future(state.epochs_after(0, 0))
        await asyncio.sleep(0)
        await state.submit(order(0))
        report = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        assert not (await asked).cancelled
        # The process is lost: its successor continues with what it has seen.
        await state.submit(order(0))
        successor = asyncio.ensure_future(state.epochs_after(0, 1))
        assert await report
        report = asyncio.ensure_future(state.report(A, 0, epochs(2)))
        assert (await successor).history == epochs(2)
        # The trial ends by the driver's word, whoever was begun for it.
        await state.withdraw(0)
        assert await report is False
        await state.submit(order(0))
        assert (await state.epochs_after(0, 2)).cancelled
        assert await is_waiting(state.next_trial(B))

    run(scenario())


def test_a_lost_process_that_has_seen_less_takes_no_approval_back() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        lease = state.leases.by_number[0]
        async with lease.changed:  # both calls wait for it
            calls = [asyncio.ensure_future(state.epochs_after(0, seen)) for seen in (2, 1)]
            await asyncio.sleep(0)
        await asyncio.wait(calls, timeout=0.01)
        assert lease.approved == 2

    run(scenario())


@pytest.mark.parametrize("taken", [True, False])
def test_a_trial_that_is_over_frees_its_slot_though_a_process_died_before_it_asked(
    taken: bool,
) -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        for _ in range(5):  # each begins the trial and is killed
            await state.submit(order(0))
        if taken:
            await state.next_trial(A)
            report = asyncio.ensure_future(state.report(A, 0, epochs(1)))
            await state.epochs_after(0, 0)
        await state.withdraw(0)
        if taken:
            assert await report is False
            await state.finished(A, 0)
        assert not state.leases.by_number
        await state.submit(order(1))
        assert await state.next_trial(A) == order(1)

    run(scenario())


def test_a_withdrawn_trial_that_still_waits_for_a_slot_is_never_handed_out() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.submit(order(1))
        await state.withdraw(0)
        assert await state.next_trial(A) == order(1)

    run(scenario())


def test_a_lost_neighbour_is_queued_first_again_without_blame() -> None:
    async def scenario() -> None:
        state = DispatcherState(1, 100)
        for number in range(3):
            await state.submit(order(number))
        await state.next_trial(A)
        await state.next_trial(B)
        await state.workers_died("run", {0: "killed"})
        assert (await state.epochs_after(0, 0)).error is not None  # max_worker_deaths is 1
        assert await state.next_trial(A) == order(1)
        assert await state.next_trial(B) == order(2)

    run(scenario())


def test_a_trial_of_a_dead_worker_is_not_handed_to_an_idle_one_that_died_with_it() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        idle = asyncio.ensure_future(state.next_trial(B))
        await asyncio.sleep(0.01)
        await state.workers_died("run", {0: "killed"})
        assert await idle is None
        assert await state.next_trial(("next", 0)) == order(0)

    run(scenario())


class Clock:
    """The time as the dispatcher sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(dispatcher, "time", SimpleNamespace(monotonic=self))

    def __call__(self) -> float:
        return self.now

    async def pass_(self, seconds: int, state: DispatcherState, *alive: int) -> list[Any]:
        """Have each second a sign of life of these slots, and a look at who is silent."""
        ended = []
        for _ in range(seconds):
            self.now += 1
            for slot in alive:
                await state.alive(("run", slot), 0)
            ended += await state.end_silent(60.0)
        return ended


async def two_in_training(max_worker_deaths: int = 1) -> DispatcherState:
    state = DispatcherState(max_worker_deaths, 100)
    for number, slot in enumerate((A, B)):
        await state.submit(order(number))
        await state.seated(slot, 0, f"worker {number}")
        await state.next_trial(slot)
    return state


def test_a_frozen_worker_is_ended_and_its_trial_goes_on_without_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def scenario() -> None:
        state = await two_in_training()
        assert await clock.pass_(60, state, 1) == []
        assert await clock.pass_(2, state, 1) == ["worker 0"]
        # Ray sees that it was killed, and starts all workers of the run again.
        await state.workers_died("run", {0: "killed"})
        assert await clock.pass_(100, state) == []
        assert await state.next_trial(A) == order(1)
        assert await state.next_trial(B) == order(0)
        assert [lease.deaths for lease in state.leases.by_number.values()] == [0, 0]

    run(scenario())


def test_a_trial_that_freezes_every_worker_is_given_up_with_the_setting_s_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def scenario() -> None:
        state = DispatcherState(1, 100)
        await state.submit(order(0))
        for _ in range(5):
            await state.seated(A, 0, "worker")
            await state.next_trial(A)
            await clock.pass_(61, state)
            await state.workers_died("run", {0: "killed"})
        assert (await state.epochs_after(0, 0)).error == (
            "its worker was lost 5 times in a row; the last time: its worker was silent for 60 s, "
            "the limit in resources.stall_timeout_s"
        )

    run(scenario())


def test_a_dispatcher_that_was_stopped_itself_misses_no_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def scenario() -> None:
        state = await two_in_training()
        await clock.pass_(10, state, 0, 1)
        clock.now += 3600
        assert await state.end_silent(60.0) == []
        assert await clock.pass_(10, state, 0, 1) == []

    run(scenario())


def test_a_search_that_ends_waits_for_workers_that_save_and_for_no_silent_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)

    async def scenario() -> None:
        state = await two_in_training()
        await state.close(pause=True)
        assert await clock.pass_(30, state, 1) == []  # slot 1 still saves
        await state.paused(B)
        assert await clock.pass_(1, state, 1) == ["worker 0"]
        assert await state.is_closed()  # no worker is started again

    run(scenario())


def test_a_worker_ended_by_its_watchdog_dies_with_its_reason_and_for_storage_without_blame() -> (
    None
):
    async def scenario() -> None:
        state = await two_in_training(max_worker_deaths=1)
        await state.stalled(A, "it made no progress for 60 s", False)
        await state.stalled(B, "storage did not answer for 60 s", True)
        await state.workers_died("run", {0: "exit type: SYSTEM_ERROR", 1: "exit type"})
        assert (await state.epochs_after(0, 0)).error == (
            "its worker died 1 times while training it; the last time: it made no progress for 60 s"
        )
        assert await state.next_trial(B) == order(1)

    run(scenario())


def test_a_trial_of_a_drained_node_goes_on_elsewhere_without_blame() -> None:
    async def scenario() -> None:
        state = DispatcherState(1, 100)
        assert await state.enter("run", "node-a") and await state.enter("other", "node-b")
        await state.submit(order(0))
        await state.next_trial(A)
        idle = asyncio.ensure_future(state.next_trial(B))
        told = asyncio.ensure_future(state.until_paused("run"))
        spared = asyncio.ensure_future(state.until_paused("other"))
        await asyncio.sleep(0.01)
        await state.drain("node-a")
        assert await told
        assert await idle is None
        await state.paused(A)
        assert await state.next_trial(A) is None
        assert await state.next_trial(("other", 0)) == order(0)
        assert not await state.enter("run", "node-a")
        assert not spared.done()
        spared.cancel()

    run(scenario())


def test_calls_of_workers_that_are_no_more_are_answered() -> None:
    """Each that waits would hold a descriptor for as long as the search lasts."""

    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.seated(A, 0, "actor")
        await state.seated(B, 0, "actor")
        died = asyncio.ensure_future(state.until_paused("run"))
        await asyncio.sleep(0)
        await state.workers_died("run", {0: "killed"})
        assert await died is False
        await state.seated(A, 0, "actor")
        await state.seated(B, 0, "actor")
        ended = asyncio.ensure_future(state.until_paused("run"))
        await asyncio.sleep(0)
        await state.left(A, 0)
        await asyncio.sleep(0.01)
        assert not ended.done()  # the other slot still trains
        await state.left(B, 0)
        assert await ended is False
        await state.drain("node-a")
        assert not await state.enter("run", "node-a")

    run(scenario())


def test_a_run_whose_workers_die_in_trial_after_trial_is_told_of() -> None:
    async def scenario() -> None:
        state = DispatcherState(2, 100)
        for number in range(4):
            await state.submit(order(number))
        for _ in range(3):  # of one trial, which is given up, and once of the next
            await state.next_trial(A)
            await state.workers_died("run", {0: "killed"})
        assert (await state.health()).runs["run"].failures == 2
        await state.workers_died("run", {0: "could not start"})
        assert (await state.health()).runs["run"].failures == 3
        await state.next_trial(A)
        report = asyncio.ensure_future(state.report(A, 1, epochs(1)))
        await asyncio.sleep(0.01)
        assert (await state.health()).runs["run"].failures == 0
        report.cancel()

    run(scenario())


def test_a_trial_is_given_up_after_the_third_death_of_its_worker_and_says_so() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        for death in range(3):
            assert await state.next_trial(A) == order(0), death
            await state.workers_died("run", {0: "killed by signal 9"})
        news = await state.epochs_after(0, 0)
        assert news.error is not None
        assert "died 3 times" in news.error and "killed by signal 9" in news.error
        assert await is_waiting(state.next_trial(A))

    run(scenario())


def test_an_old_call_of_a_dead_worker_takes_no_trial() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        stale = asyncio.ensure_future(state.next_trial(A))
        await asyncio.sleep(0)
        fresh = asyncio.ensure_future(state.next_trial(A))
        await asyncio.sleep(0.01)
        await state.submit(order(0))
        assert await fresh == order(0)
        assert await stale is None

    run(scenario())


def test_a_chief_that_comes_back_without_finishing_gets_its_trial_again() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        assert await state.next_trial(A) == order(0)
        assert await state.next_trial(A) == order(0)

    run(scenario())


def test_a_report_of_epochs_already_seen_is_answered_at_once_and_not_passed_on() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        first = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        await state.epochs_after(0, 0)
        follow = asyncio.ensure_future(state.epochs_after(0, 1))
        assert await first
        await state.workers_died("run", {0: "killed"})
        await state.next_trial(A)
        assert await state.report(A, 0, epochs(1)) is True
        await asyncio.sleep(0.01)
        assert not follow.done()
        gap = asyncio.ensure_future(state.report(A, 0, epochs(3)))
        assert (await follow).history == epochs(3)
        gap.cancel()

    run(scenario())


def test_a_slot_that_lost_its_trial_is_told_to_stop() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        report = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        await asyncio.sleep(0.01)
        await state.workers_died("run", {1: "killed"})
        assert await report is False
        assert await state.next_trial(B) == order(0)
        assert await state.report(A, 0, epochs(2)) is False

    run(scenario())


def test_what_a_slot_reports_late_of_a_trial_it_lost_is_not_passed_on() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        lost = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        await asyncio.sleep(0.01)
        await state.workers_died("run", {1: "killed"})
        assert await lost is False
        await state.next_trial(B)
        assert await state.report(A, 0, epochs(2)) is False
        assert (await state.epochs_after(0, 0)).history == epochs(1)

    run(scenario())


def test_closing_releases_every_waiting_slot_and_trial() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        report = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        idle = asyncio.ensure_future(state.next_trial(B))
        await asyncio.sleep(0.01)
        await state.submit(order(1))
        assert await idle == order(1)
        idle = asyncio.ensure_future(state.next_trial(("run", 2)))
        news = asyncio.ensure_future(state.epochs_after(1, 0))
        await asyncio.sleep(0.01)
        await state.close()
        assert await report is False
        assert await idle is None
        assert (await news).cancelled
        assert (await state.epochs_after(5, 0)).cancelled

    run(scenario())


def test_a_worn_run_returns_and_leaves_the_queue_to_its_successor() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, trials_per_group=1)
        await state.submit(order(0))
        await state.submit(order(1))
        assert await state.next_trial(A) == order(0)
        await state.finished(A, 0)
        assert await state.next_trial(A) is None
        assert await state.next_trial(("next", 0)) == order(1)

    run(scenario())


def test_a_trial_whose_process_was_restarted_finds_its_lease_as_it_left_it() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        report = asyncio.ensure_future(state.report(A, 0, epochs(2)))
        await state.epochs_after(0, 0)
        await state.submit(order(0))
        assert (await state.epochs_after(0, 0)).history == epochs(2)
        assert await is_waiting(state.next_trial(B))
        report.cancel()

    run(scenario())


@pytest.mark.parametrize("seen", [0, 1])
def test_an_error_reaches_the_trial_after_the_epochs_before_it(seen: int) -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.submit(order(0))
        await state.next_trial(A)
        report = asyncio.ensure_future(state.report(A, 0, epochs(1)))
        await asyncio.sleep(0.01)
        await state.finished(A, 0, "ValueError: bad")
        news = await state.epochs_after(0, seen)
        assert news.history == epochs(1)
        assert news.error == ("ValueError: bad" if seen else None)
        report.cancel()

    run(scenario())


def test_a_node_drained_while_its_run_starts_gets_no_trial() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.drain("node")
        await state.submit(order(0))
        assert not await state.enter("run", "node")
        assert await state.next_trial(A) is None
        assert await state.enter("another", "elsewhere")
        assert await state.next_trial(("another", 0)) == order(0)

    run(scenario())


def test_workers_that_leave_after_their_trials_own_error_do_not_count_as_deaths() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        for number in range(4):
            await state.submit(order(number))
            assert await state.next_trial(A) == order(number)
            await state.finished(A, number, "ValueError: a bad recipe")
            await state.workers_died("run", {0: "ValueError: a bad recipe"})
        assert (await state.health()).runs["run"].failures == 0
        await state.submit(order(4))
        assert await state.next_trial(A) == order(4)
        await state.workers_died("run", {0: "killed"})
        assert (await state.health()).runs["run"].failures == 1

    run(scenario())


def test_a_node_that_cannot_train_is_known_to_the_fleet() -> None:
    async def scenario() -> None:
        state = DispatcherState(3, 100)
        await state.cannot_train("run", "node", "no space left")
        health = await state.health()
        assert health.unfit == {"node"}
        assert health.runs["run"].error == "no space left"

    run(scenario())
