"""Work in processes comes back in order."""

from __future__ import annotations

import os

import pytest

from echobench import parallel


def told(piece: int) -> tuple[int, int]:
    return piece, os.getpid()


@pytest.mark.parametrize("apart", [True, False])
def test_pieces_come_back_in_order(apart: bool) -> None:
    found = list(parallel.mapped(told, [3, 1, 2], apart=apart))
    assert [piece for piece, _ in found] == [3, 1, 2]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert all((process == os.getpid()) is not (apart and cores != 1) for _, process in found)
