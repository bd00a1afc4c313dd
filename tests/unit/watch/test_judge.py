# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Facts against objectives, as tables; the forecast against arithmetic; one line for Nagios."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.sayings import Both
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch import judge
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.check import nagios
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.finding import Finding, Measure
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.judge import (
    CopyFact,
    DumpFact,
    Exposure,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.metrics import exposition
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.space import (
    Forecast,
    Sample,
    forecast,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.trends import failing_series

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)
HOUR, DAY = 3600, 86400
GB = 1 << 30


def trend(
    seconds: float, usual: float | None, size: int | None = None, median: int | None = None
) -> dict[str, Any]:
    def part(newest: float | None, before: float | None) -> dict[str, Any]:
        factor = newest / before if newest is not None and before else None
        return {"newest": newest, "median": before, "factor": factor}

    return {"seconds": part(seconds, usual), "bytes": part(size, median), "runs": 5}


def run(operation: str, result: str, number: int, **more: Any) -> dict[str, Any]:
    at = format_utc(NOW + timedelta(minutes=number))
    return {"operation": operation, "result": result, "began_at": at, "facts": {}, "code": None, **more}


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (judge.full_backup(None, None, DAY), "failed", "no verified full backup"),
        (judge.full_backup("x", 2 * DAY, DAY), "failed", "48 h 0 min old, the objective is 24 h"),
        (judge.full_backup("x", HOUR, DAY), "ok", "1 h 0 min"),
        (judge.rpo_now(Exposure(unknown="no server answers"), NOW, 60), "warning", "no server answers"),
        (judge.rpo_now(Exposure(in_recovery=True), NOW, 60), "ok", "recovery"),
        (judge.rpo_now(Exposure(), NOW, 60), "ok", "newest archived commit: none"),
        (judge.rpo_now(Exposure(NOW - timedelta(seconds=61)), NOW, 60), "failed", "1 min 1 s would be lost"),
        (judge.rpo_now(Exposure(NOW - timedelta(seconds=60)), NOW, 60), "ok", "1 min 0 s"),
        (judge.rpo_now(Exposure(behind_seconds=61.0), NOW, 60), "failed", "1 min 1 s behind"),
        (judge.rpo_now(Exposure(behind_seconds=0.2), NOW, 60), "ok", "0.2 s behind"),
        (judge.arrival(None, there=False), "ok", "not archived anything"),
        (judge.arrival("00", there=False), "failed", "does not have it"),
        (judge.backlog(0, 0, 0), "ok", "0 files"),
        (judge.backlog(33, 33 << 24, GB * 9), "warning", "33 files"),
        (judge.backlog(2, 32 << 20, 60 << 20), "failed", "the server stops when it is full"),
        (judge.space(GB, 9 * GB, None, 14), "ok", "too few days"),
        (judge.space(GB, 9 * GB, Forecast(None, 0.0), 14), "ok", "does not fill up"),
        (judge.space(GB, 9 * GB, Forecast(15.0, 1.0), 14), "ok", "15.0 days"),
        (judge.space(GB, 9 * GB, Forecast(13.0, 1.0), 14), "warning", "the objective is 14"),
        (judge.space(GB, 9 * GB, Forecast(1.0, 1.0), 14), "failed", "1.0 days"),
        (judge.sizes({}), "ok", "nothing to compare"),
        (judge.sizes({"backup/full": trend(1, 1, 49, 100)}), "failed", "is data missing?"),
        (judge.sizes({"backup/full": trend(1, 1, 50, 100)}), "ok", "as usual"),
        (judge.sizes({"dump/app": trend(1, 1, 201, 100)}), "warning", "is there room"),
        (judge.sizes({"backup/incremental": trend(1, 1, 1, 100)}), "ok", "nothing to compare"),
        (judge.durations({"backup/full": trend(301, 100)}), "warning", "5 min 1 s"),
        (judge.durations({"backup/full": trend(50, 10)}), "ok", "as usual"),
        (judge.durations({"restore": trend(9000, 10)}), "ok", "as usual"),
        (judge.dumps([], []), "ok", "no dump is asked for"),
        (judge.dumps([DumpFact("a/b", None, DAY)], []), "failed", "a/b: there is no verified dump"),
        (
            judge.dumps([DumpFact("a/b", 2 * DAY, DAY), DumpFact("c/d", 1, DAY)], []),
            "failed",
            "a/b: the newest",
        ),
        (judge.dumps([DumpFact("a/b", 1, DAY)], ["x"]), "failed", "cannot be read: x"),
        (
            judge.dumps([DumpFact("a/b", 1, DAY), DumpFact("c/d", HOUR, DAY)], []),
            "ok",
            "oldest is 1 h 0 min old",
        ),
        (judge.copies([]), "ok", "no copy is asked for"),
        (judge.copies([CopyFact("s3", None, HOUR)]), "failed", "has never been made"),
        (judge.copies([CopyFact("s3", 2 * HOUR, HOUR)]), "failed", "2 h 0 min behind"),
        (judge.copies([CopyFact("s3", 60.0, HOUR, "denied")]), "warning", "s3 fails: denied"),
        (judge.copies([CopyFact("door", 0.0, HOUR, left_out=3)]), "warning", "none of 3 dumps"),
        (judge.copies([CopyFact("s3", 60.0, HOUR), CopyFact("nas", 1.0, HOUR)]), "ok", "nas is 1.0 s behind"),
        (judge.verification(None, None, [], DAY), "ok", "not due"),
        (judge.verification(None, 2 * DAY, [], DAY), "failed", "nothing has ever been verified"),
        (judge.verification(2 * DAY, 9 * DAY, [], DAY), "failed", "48 h"),
        (judge.verification(HOUR, 9 * DAY, [], DAY), "ok", "last good"),
        (
            judge.verification(HOUR, 9 * DAY, [Both("backup x", "x")], DAY),
            "failed",
            "found damaged: backup x",
        ),
        (judge.trial(None, None, None), "ok", "no trial"),
        (judge.trial(None, None, DAY), "failed", "none has ever been made"),
        (judge.trial(None, None, DAY), "failed", "dbkeeper verify --trial DATABASE"),
        (judge.trial(2 * DAY, None, DAY), "failed", "48 h"),
        (judge.trial(2 * DAY, None, DAY), "failed", "dbkeeper verify --trial DATABASE"),
        (judge.trial(None, (HOUR, Both("rows differ", "行")), None), "failed", "rows differ"),
    ],
)
def test_a_fact_against_its_objective(found: Finding, state: str, words: str) -> None:
    assert found.state == state, found
    assert words in found.text
    assert re.search("[぀-ヿ一-鿿]", found.japanese) or found.japanese == found.text
    assert found.said("ja") == found.japanese


def test_the_worst_is_said_first() -> None:
    found = judge.copies([CopyFact("a", 60.0, HOUR, "slow"), CopyFact("b", None, HOUR)])
    assert found.state == "failed" and found.text.index("b has never") < found.text.index("a fails")


def test_what_failed_last_is_known_until_it_works() -> None:
    runs = [
        run("backup", "ok", 1, facts={"kind": "full"}),
        run("backup", "failed", 2, code="disk-full", error={"happened": "x"}),
        run("expire", "refused", 3, code="busy"),
        run("notify", "failed", 4, code="notify-mail-failed"),
        run("dump", "failed", 5, code="x", facts={"database": "a"}),
        run("dump", "ok", 6, facts={"database": "b"}),
        run("restore", "running", 7),
    ]
    assert [one["series"] for one in failing_series(runs)] == ["backup", "dump/a"]
    found = judge.last_runs(failing_series(runs))
    assert found.state == "failed" and "disk-full" in found.text
    again = [*runs, run("backup", "unchanged", 8), run("dump", "ok", 9, facts={"database": "a"})]
    assert failing_series(again) == []
    # What happened is said in Japanese there; of a code that nobody has put into words, as it is.
    assert found.japanese.endswith(
        "(disk-full: x); 2026-11-21T03:20:00Z に dump/a が失敗しました。x: failed"
    ), found
    full = run("backup", "failed", 2, code="server-behind", error={"happened": "0/3000000 < 0/4000000"})
    japanese = judge.last_runs(failing_series([full])).japanese
    assert japanese.endswith("前に戻っています。 (server-behind: 0/3000000 < 0/4000000)"), japanese
    attended = [run("restore", "failed", 10, code="x")]
    assert judge.last_runs(failing_series(attended)).state == "warning"


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "warning"),
        ({"scheduled": True}, "failed"),
        ({"facts": {"database": "a"}}, "failed"),
    ],
)
def test_who_mistypes_a_name_calls_nobody_out_of_bed(more: dict[str, Any], state: str) -> None:
    """A command by hand that was refused before it knew what it was about, and not a schedule's."""
    refused = run("dump", "refused", 1, code="database-unknown", error={"happened": "x"}, **more)
    assert judge.last_runs(failing_series([refused])).state == state


@pytest.mark.parametrize(
    ("progress", "runs", "state", "words"),
    [
        (None, [], "ok", "nothing runs too long"),
        (
            {"state": "running", "operation": "backup", "at": format_utc(NOW), "owner": {"pid": 7}},
            [],
            "ok",
            "",
        ),
        (
            {
                "state": "running",
                "operation": "backup",
                "at": format_utc(NOW - timedelta(hours=1)),
                "owner": {"pid": 7},
            },
            [],
            "failed",
            "backup (pid 7) has shown no progress for 1 h",
        ),
        ({"state": "interrupted", "operation": "restore"}, [], "warning", "restore was interrupted"),
        (None, [run("backup", "running", -90, who={"pid": 8})], "warning", "1 h 30 min"),
        (None, [run("backup", "running", -30, who={"pid": 8})], "ok", ""),
        (None, [run("verify", "running", -90, who={"pid": 8})], "ok", ""),
    ],
)
def test_what_stands_still(progress: Any, runs: list[dict[str, Any]], state: str, words: str) -> None:
    found = judge.stuck(progress, runs, {"backup/full": trend(1, 600)}, NOW)
    assert found.state == state and words in found.text


def samples(free: list[float], apart: timedelta = timedelta(days=1)) -> list[Sample]:
    return [Sample(NOW - apart * (len(free) - 1 - number), int(one)) for number, one in enumerate(free)]


def test_the_forecast_is_a_straight_line() -> None:
    found = forecast(samples([100 * GB - day * 5 * GB for day in range(10)]), NOW)
    # 55 GB are left and 5 go each day.
    assert (
        found is not None
        and found.days == pytest.approx(11.0)
        and found.bytes_per_day == pytest.approx(5 * GB)
    )


def test_a_backup_that_came_and_an_expiry_that_ran_make_no_trend() -> None:
    saw = [100 * GB - (day % 7) * 10 * GB for day in range(15)]
    found = forecast(samples(saw), NOW)
    assert found is not None and found.days is None
    # The same, and each week 14 GB less: 2 GB a day, and 40 - 28 GB or so are left on the worst day.
    sinking = [one - day * 2 * GB for day, one in enumerate(saw)]
    found = forecast(samples(sinking), NOW)
    assert found is not None and found.bytes_per_day == pytest.approx(2 * GB)
    assert found.days == pytest.approx(sinking[-1] / (2 * GB))


@pytest.mark.parametrize(
    "known",
    [
        [],
        samples([9 * GB]),
        samples([9 * GB, 8 * GB, 7 * GB]),
        samples([9 * GB - hour * GB // 10 for hour in range(20)], timedelta(hours=1)),
    ],
)
def test_too_little_is_no_forecast(known: list[Sample]) -> None:
    assert forecast(known, NOW) is None


def test_a_week_without_samples_is_bridged() -> None:
    known = samples([50 * GB - day * GB for day in range(5)])
    early = Sample(NOW - timedelta(days=14, hours=12), int(60.5 * GB))
    found = forecast([early, *known], NOW)
    # A straight line of 1 GB a day through all of them, and 46 GB are left.
    assert found is not None and found.days == pytest.approx(46.0)


def test_old_samples_do_not_count() -> None:
    old = [Sample(NOW - timedelta(days=30 + day), GB) for day in range(10)]
    assert forecast(sorted(old, key=lambda one: one.at), NOW) is None


def result(*found: Finding) -> dict[str, Any]:
    states = [one.state for one in found]
    worst = "failed" if "failed" in states else "warning" if "warning" in states else "ok"
    return {
        "cluster": "main",
        "state": worst,
        "healthy": worst != "failed",
        "at": format_utc(NOW),
        "checks": [one.to_dict() for one in found],
        "information": None,
    }


ODD = Finding(
    "dumps",
    "failed",
    "a | b\n'c' = d",
    "古い",
    measures=(Measure("dump_age_seconds", 5.5, most=3, about="a'b=c|d\ne"),),
)
FINE = Finding("space", "ok", "x", "x", measures=(Measure("repository_full_in_days", 20.0, least=14),))
SOSO = Finding("rto", "warning", "never measured", "未計測")


@pytest.mark.parametrize(
    ("found", "status", "line"),
    [
        ((FINE,), 0, "DBKEEPER OK - main: 1 checks | 'repository_full_in_days'=20;;14:;0;"),
        (
            (FINE, SOSO),
            1,
            "DBKEEPER WARNING - main: rto: never measured | 'repository_full_in_days'=20;;14:;0;",
        ),
        (
            (SOSO, ODD),
            2,
            "DBKEEPER CRITICAL - main: dumps: a / b 'c' = d; rto: never measured | "
            "'dump_age_seconds a_b_c/d e'=5.500s;;3;0;",
        ),
    ],
)
def test_one_line_for_nagios(found: tuple[Finding, ...], status: int, line: str) -> None:
    assert nagios(result(*found)) == (status, line)


def test_odd_names_survive_the_way_to_prometheus() -> None:
    text = exposition(result(ODD, FINE))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["dbkeeper_dump_age_seconds"].samples
    assert (sample.labels["about"], sample.value) == ("a'b=c|d\ne", 5.5)
    assert families["dbkeeper_healthy"].samples[0].value == 0
    assert families["dbkeeper_check_time_seconds"].samples[0].value == NOW.timestamp()
