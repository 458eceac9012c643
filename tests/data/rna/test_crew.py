"""Order, errors and the end of a crew's work."""

from __future__ import annotations

import threading
import time

import pytest
from mirror_data.errors import Interrupted
from mirror_data.rna.crew import crew
from threadpoolctl import threadpool_info


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_blocks(threads):
    def slow_if_even(block: int) -> int:
        time.sleep(0.002 if block % 2 == 0 else 0)
        return 10 * block

    with crew(threads) as hands:
        assert list(hands.map(slow_if_even, range(20))) == list(range(0, 200, 10))
        assert list(hands.map(slow_if_even, [])) == []
        jobs = [lambda k=k: sum(hands.map(lambda block: block + k, range(5))) for k in range(7)]
        assert hands.together(jobs) == [10 + 5 * k for k in range(7)]
        assert all(pool["num_threads"] == 1 for pool in threadpool_info() if pool["user_api"] == "blas")


def test_few_blocks_are_taken_ahead():
    taken: list[int] = []

    def blocks():
        for block in range(50):
            taken.append(block)
            yield block

    with crew(2) as hands:
        results = hands.map(lambda block: block, blocks())
        assert next(results) == 0
        assert len(taken) <= 4
        assert list(results) == list(range(1, 50))


@pytest.mark.parametrize("blocks", [True, False])
def test_an_error_of_one_stops_the_others(blocks):
    begun = threading.Event()
    ended: list[str] = []

    def endless() -> None:
        try:
            for _ in range(10_000):
                if blocks:
                    list(hands.map(lambda block: time.sleep(0.001), range(3)))
                else:
                    time.sleep(0.001)
                    hands.go_on()
                begun.set()
            ended.append("done")
        except Interrupted:
            ended.append("stopped")

    def fails() -> None:
        begun.wait()
        raise ValueError("no")

    with crew(2) as hands, pytest.raises(ValueError, match="no"):
        hands.together([fails, endless])
    deadline = time.monotonic() + 5
    while not ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended == ["stopped"]
