"""Trials that need more memory than their node has left, without Ray around the dispatcher."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from dann_search.search.dispatcher import DispatcherState
from dann_search.search.messages import Order
from dann_search.search.room import OVERTAKEN

SLOTS = [("run", number) for number in range(4)]
A, B, C, D = SLOTS
GB = 10**9
NODE_BYTES = 10 * GB


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, timeout=5))


def order(number: int, gigabytes: float) -> Order:
    what = "vgg16 at 224 px with batch_size 32"
    return Order(
        number,
        {"epochs": 3, "backbone": "vgg16", "batch_size": 32, "unfrozen_depth": 4},
        f"trials/{number}",
        "data",
        int(gigabytes * GB),
        what,
    )


async def node_with(*orders: Order) -> DispatcherState:
    """A node of 10 GB with one run, and a queue of trials."""
    state = DispatcherState(3, 100)
    await state.enter("run", "node", oom_kills=7)
    await state.has_memory("node", NODE_BYTES)
    for one in orders:
        await state.submit(one)
    return state


async def asks(state: DispatcherState, slot: tuple[str, int]) -> "asyncio.Task[Order | None]":
    """Have a slot ask for a trial, and whoever can be answered be answered."""
    asked = asyncio.ensure_future(state.next_trial(slot))
    await asyncio.sleep(0.01)
    return asked


def test_a_trial_waits_until_it_fits_beside_those_that_train() -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 6), order(1, 6), order(2, 3))
        assert await state.next_trial(A) == order(0, 6)
        assert await state.next_trial(B) == order(2, 3)  # the small one fits beside it
        waiting = await asks(state, C)
        assert not waiting.done()
        await state.finished(A, 0)
        assert await waiting == order(1, 6)

    run(scenario())


def test_a_stopped_trial_keeps_its_memory_until_its_worker_has_noticed() -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 6), order(1, 6))
        assert await state.next_trial(A) == order(0, 6)
        waiting = await asks(state, B)
        await state.withdraw(0)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await state.finished(A, 0)
        assert await waiting == order(1, 6)

    run(scenario())


def test_a_trial_larger_than_its_node_is_tried_where_nothing_trains() -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 12), order(1, 1))
        assert await state.next_trial(A) == order(0, 12)
        assert not (await asks(state, B)).done()

    run(scenario())


def test_small_trials_do_not_keep_a_large_one_waiting_for_ever() -> None:
    async def scenario() -> None:
        small = [order(number, 3) for number in range(20)]
        state = await node_with(small[0], order(50, 9), *small[1:])
        running = {slot: await state.next_trial(slot) for slot in (A, B, C)}
        handed_out = 0
        while running and state.leases.by_number[50].slot is None:
            slot, trial = next(iter(running.items()))
            assert trial is not None
            await state.finished(slot, trial.number)
            del running[slot]
            asked = await asks(state, slot)
            if asked.done():
                running[slot] = await asked
                handed_out += 1
        assert state.leases.by_number[50].slot is not None
        assert state.leases.by_number[50].overtaken == OVERTAKEN
        assert handed_out <= OVERTAKEN + 1

    run(scenario())


def test_what_was_killed_for_memory_is_tried_again_alone_and_only_then_at_fault() -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 4), order(1, 4), order(2, 1))
        await state.next_trial(A)
        await state.next_trial(B)
        await state.workers_died("run", {0: "killed"}, [0])
        assert [lease.deaths for lease in state.leases.by_number.values()] == [0, 0, 0]
        # Its neighbour lost its worker, too, and was queued before it; then the node is kept.
        assert await state.next_trial(A) == order(1, 4)
        waiting = [await asks(state, slot) for slot in (B, C)]
        assert not any(asked.done() for asked in waiting)
        await state.finished(A, 1)
        assert await waiting[0] == order(0, 4)
        assert not waiting[1].done()
        await state.workers_died("run", {1: "killed again"}, [1])
        error = (await state.epochs_after(0, 0)).error
        assert error is not None
        assert error.startswith(
            "out of memory: vgg16 at 224 px with batch_size 32 needs about 4.0 GB; the node has "
            "10.0 GB"
        )
        recipe = "backbone vgg16, batch_size 32, unfrozen_depth 4"
        assert f"has {recipe}: lower batch_size" in error and "killed again" in error
        assert await waiting[1] is None  # it died with them
        assert await state.next_trial(A) == order(2, 1)

    run(scenario())


def test_a_node_is_kept_for_the_trial_that_must_be_alone_there() -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 1), order(1, 1), order(2, 1))
        await state.next_trial(A)
        await state.next_trial(B)
        await state.lacked_memory(B, 1, "RuntimeError: can't allocate memory")
        waiting = await asks(state, B)
        assert not waiting.done()  # trial 0 trains on, and trial 2 may not go before
        await state.finished(A, 0)
        assert await waiting == order(1, 1)

    run(scenario())


def test_a_trial_that_trains_alone_elsewhere_lets_its_node_take_others_again() -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 1), order(1, 1), order(2, 1))
        await state.next_trial(A)
        await state.next_trial(B)
        await state.lacked_memory(B, 1, "RuntimeError: can't allocate memory")
        waiting = await asks(state, B)
        await state.enter("other", "empty")
        assert await state.next_trial(("other", 0)) == order(1, 1)
        await state.submit(order(3, 1))
        assert await waiting == order(2, 1)
        assert not (await asks(state, ("other", 1))).done()  # it is alone there
        assert await state.next_trial(C) == order(3, 1)

    run(scenario())


def test_a_node_that_was_kept_for_a_withdrawn_trial_takes_others_at_once() -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 1), order(1, 1), order(2, 1))
        await state.next_trial(A)
        await state.next_trial(B)
        await state.lacked_memory(B, 1, "RuntimeError: can't allocate memory")
        waiting = await asks(state, B)
        assert not waiting.done()
        await state.withdraw(1)
        assert await waiting == order(2, 1)

    run(scenario())


@pytest.mark.parametrize(("kills", "alone"), [(7, False), (8, True), (None, False)])
def test_a_sudden_death_is_for_memory_where_the_kernel_has_counted_one_more(
    kills: int | None, alone: bool
) -> None:
    async def scenario() -> None:
        state = await node_with(order(0, 4))
        await state.next_trial(A)
        await state.workers_died("run", {0: "connection error code 2"}, (), kills)
        assert state.leases.by_number[0].alone is alone
        assert state.leases.by_number[0].deaths == (0 if alone else 1)

    run(scenario())


def test_deaths_for_memory_beside_others_do_not_speak_against_the_node() -> None:
    async def scenario() -> None:
        state = await node_with(*(order(number, 1) for number in range(3)))
        for slot in (A, B, C):
            await state.next_trial(slot)
        await state.workers_died("run", {0: "killed", 1: "killed", 2: "killed"}, [0, 1, 2])
        assert (await state.health()).runs["run"].failures == 0

    run(scenario())
