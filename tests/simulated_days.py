# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Runs on a host: days of its cron table, job after job, with a clock that is turned before each (libfaketime).

``python3 simulated_days.py FIRST DAYS [MISSED]``: FIRST is a day (2026-10-22); on the days of MISSED (a comma list of
numbers) the host is off until eleven. Prints a JSON line for each job: when, which, its exit status, its seconds; and
after each base backup how the catalog has it.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

TABLE = "/etc/cron.d/dbkeeper-main"
CLOCK = "/run/dbkeeper-clock"
BASE = "/var/lib/dbkeeper/repository/main/base"
ENVIRONMENT = {
    "LD_PRELOAD": next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1"))),
    "FAKETIME_TIMESTAMP_FILE": CLOCK,
    "FAKETIME_NO_CACHE": "1",
    "NO_FAKE_STAT": "1",
}
#: A server lives through many turns; its waiting is not to jump with them.
SERVER = {**ENVIRONMENT, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
WORK = (
    "INSERT INTO ledger SELECT {day} * 1000 + i, md5(({day} * 1000 + i)::text), clock_timestamp() "
    "FROM generate_series(1, 200) i; SELECT pg_switch_wal()"
)


def turn(moment: datetime) -> None:
    """It is this moment now, for everybody who has the clock."""
    with open(f"{CLOCK}.new", "w", encoding="ascii") as handle:
        handle.write(f"{moment.timestamp() - time.time():+.0f}\n")
    os.rename(f"{CLOCK}.new", CLOCK)


def table() -> list[tuple[str, str, str]]:
    """Fields, user and command of each line of the table."""
    found = []
    with open(TABLE, encoding="utf-8") as handle:
        for line in handle:
            match = re.match(r"(\d\S* \S+ \S+ \S+ \S+) (\w+) (.*)", line.strip())
            if match:
                found.append((match[1], match[2], match[3]))
    return found


def moments(fields: str, day: datetime) -> list[datetime]:
    """When a line runs on a day."""
    minute, hour, _day, _month, weekday = fields.split()
    if weekday not in ("*", str(day.isoweekday() % 7)):
        return []
    hours = range(24) if hour == "*" else [int(one) for one in hour.split(",")]
    return [day + timedelta(hours=one, minutes=int(part)) for one in hours for part in minute.split(",")]


def events(day: datetime, missed: bool) -> list[tuple[datetime, str, str]]:
    """What runs on a day, in order. What only catches up is tried once, where something was missed."""
    found = []
    for fields, user, command in table():
        times = moments(fields, day)
        if "--max-age" in command:
            times = [time for time in times if missed and time.hour == 11]
        found += [(time, user, command) for time in times if not missed or time.hour >= 11]
    return sorted(found)


def as_user(user: str, command: str) -> subprocess.CompletedProcess[str]:
    """With the turned clock; not behind other work, which on a busy machine would take all day."""
    command = command.replace("nice -n 10 ionice -c 2 -n 7 ", "")
    clock = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return subprocess.run(
        ["runuser", "-u", user, "--", "env", *clock, "sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
    )


def say(**facts: object) -> None:
    """One line."""
    sys.stdout.write(json.dumps(facts) + "\n")


def live(day: datetime, number: int, missed: bool) -> None:
    """One day: the schedule, and at noon the work that the database is for."""
    known = set(os.listdir(BASE))
    for moment, user, command in events(day, missed):
        turn(moment)
        began = time.monotonic()
        done = as_user(user, command)
        name = re.search(r"schedule-([a-z-]+)\.lock", command)
        say(
            day=number,
            at=moment.isoformat(),
            job=name[1] if name else command,
            status=done.returncode,
            err=done.stderr[-500:],
            seconds=round(time.monotonic() - began, 2),
        )
        for label in sorted(set(os.listdir(BASE)) - known):
            with open(f"{BASE}/{label}/backup.json", encoding="utf-8") as handle:
                entry = json.load(handle)
            say(day=number, backup=label, stopped_at=entry["stopped_at"], status=entry["status"])
            known.add(label)
    turn(day + timedelta(hours=12))
    done = as_user("postgres", f'psql -qXAt -d app -c "{WORK.format(day=number)}"')
    say(
        day=number,
        at=(day + timedelta(hours=12)).isoformat(),
        job="work",
        status=done.returncode,
        err=done.stderr,
    )


def main() -> None:
    """All days."""
    first = datetime.strptime(sys.argv[1], "%Y-%m-%d").replace(tzinfo=timezone.utc)
    begin, end = (int(one) for one in sys.argv[2].split("-"))
    missed = {int(one) for one in sys.argv[3].split(",")} if len(sys.argv) > 3 else set()
    for number in range(begin, end):
        live(first + timedelta(days=number), number, number in missed)


if __name__ == "__main__":
    main()
