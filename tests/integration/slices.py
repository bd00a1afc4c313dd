# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Points of a long list at every run: the dangerous ones always, of the others a share that changes from day to day.

All of them by `make test-matrix`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import pytest

WHEN = ("begun", "done")


def points(steps: Sequence[str], when: Sequence[str] = WHEN) -> list[tuple[str, str]]:
    """Before and after each step."""
    return [(step, one) for step in steps for one in when]


def sliced(all_points: Iterable[tuple[str, ...]], always: Iterable[tuple[str, ...]], share: int) -> list[Any]:
    """Parameters of a test: ``always`` and every ``share``-th of the rest today, the others in the matrix."""
    chosen = set(always)
    listed = list(all_points)
    unknown = chosen - set(listed)
    assert not unknown, f"no such step any more: {sorted(unknown)}"
    today = date.today().toordinal()
    parameters = []
    for number, point in enumerate(listed):
        now = point in chosen or (number + today) % share == 0
        marks = () if now else (pytest.mark.matrix,)
        parameters.append(pytest.param(*point, marks=marks, id="-".join(point)))
    return parameters
