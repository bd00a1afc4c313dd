# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What earlier runs knew: stored and read back; windows that begin anew; findings that are new, known, gone."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.baseline import (
    DAMPED_RUNS,
    HISTORY,
    RUNS_KEPT,
    Area,
    Baseline,
    Marks,
    broken_by,
    figure,
    went_down,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.finding import Finding, Says

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=timezone.utc)
LATER = NOW + timedelta(hours=1)
MARKS = Marks("7000", timeline=1, in_recovery=False, stats_reset="2026-01-01", server_version_num=150018)


def packed(data: bytes) -> bytes:
    """The same bytes in every process: gzip would note the time."""
    return gzip.compress(data, mtime=0)


def test_what_is_stored_comes_back_and_keeps_what_others_wrote(tmp_path: Path) -> None:
    first = Baseline.load(str(tmp_path), "7000")
    area = first.area("local:5432", "query")
    area.restart(MARKS, NOW, counters={'日本 "x"': [1, 2.5]})
    area.add_run(NOW, {"total": 3})
    other = Baseline.load(str(tmp_path), "7000")
    index = other.area("local:5432", "index")
    index.seen("public.i", NOW)
    assert other.store("local:5432", "index", index, check=False)["stored"] is True
    told = first.store("local:5432", "query", area, check=False)
    assert told == {"file": f"{tmp_path}/7000/baseline.json.gz", "stored": True, "runs": 1}
    again = Baseline.load(str(tmp_path), "7000")
    assert again.area("local:5432", "query").to_dict() == area.to_dict()
    assert again.area("local:5432", "index").seen("public.i", LATER) == NOW
    assert again.area("elsewhere:5432", "index").first_seen == {}
    assert os.stat(told["file"]).st_mode & 0o777 == 0o600


def test_check_mode_stores_nothing(tmp_path: Path) -> None:
    told = Baseline.load(str(tmp_path), "7000").store("local:5432", "query", Area(), check=True)
    assert told["stored"] is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not gzip",
        packed(b"[1]"),
        packed(b"{"),
        packed(b'{"format": 1, "nodes": 5}'),
        packed(b'{"format": 99, "nodes": {}}'),
        packed(b'{"format": 1, "nodes": {}}')[:-5],
        packed(b'{"format": 1, "nodes": {}}')[:12] + b"\xff\xff\xff" + b"0" * 30,
    ],
)
def test_a_damaged_file_is_said_begun_anew_and_kept(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "7000" / "baseline.json.gz"
    file.parent.mkdir()
    file.write_bytes(damage)
    found = Baseline.load(str(tmp_path), "7000")
    assert found.unreadable
    assert found.store("n", "query", found.area("n", "query"), check=False)["stored"] is True
    assert file.with_name("baseline.json.gz.damaged").read_bytes() == damage
    assert Baseline.load(str(tmp_path), "7000").unreadable is None


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "7000").write_text("a file where the directory should be")
    found = Baseline.load(str(tmp_path), "7000")
    told = found.store("n", "query", Area(), check=False)
    assert told["stored"] is False
    assert "7000" in told["why"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"system_id": "8000"}, "system"),
        ({"server_version_num": 150019}, None),
        ({"server_version_num": 160001}, "upgrade"),
        ({"timeline": 2}, "promotion"),
        ({"in_recovery": True}, "promotion"),
        ({"stats_reset": "2026-02-02"}, "reset"),
        ({"stats_reset": None}, "reset"),
    ],
)
def test_a_window_ends_when_what_counts_is_another(change: dict[str, Any], why: str | None) -> None:
    now = Marks(**{**MARKS.to_dict(), **change})
    assert broken_by(MARKS.to_dict(), now) == why
    area = Area()
    assert area.window(MARKS, NOW).why == "first-run"
    area.restart(MARKS, NOW)
    found = Area(json.loads(json.dumps(area.to_dict()))).window(now, LATER)
    assert (found.why, found.seconds) == ((why, 0.0) if why else ("stored", 3600.0))


def test_a_clock_that_was_set_back_ends_the_window() -> None:
    area = Area()
    area.restart(MARKS, LATER)
    assert area.window(MARKS, NOW).why == "clock"


@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 9)),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9)),
)
def test_going_down_is_seen_in_what_both_have(before: dict[str, float], more: dict[str, float]) -> None:
    grown = {name: value + more.get(name, 0) for name, value in before.items()}
    assert not went_down(before, grown)
    for name, value in grown.items():
        assert went_down(grown, {**grown, name: value - 1})
    assert not went_down(before, {})


def found(severity: str = "low") -> Finding:
    return Finding("HC01", "7000", severity, "measured", "", {"kind": "instance"}, Says("HC01"))


def test_findings_are_new_once_known_then_gone_then_new_again() -> None:
    area = Area()
    told, changed = area.recognise([found()], [], NOW)
    assert ([one.state for one in told], told[0].first_seen, changed) == (["new"], format_utc(NOW), True)
    told, changed = area.recognise([found()], [], LATER)
    assert (told[0].state, told[0].first_seen, changed) == ("known", format_utc(NOW), False)
    assert area.recognise([found("high")], [], LATER)[1] is True
    assert area.recognise([], [], LATER) == ([], True)
    assert area.recognise([], [], LATER) == ([], False)
    for _run in range(DAMPED_RUNS):
        area.recognise([], [], LATER)
    told, changed = area.recognise([found("high")], [], LATER)
    assert (told[0].state, told[0].first_seen, changed) == ("new", format_utc(NOW), True)
    area.recognise([], [], LATER)
    area.recognise([], [], LATER + timedelta(days=91))
    assert area.findings == {}


def test_what_comes_and_goes_is_told_of_once_and_says_how_often_it_was_there() -> None:
    area = Area()
    seen = [True, True, False, True, False, False, True, False, True]
    told_new, told_changed = [], []
    for there in seen:
        told, changed = area.recognise([found()] if there else [], [], LATER)
        told_new += [one.state == "new" for one in told]
        told_changed.append(changed)
    assert told_new == [True] + [False] * 4
    # It came, and it went for the first time; since then nobody is woken up for it.
    assert told_changed == [True, False, True] + [False] * 6
    (last,) = told
    assert last.runs == {"seen": 5, "of": 9, "key": None, "values": [1.0 if one else None for one in seen]}
    assert Finding.from_dict(last.to_dict()).runs == last.runs
    for _run in range(HISTORY * 2):
        area.recognise([found()], [], LATER)
    (last,), changed = area.recognise([found()], [], LATER)
    assert (last.runs["seen"], last.runs["of"], changed) == (HISTORY, HISTORY, False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, 1.0),
        ({"name": "x", "ok": True, "size_bytes": 123456}, 123500.0),
        ({"share": 0.123456, "n": 2}, 0.1235),
    ],
)
def test_the_figure_of_a_curve_is_the_first_number(value: dict[str, Any], expected: float) -> None:
    assert figure(value) == expected


def test_an_accepted_risk_is_accepted_until_its_day_is_over() -> None:
    area = Area()
    risk = {"id": found().id, "owner": "ops", "reason": "known", "until": "2026-11-21"}
    told, changed = area.recognise([found()], [risk], NOW)
    assert (told[0].state, told[0].accepted, changed) == ("accepted", risk, True)
    again, changed = area.recognise([found()], [risk], LATER)
    assert ([replace(one, runs=told[0].runs) for one in again], changed) == (told, False)
    told, changed = area.recognise([found()], [risk], NOW + timedelta(days=1))
    assert (told[0].state, told[0].accepted, changed) == ("known", None, True)


def test_runs_are_bounded_and_first_sights_forgotten() -> None:
    area = Area()
    for number in range(RUNS_KEPT + 5):
        area.add_run(NOW, {"number": number})
    assert [area.runs[0]["number"], len(area.runs)] == [5, RUNS_KEPT]
    area.seen("a", NOW)
    area.seen("b", NOW)
    area.forget(["b", "c"])
    assert list(area.first_seen) == ["b"]
