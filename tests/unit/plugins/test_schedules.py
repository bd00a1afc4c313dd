# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Schedules: the same words mean the same moments to cron and to systemd; every file is what its program takes."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.plugin_utils._schedules import (
    ALL,
    Where,
    calendar,
    cron_table,
    cron_time,
    files_of,
    jobs_of,
    minute_of,
)

WHERE = Where(
    "main", "postgres", "/usr/local/bin/dbkeeper", "/var/lib/dbkeeper/state/main", "db1", "postgresql.service"
)
FACTS: dict[str, Any] = {
    "hours": [2],
    "interval_seconds": 86400,
    "rpo_seconds": 900,
    "expire": True,
    "dumps": True,
    "copies": True,
    "trial": "shop",
    "notify": True,
}
SUNDAY = datetime(2026, 11, 15, tzinfo=timezone.utc)


def cron_moments(fields: list[str], days: int = 7) -> set[datetime]:
    """By the rules of crontab(5), worked out minute by minute."""

    def fits(value: int, text: str) -> bool:
        return text == "*" or str(value) in text.split(",")

    found = set()
    for line in fields:
        minute, hour, day, month, weekday = line.split()
        assert day == month == "*"
        for number in range(days * 1440):
            at = SUNDAY + timedelta(minutes=number)
            if fits(at.minute, minute) and fits(at.hour, hour) and fits(at.isoweekday() % 7, weekday):
                found.add(at)
    return found


WORDS = [
    "hourly",
    "daily",
    "daily 02",
    "daily 02:30",
    "daily 02,14",
    "daily 01:15,13:45",
    "sunday 04",
    "saturday 23:59",
    "every 5m",
    "every 15m",
    "every 60m",
    "every 6h",
    "every 1h",
]


@pytest.mark.parametrize("at", WORDS)
@pytest.mark.parametrize("minute", [0, 7, 59])
def test_times_mean_what_they_say(at: str, minute: int) -> None:
    moments = sorted(cron_moments(cron_time(at, minute)))
    gaps = {second - first for first, second in zip(moments, moments[1:])}
    expected = {
        "hourly": (168, {60}),
        "daily": (7, {1440}),
        "daily 02": (7, {1440}),
        "daily 02:30": (7, {1440}),
        "daily 02,14": (14, {720}),
        "daily 01:15,13:45": (14, {750, 690}),
        "sunday 04": (1, set()),
        "saturday 23:59": (1, set()),
        "every 5m": (2016, {5}),
        "every 15m": (672, {15}),
        "every 60m": (168, {60}),
        "every 6h": (28, {360}),
        "every 1h": (168, {60}),
    }[at]
    assert len(moments) == expected[0]
    assert gaps == {timedelta(minutes=one) for one in expected[1]}
    if ":" in at:
        times = {f"{moment:%H:%M}" for moment in moments}
        assert times == set(at.split()[1].split(","))


@pytest.mark.parametrize("at", WORDS)
def test_systemd_means_the_same_as_cron(at: str) -> None:
    minute = 37
    count = 5
    moments: set[datetime] = set()
    for text in calendar(at, minute):
        done = subprocess.run(
            [
                "systemd-analyze",
                "calendar",
                f"--iterations={count}",
                "--base-time=2026-11-15 00:00:00 UTC",
                text,
            ],
            capture_output=True,
            text=True,
            check=True,
            env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )
        found = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
        moments |= {datetime.strptime(one, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc) for one in found}
    first = sorted(one for one in moments if one > SUNDAY)[:count]
    wanted = sorted(one for one in cron_moments(cron_time(at, minute), 49) if one > SUNDAY)[:count]
    assert first[: len(wanted)] == wanted


@pytest.mark.parametrize(
    "at", ["daily 25", "daily 02:60", "every 7m", "every 0m", "every 5h", "sometimes", "daily 02%", "5 5 * *"]
)
def test_what_is_no_time_is_refused(at: str) -> None:
    with pytest.raises(Refused) as refused:
        files_of("cron", jobs_of({"backup": at}, FACTS), WHERE)
    assert refused.value.code == "schedule-malformed"


@pytest.mark.parametrize(
    "wanted",
    [{"bakcup": "daily"}, {"backup": 5}, {"backup": {"when": "daily"}}, {"dump": {"options": ["$(reboot)"]}}],
)
def test_what_is_no_job_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        jobs_of(wanted, FACTS)
    assert refused.value.code == "schedule-malformed"


def test_a_database_that_a_shell_would_stumble_over_has_no_trial_here() -> None:
    with pytest.raises(Refused, match="signs"):
        jobs_of({}, {**FACTS, "trial": "a b; rm"})


def test_what_there_is_by_default_and_what_is_asked_for() -> None:
    assert [job.name for job in jobs_of({}, FACTS)] == list(ALL)
    plain = {name: FACTS[name] for name in ("hours", "interval_seconds", "rpo_seconds")}
    assert [job.name for job in jobs_of({}, plain)] == ["backup", "check", "verify", "verify-thorough"]
    elsewhere = jobs_of({}, {**plain, "here": False})
    assert [job.name for job in elsewhere] == ["backup", "check"]
    assert [job.name for job in jobs_of({"check": "off", "verify": False}, plain)] == [
        "backup",
        "verify-thorough",
    ]
    (dump,) = [
        job
        for job in jobs_of({"dump": {"at": "daily 13", "options": ["app"], "nice": False}}, FACTS)
        if job.name == "dump"
    ]
    assert (dump.at, dump.commands, dump.nice) == ("daily 13", (("dump", "app"),), False)
    limited = jobs_of({}, {**plain, "verify_max_rate_kbytes": 5000})
    assert limited[2].commands == (("verify", "--max-rate", "5000"),)
    assert limited[2].catch_up == ("hourly", (("verify", "--max-age", "90000", "--max-rate", "5000"),))


@pytest.mark.parametrize(
    ("rpo_seconds", "at"),
    [
        (60, "every 5m"),
        (300, "every 5m"),
        (899, "every 10m"),
        (900, "every 15m"),
        (3599, "every 30m"),
        (7200, "hourly"),
    ],
)
def test_the_check_is_as_often_as_the_objective_asks(rpo_seconds: int, at: str) -> None:
    assert [job.at for job in jobs_of({}, {**FACTS, "rpo_seconds": rpo_seconds}) if job.name == "check"] == [
        at
    ]


def test_a_cron_table_runs_as_the_owner_behind_others_one_at_a_time() -> None:
    lines = [line for line in cron_table(jobs_of({}, FACTS), WHERE).splitlines() if line[:1] not in "#SPM"]
    for line in lines:
        times = line.split(" postgres ")[0].split()
        assert len(times) == 5 or times == ["@reboot"]
        assert "%" not in line and line.count("'") == 2
        assert "flock -n -E 0 /var/lib/dbkeeper/state/main/.schedule-" in line
        assert line.endswith(" >> /var/lib/dbkeeper/state/main/schedule.log 2>&1")
        assert "nice -n 10 ionice -c 2 -n 7 /usr/local/bin/dbkeeper " in line
    # A missed base backup is taken as soon as it is an hour late, and not before.
    late = [line for line in lines if "--max-age 90000" in line]
    assert len(late) == 2 and " * * * * postgres" in late[0]
    (dump,) = [line for line in lines if line.startswith("@reboot")]
    assert " dump --cluster main --scheduled --max-age 75600'" in dump


@pytest.mark.parametrize(
    ("job", "at", "age"),
    [
        ("backup", "daily 02,14", "46800"),
        ("backup", "daily 06,08:30", "81000"),
        ("backup", "sunday 04", "608400"),
        ("backup", "30 4 * * 1", "90000"),
        ("backup", "hourly", None),
        ("verify", "daily 05", "90000"),
        ("verify", "sunday 05", "608400"),
        ("verify", "every 6h", "25200"),
        ("verify", "every 15m", None),
        ("verify", "5 5 * * 3", None),
        ("verify-thorough", "sunday 06", "608400"),
        ("verify-thorough", "sunday 06,18", "565200"),
        ("trial", "saturday 04", "608400"),
        ("trial", "daily 04", "90000"),
    ],
)
def test_what_is_missed_is_made_up_for_by_the_times_that_are_asked_for(
    job: str, at: str, age: str | None
) -> None:
    """A verification that is to be weekly is not made daily by what makes up for a missed one."""
    (found,) = [one for one in jobs_of({job: {"at": at, "options": ["--x"]}}, FACTS) if one.name == job]
    command = found.commands[0][:-1]
    assert found.catch_up == (("hourly", ((*command, "--max-age", age, "--x"),)) if age else None)
    # Said another way: never while runs are on time, and at the latest an hour and a bit after one was missed.
    if age and not at[0].isdigit():
        moments = sorted(cron_moments(cron_time(at, 0), 28))
        gap = max(second - first for first, second in zip(moments, moments[1:]))
        assert int(age) == gap.total_seconds() + 3600


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_minutes_are_stable_and_within_an_hour(seed: str) -> None:
    one = Where("main", "postgres", "dbkeeper", "/state", seed)
    assert 0 <= minute_of(one, "backup") < 60
    assert minute_of(one, "backup") == minute_of(one, "backup")


def test_hosts_do_not_all_begin_at_once() -> None:
    minutes = {
        minute_of(Where("main", "postgres", "dbkeeper", "/state", f"db{number}"), "backup")
        for number in range(100)
    }
    assert len(minutes) > 35


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    here = Where("main", "root", "/bin/true", "/state", "db1", "multi-user.target", 300)
    files = files_of("systemd", jobs_of({}, FACTS), here)
    for file in files:
        (tmp_path / Path(file["path"]).name).write_text(file["content"])
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert done.returncode == 0 and "dbkeeper" not in done.stderr, done.stderr
    timers = [file for file in files if file["path"].endswith(".timer")]
    assert len(timers) == len(ALL)
    assert all(
        "Persistent=true" in file["content"] and "RandomizedDelaySec=300" in file["content"]
        for file in timers
    )
