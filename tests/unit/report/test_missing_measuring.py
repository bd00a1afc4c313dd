# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Values that statements are run with on a copy: from both ends of skewed columns; and what is never run."""

from __future__ import annotations

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.draft import Create
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.missing.candidates import Run, Trial
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.missing.measuring import (
    bounds,
    called,
    chosen,
    literal,
    reads_only,
    samples,
)

COMMON, HISTOGRAM = ["1", "2"], ["10", "20", "30", "40", "50"]


@pytest.mark.parametrize(
    ("sample", "operator", "common", "histogram", "expected"),
    [
        ("common", "=", COMMON, HISTOGRAM, "1"),
        ("rare", "=", COMMON, HISTOGRAM, "30"),
        ("low", "=", COMMON, HISTOGRAM, "10"),
        ("high", "=", COMMON, HISTOGRAM, "50"),
        ("common", "=", None, HISTOGRAM, "30"),
        ("rare", "=", COMMON, None, "2"),
        ("high", "=", ["t"], None, "t"),
        ("low", ">=", None, HISTOGRAM, "10"),
        ("low", "<", None, HISTOGRAM, "20"),
        ("high", ">", None, HISTOGRAM, "40"),
        ("high", "<=", None, HISTOGRAM, "50"),
        ("common", ">=", None, HISTOGRAM, "30"),
        ("common", "<", None, HISTOGRAM, "40"),
        ("common", "=", None, None, None),
    ],
)
def test_a_value_for_each_end(
    sample: str, operator: str, common: list[str] | None, histogram: list[str] | None, expected: str | None
) -> None:
    assert chosen(sample, operator, common, histogram) == expected


def test_samples_need_a_value_for_every_parameter() -> None:
    places = {1: (7, 1, "="), 2: (7, 2, ">=")}
    statistics = {(7, 1): (COMMON, HISTOGRAM), (7, 2): (None, HISTOGRAM)}
    found = samples(3, places, bounds("SELECT ... LIMIT $3"), statistics)
    assert found["common"] == ("1", "30", "10") and found["high"] == ("50", "40", "10")
    assert samples(4, places, bounds("SELECT ... LIMIT $3"), statistics) == {}
    assert samples(2, places, {}, {(7, 1): (COMMON, HISTOGRAM)}) == {}
    assert samples(0, {}, {}, {}) == {"common": ()}


def test_what_is_the_same_is_run_once() -> None:
    assert samples(1, {1: (7, 1, "=")}, {}, {(7, 1): (["x"], None)}) == {"common": ("x",)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", True),
        ("/* app */ with a as (select 1) select * from a", True),
        ("UPDATE t SET a = 1", False),
        ("CALL p()", False),
    ],
)
def test_only_what_reads_is_run(text: str, expected: bool) -> None:
    assert reads_only(text) is expected


def test_functions_are_seen_wherever_a_plan_calls_them() -> None:
    plan = {
        "Node Type": "Nested Loop",
        "Output": ["a.b", "lower(a.b)", "'fake('"],
        "Plans": [
            {"Node Type": "Function Scan", "Function Name": "generate_series"},
            {"Filter": '("Odd ""name"" ツ"(x) > now())'},
        ],
    }
    assert called(plan) == {"lower", "generate_series", 'Odd "name" ツ', "now"}


def test_values_are_quoted_whatever_they_hold() -> None:
    assert literal("it's \\ ツ") == "E'it''s \\\\ ツ'"


def test_measured_is_what_read_less() -> None:
    costs = {"a": (100.0, 10.0), "b": (100.0, 10.0), "c": (100.0, 100.0)}
    runs = {
        "a": {"common": (Run(100, 1.0), Run(100, 1.0)), "rare": (Run(100, 1.0), Run(3, 0.1))},
        "b": {"common": (Run(100, 1.0), Run(100, 1.0))},
        "c": {"common": (Run(10, 1.0), Run(10, 1.0)), "rare": (Run(10, 1.0), Run(90, 3.0))},
    }
    trial = Trial(Create(1, (1,)), 8192, costs, runs)
    assert trial.measured
    # What the planner promised and a run did not keep is no gain; what one kind of value loses is told.
    assert trial.better(0.5) == ["a"]
    assert trial.worse() == ["c"]
    assert not Trial(Create(1, (1,)), 8192, costs).measured
