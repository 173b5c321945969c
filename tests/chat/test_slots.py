"""Bounds on requests in flight, in one process and over several: never more, nothing left behind, everybody's turn."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fdvs.chat.slots import OwnSlots, SharedSlots, Slots, open_slots
from fdvs.errors import InputError

# Holds `count` slots of a file until its input ends; says how many it holds after each.
HOLDER = """
import asyncio, sys
from pathlib import Path
from fdvs.chat.slots import SharedSlots

async def main(path, count, wanted):
    slots = SharedSlots(count, Path(path))
    async def hold():
        async with slots.slot():
            print("held", flush=True)
            await asyncio.Event().wait()
    tasks = [asyncio.ensure_future(hold()) for _ in range(wanted)]
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def holder(path: Path, count: int, wanted: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), str(count), str(wanted)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], lines: int) -> None:
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline() == "held\n"


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


async def peak_of(slots: Slots, workers: int, rounds: int) -> int:
    """The most that held a slot at once while `workers` take and give back `rounds` times each."""
    now = most = 0

    async def work() -> None:
        nonlocal now, most
        for _ in range(rounds):
            async with slots.slot():
                now += 1
                most = max(most, now)
                await asyncio.sleep(0)
                now -= 1

    async with asyncio.timeout(20):
        await asyncio.gather(*(work() for _ in range(workers)))
    return most


@pytest.mark.parametrize("make", [lambda _: OwnSlots(3), lambda path: SharedSlots(3, path)], ids=["own", "shared"])
def test_no_more_than_the_bound_hold_a_slot_and_all_get_one(make: Callable[[Path], Slots], tmp_path: Path) -> None:
    async def main() -> int:
        slots = make(tmp_path / "slots")
        try:
            return await peak_of(slots, workers=12, rounds=5)
        finally:
            slots.close()

    assert asyncio.run(main()) == 3


async def free_now(slots: SharedSlots, count: int) -> int:
    """How many slots of `count` can be had at once."""
    taken = asyncio.Semaphore(0)

    async def hold() -> None:
        async with slots.slot():
            taken.release()
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(hold()) for _ in range(count)]
    had = 0
    try:
        while had < count:
            async with asyncio.timeout(0.4):
                await taken.acquire()
            had += 1
    except TimeoutError:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return had


def with_slots(path: Path, count: int, work: Callable[[SharedSlots], Awaitable[int]]) -> int:
    async def main() -> int:
        slots = SharedSlots(count, path)
        try:
            return await work(slots)
        finally:
            slots.close()

    return asyncio.run(main())


def test_slots_of_another_process_are_taken_and_come_back_when_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    other = holder(path, 4, 3)
    try:
        wait_for(other, 3)
        assert with_slots(path, 4, lambda slots: free_now(slots, 4)) == 1
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
        assert with_slots(path, 4, lambda slots: free_now(slots, 4)) == 4
    finally:
        end(other)


def test_a_slot_given_back_goes_to_another_process_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even before requests of the process that had it, however many wait."""
    monkeypatch.setattr("fdvs.chat.slots.GRACE_S", 60.0)
    path = tmp_path / "slots"

    async def main() -> None:
        mine, had = SharedSlots(1, path), 0

        async def work() -> None:
            nonlocal had
            async with mine.slot():
                had += 1

        async with mine.slot():
            workers = [asyncio.ensure_future(work()) for _ in range(8)]
            other = await asyncio.to_thread(holder, path, 1, 1)
            table = mine._table
            assert table is not None
            async with asyncio.timeout(20):
                while not table.others_wait(mine):
                    await asyncio.sleep(0.005)
        try:
            async with asyncio.timeout(20):
                await asyncio.to_thread(wait_for, other, 1)
            assert had == 0
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await asyncio.to_thread(end, other)
            mine.close()

    asyncio.run(main())


def test_a_client_that_waits_alone_does_not_leave_slots_to_itself(tmp_path: Path) -> None:
    async def main() -> bool:
        mine = SharedSlots(1, tmp_path / "slots")
        async with mine.slot():
            waiting = asyncio.ensure_future(free_now(mine, 1))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            table = mine._table
            assert table is not None
            others = table.others_wait(mine)
        await waiting
        mine.close()
        return others

    assert asyncio.run(main()) is False


def test_clients_of_one_process_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "slots"

    async def main() -> None:
        first, second = SharedSlots(2, path), SharedSlots(2, tmp_path / "x" / ".." / "slots")
        async with first.slot():
            assert await free_now(second, 2) == 1
            second.close()
            second.close()
            third = SharedSlots(2, path)
            assert await free_now(third, 2) == 1  # what the first holds was not dropped with the second's end
            third.close()
        first.close()

    asyncio.run(main())


def test_closing_one_client_keeps_the_locks_of_another(tmp_path: Path) -> None:
    path = tmp_path / "slots"

    async def main() -> None:
        first, second = SharedSlots(1, path), SharedSlots(1, path)
        async with first.slot():
            second.close()
            other = await asyncio.to_thread(holder, path, 1, 1)
            line = asyncio.ensure_future(asyncio.to_thread(wait_for, other, 1))
            done, _ = await asyncio.wait({line}, timeout=0.5)
            assert not done
        await asyncio.wait_for(line, 10)
        await asyncio.to_thread(end, other)
        first.close()

    asyncio.run(main())


def test_a_cancelled_wait_leaves_no_slot_taken(tmp_path: Path) -> None:
    async def work(slots: SharedSlots) -> int:
        async with slots.slot():
            assert await free_now(slots, 2) == 1
        return await free_now(slots, 2)

    assert with_slots(tmp_path / "slots", 2, work) == 2


def test_without_a_file_only_this_client_is_bounded() -> None:
    async def main() -> None:
        slots = open_slots(1, None)
        assert isinstance(slots, OwnSlots)
        slots.close()

    asyncio.run(main())


def test_a_file_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"):
        open_slots(1, tmp_path / "folder")


def test_the_file_stays_empty(tmp_path: Path) -> None:
    with_slots(tmp_path / "slots", 2, lambda slots: free_now(slots, 2))
    assert (tmp_path / "slots").stat().st_size == 0
