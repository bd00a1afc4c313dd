# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What got worse, of which kind, and what is only noise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.regress import Gate, compare

GATE = Gate()


def figures(
    calls: float = 100, mean: float = 10, deviation: float = 1, rows: float = 5, blocks: float = 50
) -> dict[str, float]:
    return {
        "calls": calls,
        "exec_ms": calls * mean,
        "plan_ms": 0.0,
        "square": calls * (mean * mean + deviation * deviation),
        "rows": calls * rows,
        "hit": calls * blocks * 0.75,
        "read": calls * blocks * 0.25,
    }


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        ({}, None),
        ({"mean": 20, "blocks": 150}, "plan"),
        ({"mean": 20, "rows": 20, "blocks": 150}, "data-growth"),
        ({"mean": 20, "rows": 20}, "data-growth"),
        ({"mean": 20}, "contention"),
        ({"calls": 300}, "volume"),
        ({"calls": 120}, None),
        ({"mean": 14.9, "blocks": 500}, None),
        ({"mean": 20, "deviation": 80}, None),
        ({"mean": 20, "calls": 29}, None),
        ({"mean": 5}, None),
        # Slower, and so much rarer that the load fell.
        ({"mean": 20, "calls": 40}, None),
    ],
)
def test_kinds(now: dict[str, Any], kind: str | None) -> None:
    found = compare(figures(), 3600, figures(**now), 3600, total=10_000, gate=GATE)
    assert (found.kind if found else None) == kind


def test_what_does_not_matter_for_the_load_is_no_regression() -> None:
    worse = figures(mean=20)
    assert compare(figures(), 60, worse, 60, total=200_001, gate=GATE) is None
    found = compare(figures(), 60, worse, 60, total=200_000, gate=GATE)
    assert found is not None
    assert (found.factor, found.share) == (2.0, 0.01)


def test_windows_of_other_lengths_compare_by_second() -> None:
    assert compare(figures(calls=100), 60, figures(calls=6000), 3600, total=60_000, gate=GATE) is None
    found = compare(figures(calls=100), 600, figures(calls=100), 60, total=60_000, gate=GATE)
    assert found is not None
    assert (found.kind, found.factor) == ("volume", pytest.approx(10))


@given(
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.floats(0, 1e9),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(-1, 1e9),
)
def test_no_figures_break_it(
    first: float, second: float, calls: float, mean: float, more: float, total: float
) -> None:
    found = compare(
        figures(calls, mean, 0, 0, 0),
        first,
        figures(calls, mean + more, 0, 0, 0),
        second,
        total=total,
        gate=GATE,
    )
    if found is not None:
        assert found.kind in ("contention", "volume")
        assert first > 0 < second
