# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Runs on a host: days of its schedule, job after job, with a clock that is turned before each (libfaketime).

``begin MOMENT``: the server gets the clock, and what it archived before that is as if it had never been.
``days FIRST BEGIN-END [OFF]``: FIRST is a day (2026-10-22); on the days of OFF (a comma list of numbers) the host is
off until eleven. Prints a JSON line for each job: when, which, its exit status, its seconds and what it said; and
after each base backup how the catalog has it.
``at MOMENT COMMAND``: one command of the cluster's owner at a moment. ``cron MOMENT``: what cron itself starts when
that minute comes. ``end``: the present, for everybody.

A table of cron runs as cron would run it: its command lines, by sh, as its user. Timers of systemd: their units are
started by systemd, at the moments that systemd itself makes of their calendars.
"""

from __future__ import annotations

import glob
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

TABLE = "/etc/cron.d/dbkeeper-main"
TIMERS = "/etc/systemd/system/dbkeeper-*-main.timer"
UNITS = "/run/systemd/system"
CLOCK = "/run/dbkeeper-clock"
REPOSITORY = "/var/lib/dbkeeper/repository/main"
LOG = "/var/lib/dbkeeper/state/main/schedule.log"
SERVER_ENVIRONMENT = "/etc/postgresql/15/main/environment"
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
    "FROM generate_series(1, 200) i"
)
#: A host that was off is on again.
BACK = 11


@dataclass(frozen=True)
class Job:
    """When something runs, what it is called, and how it is run: (exit status, what it said)."""

    at: datetime
    name: str
    run: Callable[[], tuple[int, str]]


def turn(moment: datetime | None) -> None:
    """It is this moment now, for everybody who has the clock. None: the present."""
    offset = moment.timestamp() - time.time() if moment else 0
    with open(f"{CLOCK}.new", "w", encoding="ascii") as handle:
        handle.write(f"{offset:+.0f}\n")
    os.chmod(f"{CLOCK}.new", 0o644)
    os.rename(f"{CLOCK}.new", CLOCK)


def shell(*argv: str) -> str:
    """What a program printed; it has to succeed."""
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


def as_user(user: str, command: str) -> subprocess.CompletedProcess[str]:
    """With the turned clock; not behind other work, which on a busy machine would take all day."""
    command = command.replace("nice -n 10 ionice -c 2 -n 7 ", "")
    clock = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return subprocess.run(
        ["runuser", "-u", user, "--", "env", *clock, "sh", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


# -- cron ---------------------------------------------------------------------------------------------------


def table() -> list[tuple[str, str, str]]:
    """Fields, user and command of each line of the table."""
    found = []
    with open(TABLE, encoding="utf-8") as handle:
        for line in handle:
            match = re.match(r"(@reboot|\d\S* \S+ \S+ \S+ \S+) (\w+) (.*)", line.strip())
            if match:
                found.append((match[1], match[2], match[3]))
    return found


def moments(fields: str, day: datetime, off: bool) -> list[datetime]:
    """When a line runs on a day."""
    back = day + timedelta(hours=BACK)
    if fields == "@reboot":
        # Five minutes later: the line itself waits for so long.
        return [back + timedelta(minutes=5)] if off else []
    minute, hour, _day, _month, weekday = fields.split()
    if weekday not in ("*", str(day.isoweekday() % 7)):
        return []
    hours = range(24) if hour == "*" else [int(one) for one in hour.split(",")]
    found = [day + timedelta(hours=one, minutes=int(part)) for one in hours for part in minute.split(",")]
    return [moment for moment in found if not off or moment >= back]


def of_cron(day: datetime, off: bool) -> Iterator[Job]:
    """What cron runs on a day. What only catches up is tried once, where something was missed."""
    for fields, user, command in table():
        times = moments(fields, day, off)
        if "--max-age" in command:
            times = times[:1] if off else []
        named = re.search(r"schedule-([a-z-]+)\.lock", command)
        for moment in times:
            yield Job(
                moment, named[1] if named else command, lambda user=user, line=command: _line(user, line)
            )


def _line(user: str, command: str) -> tuple[int, str]:
    before = os.path.getsize(LOG) if os.path.exists(LOG) else 0
    done = as_user(user, re.sub(r"^sleep \d+; ", "", command))
    with open(LOG, encoding="utf-8") as handle:
        handle.seek(before)
        return done.returncode, done.stdout + handle.read()


def by_cron(moment: datetime) -> str:
    """Let the daemon wait for the last seconds before a minute, and return what its job said."""
    turn(moment.replace(second=0) - timedelta(seconds=3))
    before = os.path.getsize(LOG)
    with subprocess.Popen(["/usr/sbin/cron", "-f"], env={**os.environ, **ENVIRONMENT}) as daemon:
        try:
            deadline = time.monotonic() + 240
            while os.path.getsize(LOG) == before and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            daemon.terminate()
    with open(LOG, encoding="utf-8") as handle:
        handle.seek(before)
        return handle.read()


# -- systemd ------------------------------------------------------------------------------------------------


def of_systemd(day: datetime) -> Iterator[Job]:
    """What systemd starts on a day, by its own arithmetic."""
    for path in sorted(glob.glob(TIMERS)):
        unit = os.path.basename(path)[: -len(".timer")]
        with open(path, encoding="utf-8") as handle:
            calendars = re.findall(r"^OnCalendar=(.*)$", handle.read(), re.M)
        # One second before, as a moment that is given is not one that comes.
        base = f"--base-time={day - timedelta(seconds=1):%Y-%m-%d %H:%M:%S} UTC"
        told = shell("systemd-analyze", "calendar", base, "--iterations=24", *calendars)
        for text in re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ ([-\d]+ [:\d]+) UTC", told):
            moment = datetime.fromisoformat(f"{text}+00:00")
            if moment < day + timedelta(days=1):
                name = unit[len("dbkeeper-") : -len("-main")]
                yield Job(moment, name, lambda unit=unit: _unit(unit))


def _unit(unit: str) -> tuple[int, str]:
    subprocess.run(["systemctl", "start", f"{unit}.service"], capture_output=True, check=False)
    shown = shell("systemctl", "show", "-p", "ExecMainStatus,InvocationID", f"{unit}.service")
    facts = dict(line.split("=", 1) for line in shown.splitlines())
    # Its last lines may still be on their way to the journal.
    shell("journalctl", "--sync")
    said = shell("journalctl", "--output=cat", f"_SYSTEMD_INVOCATION_ID={facts['InvocationID']}")
    return int(facts["ExecMainStatus"]), said


def give_units_the_clock() -> None:
    """And nothing else of them is changed."""
    for path in glob.glob(TIMERS):
        directory = f"{UNITS}/{os.path.basename(path)[: -len('.timer')]}.service.d"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/clock.conf", "w", encoding="ascii") as handle:
            lines = [f'Environment="{name}={value}"' for name, value in ENVIRONMENT.items()]
            handle.write("\n".join(["[Service]", *lines, "Nice=0", ""]))
    shell("systemctl", "daemon-reload")


# -- days ---------------------------------------------------------------------------------------------------


def say(**facts: object) -> None:
    """One line."""
    sys.stdout.write(json.dumps(facts) + "\n")


def live(day: datetime, number: int, off: bool) -> None:
    """One day: the schedule, and at noon the work that the database is for."""
    known = set(os.listdir(f"{REPOSITORY}/base"))
    found = list(of_cron(day, off)) if os.path.exists(TABLE) else list(of_systemd(day))
    found.append(Job(day + timedelta(hours=12), "work", lambda: _work(number)))
    for job in sorted(found, key=lambda one: one.at):
        turn(job.at)
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        status, said = job.run()
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        say(
            day=number,
            at=job.at.isoformat(),
            job=job.name,
            status=status,
            said=said[-9000:],
            seconds=round(time.monotonic() - began, 2),
            cpu=round(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, 2),
        )
        for label in sorted(set(os.listdir(f"{REPOSITORY}/base")) - known):
            with open(f"{REPOSITORY}/base/{label}/backup.json", encoding="utf-8") as handle:
                entry = json.load(handle)
            say(day=number, backup=label, stopped_at=entry["stopped_at"], status=entry["status"])
            known.add(label)


def _work(number: int) -> tuple[int, str]:
    # In two transactions, so that the commit is in the segment that leaves the host.
    statements = f'-c "{WORK.format(day=number)}" -c "SELECT pg_switch_wal()"'
    done = as_user("postgres", f"psql -qXAt -v ON_ERROR_STOP=1 -d app {statements}")
    return done.returncode, done.stdout


def begin(moment: datetime) -> None:
    """Whatever starts jobs by itself is stopped, and the server lives in the past."""
    if os.path.exists(TABLE):
        # With what waits in it: the five minutes after a start would end in the middle of the month.
        shell("systemctl", "kill", "--kill-who=all", "--signal=KILL", "cron")
        shell("systemctl", "stop", "cron")
    else:
        shell("systemctl", "stop", "dbkeeper-main.target")
    shell("systemctl", "stop", "postgresql@15-main")
    for directory in ("wal", "index"):
        shell("sh", "-c", f"rm -rf {REPOSITORY}/{directory}/*")
    with open(SERVER_ENVIRONMENT, "r+", encoding="utf-8") as handle:
        if "LD_PRELOAD" not in handle.read():
            handle.write("".join(f"{name} = {value!r}\n" for name, value in SERVER.items()))
    # The server has read them when they were new.
    for path in glob.glob("/etc/postgresql/15/main/**/*", recursive=True):
        os.utime(path, (moment.timestamp() - 3600,) * 2)
    os.utime("/var/lib/postgresql/15/main/postgresql.auto.conf", (moment.timestamp() - 3600,) * 2)
    turn(moment)
    if not os.path.exists(TABLE):
        give_units_the_clock()
    shell("systemctl", "start", "postgresql@15-main")


def end() -> None:
    """The present."""
    turn(None)
    if glob.glob(f"{UNITS}/dbkeeper-*-main.service.d/clock.conf"):
        shell("sh", "-c", f"rm -r {UNITS}/dbkeeper-*-main.service.d")
        shell("systemctl", "daemon-reload")


def main() -> None:
    """One of the verbs."""
    verb, *words = sys.argv[1:]
    if verb == "begin":
        begin(datetime.fromisoformat(words[0]))
    elif verb == "end":
        end()
    elif verb == "cron":
        sys.stdout.write(by_cron(datetime.fromisoformat(words[0])))
    elif verb == "at":
        turn(datetime.fromisoformat(words[0]))
        done = as_user("postgres", words[1])
        sys.stdout.write(done.stdout)
        raise SystemExit(done.returncode)
    else:
        first = datetime.strptime(words[0], "%Y-%m-%d").replace(tzinfo=timezone.utc)
        since, until = (int(one) for one in words[1].split("-"))
        off = {int(one) for one in words[2].split(",")} if words[2:] else set()
        for number in range(since, until):
            live(first + timedelta(days=number), number, number in off)


if __name__ == "__main__":
    main()
