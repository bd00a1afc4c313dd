# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Waiting for a condition, with a deadline and a description: tests never sleep and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T], description: str, *, timeout: float = 120.0, interval: float = 0.02
) -> T:
    """Ask until the answer is true and return it. Raises AssertionError naming what never came (seconds).

    Where all is well no limit costs anything: it is for the slowest machine, five times slower than ours and busy.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for: {description} (last answer: {answer!r})")
        time.sleep(interval)
