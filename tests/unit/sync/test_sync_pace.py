from __future__ import annotations

import asyncio

import pytest

from aerodrome.sync.quick import _parse
from aerodrome.sync.service import pause
from aerodrome.sync.slots import Slots
from aerodrome.sync.snapshot import people_size


@pytest.mark.parametrize(
    ("poll", "failures", "throttled", "seconds"),
    [
        (10, 0, False, 10),
        (1, 1, False, 2),
        (1, 3, False, 8),
        (10, 2, False, 40),
        (1, 1, True, 60),
        (1, 99, False, 120),
        (600, 5, True, 600),
    ],
)
def test_pause(poll: float, failures: int, throttled: bool, seconds: float) -> None:
    assert pause(poll, failures, throttled=throttled) == seconds


def test_slots_are_given_back_by_who_hangs() -> None:
    async def check() -> list[str]:
        slots = Slots(1, patience=0.05)
        order: list[str] = []
        never = asyncio.Event()

        async def work(name: str, hang: bool) -> None:
            async with slots.one(name):
                order.append(name)
                if hang:
                    await never.wait()

        hanging = [asyncio.create_task(work(f"hanging {number}", True)) for number in range(2)]
        await asyncio.wait_for(work("healthy", False), 2)
        never.set()
        await asyncio.gather(*hanging)
        # They were overdue: now they stand in a line of their own, and hold up nobody.
        never.clear()
        again = [asyncio.create_task(work("hanging 0", True))]
        await asyncio.sleep(0)
        async with asyncio.timeout(0.04):
            await work("healthy", False)
        never.set()
        await asyncio.gather(*again)
        return order

    assert asyncio.run(check()) == ["hanging 0", "hanging 1", "healthy", "hanging 0", "healthy"]


def test_slots_are_few() -> None:
    async def check() -> int:
        slots = Slots(3, patience=10)
        busy = most = 0

        async def work(name: str) -> None:
            nonlocal busy, most
            async with slots.one(name):
                busy += 1
                most = max(most, busy)
                await asyncio.sleep(0)
                busy -= 1

        await asyncio.gather(*(work(str(number)) for number in range(20)))
        return most

    assert asyncio.run(check()) == 3


def packets(*lines: str) -> bytes:
    return b"".join(b"%04x%s" % (len(line) + 4, line.encode()) for line in lines) + b"0000"


def test_answer_to_the_quick_look() -> None:
    one, two = "1" * 40, "2" * 40
    answer = packets(f"{one} HEAD symref-target:refs/heads/main\n", f"{one} refs/tags/v1 peeled:{two}\n")
    assert dict(_parse(answer)) == {
        "HEAD": one,
        "symref HEAD": "refs/heads/main",
        "refs/tags/v1": one,
        "refs/tags/v1^{}": two,
    }
    assert dict(_parse(b"0000")) == {}


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"0008ERR ", b"0003", b"ffff", b"0000rest", packets("1234 refs/heads/main"), b"00100000"]
)
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        dict(_parse(answer))


def test_sizes() -> None:
    assert [people_size(count) for count in (0, 1023, 1536, 5 << 20, 3 << 30, 5 << 40)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "5120.0 GiB",
    ]
