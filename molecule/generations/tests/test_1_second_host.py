# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Beside the month of the first host: a week by systemd's timers, then work by modules and playbook."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.disaster_hosts import until
from tests.generations_hosts import BALLAST, REPOSITORY, WEEK, Life, Month, keeper, midnight, postgres
from tests.playbook_runs import Run, command, playbook

HERE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def week(beginning: Month) -> Life:
    """It has lived it, and is in the present again."""
    lived = Life("spare", midnight() - timedelta(days=WEEK))
    lived.host.check_output("install -d -o postgres -g postgres -m 0750 /srv/second")
    lived.begin()
    lived.live(0, WEEK)
    lived.clock("end")
    return lived


def stored(one: Any) -> set[str]:
    """What lies in its repository and in its copy, but for WAL and records."""
    listed = one.check_output(
        f"find {REPOSITORY}/base {REPOSITORY}/dump /srv/second -type f -printf '%p %s\\n'"
    )
    return set(listed.splitlines())


def backup(what: str, *more: str) -> Run:
    """The playbook."""
    done = playbook("backup", "-e", "target=spare", "-e", f"backup_what={what}", *more)
    assert done.status == 0, done.out
    return done


def test_1_systemd_started_every_job_of_the_week(week: Life) -> None:
    daily = list(range(WEEK))
    (sunday,) = [number for number in daily if week.day(number).isoweekday() == 7]
    ran = {name: week.days_of(name) for name in {run["job"] for run in week.runs}}
    assert ran == {
        **dict.fromkeys(("backup", "dump", "copy", "check", "verify", "notify", "summary", "work"), daily),
        "verify-thorough": [sunday],
    }
    assert week.failures() == set(), week.checks()
    assert {name for found in week.checks().values() for name in found} == {"rto"}, week.checks()
    # What the jobs say is in the journal, and each moment is what the timer's own words mean.
    verified = [run["said"] for run in week.runs if run["job"] == "verify"]
    assert [said for said in verified if "everything is good" not in said] == []
    assert {run["at"][11:16] for run in week.runs if run["job"] == "summary"} == {"08:00"}
    assert len(week.stops) == WEEK
    assert set(week.stops) == set(week.host.check_output(f"ls {REPOSITORY}/base").split())


def test_2_systemd_makes_up_for_what_was_missed(week: Life) -> None:
    one = week.host
    before = set(one.check_output(f"ls {REPOSITORY}/dump/app").split())
    one.check_output("touch -d '2 days ago' /var/lib/systemd/timers/stamp-dbkeeper-dump-main.timer")
    one.check_output("systemctl start dbkeeper-main.target")
    until(
        lambda: (
            keeper(one, "history", "--operation", "dump", "--since", "1h")["runs"][-1:]
            and set(one.check_output(f"ls {REPOSITORY}/dump/app").split()) - before
        ),
        60,
        "the dump that the timer had missed",
    )
    until(lambda: not one.service("dbkeeper-dump-main").is_running, 60, "its end")
    assert one.check_output("systemctl show -p Result --value dbkeeper-dump-main.service") == "success"


def test_3_modules_dump_and_load_a_lost_table(week: Life) -> None:
    content = postgres(week.host, BALLAST)
    argv, environment = command("backup")
    argv[1] = str(HERE / "by_module.yml")
    done = subprocess.run(argv, env=environment, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert postgres(week.host, BALLAST) == content and content.startswith("20000|")


def test_4_the_playbook_foretells_and_touches_nothing(week: Life) -> None:
    before = stored(week.host)
    done = backup("backup,dump,copy,verify", "--check")
    assert {task for _host, task in done.changed} >= {"Take a base backup", "Dump databases"}, done.out
    assert stored(week.host) == before
    wrong = playbook("backup", "-e", "target=spare", "-e", "backup_what=dumps")
    assert wrong.status != 0 and "it may hold backup, dump, copy and verify" in wrong.out


@pytest.mark.parametrize(
    ("what", "task", "place"),
    [
        ("backup", "Take a base backup", f"{REPOSITORY}/base/"),
        ("dump", "Dump databases", f"{REPOSITORY}/dump/app/"),
        ("copy", "Copy to other places", "/srv/second/"),
        ("verify", None, None),
    ],
)
def test_5_the_playbook_does_what_it_is_told(
    week: Life, what: str, task: str | None, place: str | None
) -> None:
    before = stored(week.host)
    done = backup(what)
    new = stored(week.host) - before
    if task is None:
        assert new == set()
        assert keeper(week.host, "history", "--operation", "verify")["runs"][-1]["result"] in (
            "ok",
            "unchanged",
        )
        return
    assert {one for _host, one in done.changed} == {task}, done.out
    assert new and all(path.startswith(str(place)) for path in new), new
