from __future__ import annotations

import threading
import time

import pytest
from mirror_model.loader import loading


def test_items_come_in_order_and_are_made_ahead() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number * number

    with loading(make, range(3, 9)) as loader:
        taken = iter(loader)
        assert next(taken) == 9
        deadline = time.monotonic() + 5
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert made == [3, 4, 5, 6]  # one taken, two waiting, one that finds no room
        assert list(taken) == [16, 25, 36, 49, 64]
    with loading(make, range(0)) as loader:
        assert list(loader) == []


def test_waiting_is_measured() -> None:
    with loading(lambda number: time.sleep(0.05) or number, range(4)) as loader:
        assert list(loader) == [0, 1, 2, 3]
    assert 0.1 < loader.waited_s < 2


def test_what_making_raises_reaches_the_taker() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("no such bag")
        return number

    with loading(make, range(5)) as loader:
        taken = iter(loader)
        assert [next(taken), next(taken)] == [0, 1]
        with pytest.raises(ValueError, match="no such bag"):
            next(taken)


def test_leaving_early_ends_the_thread() -> None:
    with loading(lambda number: number, range(100)) as loader:
        assert next(iter(loader)) == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
