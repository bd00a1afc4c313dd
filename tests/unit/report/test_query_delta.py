# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Differences of counters, held against what statistics.py says of the same durations."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.query.delta import (
    AT_LEAST,
    EXACT,
    Change,
    changes,
    mean_ms,
    since_reset,
    square,
    together,
    total_ms,
    variance_ms2,
    variation,
)

DURATIONS = st.lists(st.floats(0.001, 1e5), max_size=30)
KEYS = st.sampled_from(["1:1:t:1", "1:1:t:2", "2:1:f:-3", "1:2:t:4"])
EVENTS = st.lists(
    st.tuples(st.sampled_from(["run", "run", "run", "evict", "reset"]), KEYS, st.floats(0.001, 1e4)),
    max_size=60,
)


def entry(durations: list[float], since: float | None = None) -> dict[str, Any]:
    """What pg_stat_statements would say after these executions."""
    calls = float(len(durations))
    mean = statistics.fmean(durations) if durations else 0.0
    deviation = statistics.pstdev(durations) if durations else 0.0
    made = {"calls": calls, "exec_ms": math.fsum(durations), "plan_ms": 0.0, "rows": calls, "plans": 0.0}
    made["square"] = square(calls, mean, deviation)
    return made if since is None else {**made, "since": since}


@given(DURATIONS, DURATIONS)
def test_a_window_s_mean_and_variance_are_those_of_what_ran_in_it(
    before: list[float], after: list[float]
) -> None:
    found = changes({"k": entry(before)}, {"k": entry(before + after)}, evicting=False).entries
    if not after:
        assert found == {}
        return
    figures = found["k"].figures
    assert figures["calls"] == len(after)
    assert total_ms(figures) == pytest.approx(math.fsum(after), rel=1e-6, abs=1e-6 * math.fsum(before) + 1e-6)
    largest = max(before + after)
    slack = 1e-6 * largest * largest * (len(before) + len(after))
    assert variance_ms2(figures) == pytest.approx(statistics.pvariance(after), rel=1e-6, abs=slack)


class Server:
    """Counts as the extension does: entries live until they are thrown out or reset."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.entries: dict[str, tuple[float, list[float]]] = {}
        self.evicted = False

    def do(self, kind: str, key: str, duration: float) -> None:
        self.clock += 1
        if kind == "run":
            made, durations = self.entries.get(key, (self.clock, []))
            self.entries[key] = (made, [*durations, duration])
        elif self.entries.pop(key, None) and kind == "evict":
            self.evicted = True

    def reading(self, *, dated: bool) -> dict[str, dict[str, Any]]:
        return {
            key: entry(durations, made if dated else None) for key, (made, durations) in self.entries.items()
        }


@given(EVENTS, EVENTS, st.booleans())
def test_whatever_is_evicted_and_reset_a_difference_never_says_more_than_happened(
    earlier: list[Any], later: list[Any], dated: bool
) -> None:
    server = Server()
    for event in earlier:
        server.do(*event)
    before, began = server.reading(dated=dated), server.clock
    server.evicted = False
    ran: dict[str, list[float]] = {}
    for kind, key, duration in later:
        server.do(kind, key, duration)
        if kind == "run":
            ran.setdefault(key, []).append(duration)
    server.clock += 1
    now = server.reading(dated=dated)
    found = changes(before, now, evicting=server.evicted, began=began)
    assert set(found.entries) <= set(now)
    assert set(found.vanished) == set(before) - set(now)
    for key, change in found.entries.items():
        assert all(value >= 0 for value in change.figures.values())
        assert change.calls <= len(ran.get(key, []))
        assert change.total_ms <= math.fsum(ran.get(key, [])) * (1 + 1e-6) + 1e-6 * total_ms(now[key])
        if dated and change.how == "same":
            assert change.calls == len(ran[key])


@given(st.lists(DURATIONS.filter(bool), min_size=1, max_size=4))
def test_entries_of_one_statement_add_up(parts: list[list[float]]) -> None:
    whole = [duration for part in parts for duration in part]
    made = together(Change(entry(part), "same") for part in parts)
    assert made.calls == len(whole)
    assert mean_ms(made.figures) == pytest.approx(statistics.fmean(whole))
    slack = 1e-7 * max(whole) ** 2
    assert variance_ms2(made.figures) == pytest.approx(statistics.pvariance(whole), rel=1e-6, abs=slack)


@pytest.mark.parametrize(
    ("before", "now", "evicting", "how", "certainty", "calls"),
    [
        ({"calls": 5.0, "exec_ms": 5.0}, {"calls": 7.0, "exec_ms": 9.0}, True, "same", EXACT, 2),
        ({"calls": 5.0, "exec_ms": 5.0}, {"calls": 3.0, "exec_ms": 9.0}, False, "restarted", AT_LEAST, 3),
        ({"calls": 5.0, "exec_ms": 5.0}, {"calls": 6.0, "exec_ms": 4.0}, False, "restarted", AT_LEAST, 6),
        ({"calls": 5.0, "since": 1.0}, {"calls": 9.0, "since": 2.0}, False, "restarted", AT_LEAST, 9),
        ({"calls": 5.0, "since": 1.0}, {"calls": 9.0, "since": 1.0}, False, "same", EXACT, 4),
        ({"calls": 5.0}, {"calls": 9.0, "since": 1.0}, False, "same", EXACT, 4),
        (None, {"calls": 2.0}, False, "new", EXACT, 2),
        (None, {"calls": 2.0}, True, "new", AT_LEAST, 2),
        (None, {"calls": 2.0, "since": 50.0}, True, "new", EXACT, 2),
        (None, {"calls": 2.0, "since": 5.0}, True, "new", AT_LEAST, 2),
    ],
)
def test_what_an_entry_was_before(
    before: dict[str, float] | None,
    now: dict[str, float],
    evicting: bool,
    how: str,
    certainty: str,
    calls: int,
) -> None:
    found = changes({"k": before} if before else {}, {"k": now}, evicting=evicting, began=10.0).entries["k"]
    assert (found.how, found.certainty, found.calls) == (how, certainty, calls)
    assert "since" not in found.figures


def test_what_did_not_run_is_not_there_and_nothing_divides_by_nothing() -> None:
    still = entry([1.0, 2.0])
    assert changes({"k": still}, {"k": still}, evicting=False).entries == {}
    assert since_reset({"k": still}, evicting=False).entries["k"].certainty == EXACT
    for figures in ({}, {"calls": 0.0}, {"calls": 2.0}):
        assert variation(figures) is None
    assert mean_ms({}) is None
