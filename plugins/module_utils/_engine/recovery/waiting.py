# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Waiting for a condition, with a deadline and an error that says what did not happen."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..core.errors import Failed


def wait_for(
    condition: Callable[[], bool], patience: float, *, code: str, attempted: str, remedy: str
) -> None:
    """Return when ``condition`` holds; raise :class:`Failed` after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    pause = 0.02
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failed(
                code,
                attempted=attempted,
                happened=f"it did not happen within {patience:.0f} s",
                remedy=remedy,
            )
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.5)
