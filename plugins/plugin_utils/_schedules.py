# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules of a host in the words of cron or systemd: which job runs when, and how it is called.

Times are plain words (``daily 02``, ``sunday 04:30``, ``hourly``, ``every 15m``, ``off``) or the scheduler's own. A
time without minutes gets those of a stable hash of host, cluster and job, so that not all hosts begin at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..module_utils._engine.core.errors import Refused

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
OPTIONS = ("at", "options", "nice")
_WORDS = re.compile(r"(hourly|daily|" + "|".join(DAYS) + r")(?:\s+([0-9:,]+))?")
_EVERY = re.compile(r"every\s+(\d+)\s*(m|min|h)")
_CRON = re.compile(r"@(hourly|daily|weekly|monthly)|[0-9*,/a-zA-Z-]+(\s+[0-9*,/a-zA-Z-]+){4}")
#: What a text must not hold: it would leave its line, or be another thing to cron.
_UNFIT = re.compile(r"[\x00-\x1f%'\"\\$`;&|<>]")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOUR = 3600


@dataclass(frozen=True)
class Job:
    """One thing that is done again and again. ``commands``: one after the other, each if the one before succeeded."""

    name: str
    text: str
    at: str
    commands: tuple[tuple[str, ...], ...]
    #: What makes up for a missed run where the scheduler does not: when, and how it is called then. As long as the last
    #: one is no older than runs are apart there is nothing to make up for.
    catch_up: tuple[str, tuple[tuple[str, ...], ...]] | None = None
    nice: bool = True
    #: How far apart runs are, where the time does not tell (the scheduler's own words).
    apart_seconds: int | None = None


@dataclass(frozen=True)
class Where:
    """The host and the cluster. ``state`` is where its owner may write: locks, and what cron's jobs say. ``seed`` tells
    hosts apart; ``managed`` is what files begin with."""

    cluster: str
    owner: str
    command: str
    state: str
    seed: str
    service: str = ""
    jitter_seconds: int = 0
    managed: str = ""


def jobs_of(wanted: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Job]:
    """What runs: the defaults that ``facts`` ask for, changed by ``wanted`` (name -> time, or options).

    Raises :class:`Refused` ``schedule-malformed``.
    """
    known = {job.name: job for job in _defaults(facts)}
    rate = ("--max-rate", str(facts["verify_max_rate_kbytes"])) if facts.get("verify_max_rate_kbytes") else ()
    found = []
    for name in wanted:
        if name not in ALL:
            raise _malformed(f"there is no job {name!r}", f"Name one of: {', '.join(ALL)}.")
    for name, job in known.items():
        value = wanted.get(name, {})
        options = {"at": value} if isinstance(value, str) else value
        if options is False or options is None:
            continue
        if not isinstance(options, Mapping) or set(options) - set(OPTIONS):
            raise _malformed(f"{name} is {value!r}", "Give a time, or a mapping with at, options and nice.")
        at = str(options.get("at") or job.at)
        more = tuple(str(item) for item in options.get("options") or ())
        more = (*rate, *more) if name.startswith("verify") else more
        for text in (at, *more):
            if _UNFIT.search(text):
                raise _malformed(
                    f"{name} holds {text!r}", "Leave out control characters and the shell's signs."
                )
        if at != "off":
            found.append(
                Job(
                    job.name,
                    job.text,
                    at,
                    (job.commands[0] + more, *job.commands[1:]),
                    _late(job, at, more),
                    bool(options.get("nice", job.nice)),
                )
            )
    return found


def _late(job: Job, at: str, more: tuple[str, ...]) -> tuple[str, tuple[tuple[str, ...], ...]] | None:
    """What makes up for a missed run at these times: an hour late; or when the host comes up, if the last one, which is
    told by its end, is nearly so old as runs are apart."""
    apart = _apart(at) or job.apart_seconds
    # What runs each hour anyway is not missed for long.
    if job.catch_up is None or apart is None or apart <= _HOUR:
        return None
    when, commands = job.catch_up
    age = str(apart - apart // 8 if when == "@reboot" else apart + _HOUR)
    return when, ((*commands[0], "--max-age", age, *more), *commands[1:])


def _apart(at: str) -> int | None:
    """Seconds between two runs, the longest; None: it is said in the scheduler's own words."""
    every = _EVERY.fullmatch(at)
    if every:
        count, unit = _every(at, every)
        return count * (60 if unit == "m" else _HOUR)
    words = _WORDS.fullmatch(at)
    if words is None:
        return None
    day, times = words.groups()
    if day == "hourly":
        return _HOUR
    minutes = sorted(
        int(hour) * 60 + minute
        for hours, minute in _grouped(times or "0", 0, at)
        for hour in hours.split(",")
    )
    whole = 1440 if day == "daily" else 7 * 1440
    return max(later - earlier for earlier, later in zip(minutes, [*minutes[1:], minutes[0] + whole])) * 60


ALL = ("backup", "dump", "copy", "check", "verify", "verify-thorough", "trial", "notify", "summary")


def _defaults(facts: Mapping[str, Any]) -> list[Job]:
    """In the order of a night."""
    hours = ",".join(str(hour) for hour in facts["hours"])
    after = (("expire",),) if facts.get("expire") else ()
    found = [
        Job(
            "backup",
            "Base backup",
            str(facts.get("backup_at") or f"daily {hours}"),
            (("backup",), *after),
            ("hourly", (("backup",),)),
            apart_seconds=int(facts["interval_seconds"]),
        )
    ]
    if facts.get("dumps"):
        found.append(Job("dump", "Logical dumps", "daily 01", (("dump",),), ("@reboot", (("dump",),))))
    if facts.get("copies"):
        found.append(Job("copy", "Copies elsewhere", "hourly", (("copy",),)))
    found.append(
        Job("check", "Objectives held against facts", _often(int(facts["rpo_seconds"])), (("check",),))
    )
    if facts.get("here", True):
        found += [
            Job(
                "verify",
                "Verification of what is new",
                "daily 05",
                (("verify",),),
                ("hourly", (("verify",),)),
            ),
            Job(
                "verify-thorough",
                "Verification of everything",
                "sunday 06",
                (("verify", "--thorough"),),
                ("hourly", (("verify", "--thorough"),)),
            ),
        ]
        if facts.get("trial"):
            database = str(facts["trial"])
            if not _PLAIN.fullmatch(database):
                raise _malformed(
                    f"the database {database!r} has signs that cron or systemd would take for theirs",
                    "Have its trial run in another way: dbkeeper verify --trial NAME.",
                )
            call = ("verify", "--trial", database)
            found.append(Job("trial", "Trial load of a dump", "saturday 04", (call,), ("hourly", (call,))))
    if facts.get("notify"):
        found += [
            Job("notify", "Notifications that failed", "every 10m", (("notify", "--retry"),)),
            Job("summary", "Daily summary", "daily 08:00", (("notify", "--summary"),)),
        ]
    return found


def _often(rpo_seconds: int) -> str:
    """At the recovery point objective, at least each hour, at most each five minutes, by what divides an hour."""
    if rpo_seconds >= _HOUR:
        return "hourly"
    return f"every {max(part for part in (5, 10, 15, 20, 30) if part * 60 <= max(rpo_seconds, 300))}m"


def minute_of(where: Where, job: str) -> int:
    """Stable, and another one for each host and job."""
    text = f"{where.seed}\0{where.cluster}\0{job}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 60


# -- cron ---------------------------------------------------------------------------------------------------


def cron_time(at: str, minute: int) -> list[str]:
    """The five fields, or more than one line of them. Raises :class:`Refused` ``schedule-malformed``."""
    every = _EVERY.fullmatch(at)
    if every:
        count, unit = _every(at, every)
        first = minute % count if unit == "m" else minute
        if unit == "m":
            return [f"{','.join(str(one) for one in range(first, 60, count))} * * * *"]
        return [f"{minute} {','.join(str(one) for one in range(0, 24, count))} * * *"]
    words = _WORDS.fullmatch(at)
    if words:
        day, times = words.groups()
        if day == "hourly":
            return [f"{minute} * * * *"]
        weekday = "*" if day == "daily" else str(DAYS.index(day))
        return [f"{m} {h} * * {weekday}" for h, m in _grouped(times or "0", minute, at)]
    if at == "@reboot" or _CRON.fullmatch(at):
        return [at]
    raise _malformed(f"cron does not take {at!r}", _REMEDY)


def cron_table(jobs: list[Job], where: Where) -> str:
    """The file for /etc/cron.d."""
    log = f"{where.state}/schedule.log"
    lines = [
        where.managed.rstrip(),
        "SHELL=/bin/sh",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        'MAILTO=""',
    ]
    for job in jobs:
        lines.append(f"# {job.text}")
        calls = [(job.at, job.commands)]
        if job.catch_up is not None:
            calls.append(job.catch_up)
        for number, (at, commands) in enumerate(calls):
            minute = minute_of(where, job.name)
            # What makes up for it comes half an hour later.
            if number:
                minute = (minute + 30) % 60
            behind = "nice -n 10 ionice -c 2 -n 7 " if job.nice else ""
            steps = " && ".join(f"{behind}{_call(command, where)}" for command in commands)
            wait = "sleep 300; " if at == "@reboot" else ""
            lock = f"{where.state}/.schedule-{job.name}.lock"
            for time in cron_time(at, minute):
                # Not two at once, and that is no failure: the first one is at it.
                lines.append(f"{time} {where.owner} {wait}flock -n -E 0 {lock} sh -c '{steps}' >> {log} 2>&1")
    return "\n".join(lines) + "\n"


def log_rotation(where: Where) -> str:
    """The file for /etc/logrotate.d: what cron's jobs say is kept for eight weeks."""
    return (
        f"{where.managed.rstrip()}\n{where.state}/schedule.log {{\n"
        f"    su {where.owner} {where.owner}\n    weekly\n    rotate 8\n    compress\n    delaycompress\n"
        "    missingok\n    notifempty\n    nocreate\n}\n"
    )


# -- systemd ------------------------------------------------------------------------------------------------


def calendar(at: str, minute: int) -> list[str]:
    """Values for OnCalendar. Raises :class:`Refused` ``schedule-malformed``."""
    every = _EVERY.fullmatch(at)
    if every:
        count, unit = _every(at, every)
        if unit == "m":
            return [f"*:{minute % count:02d}/{count}:00"]
        return [f"*-*-* 00/{count}:{minute:02d}:00"]
    words = _WORDS.fullmatch(at)
    if words:
        day, times = words.groups()
        if day == "hourly":
            return [f"*:{minute:02d}:00"]
        weekday = "" if day == "daily" else f"{day[:3].capitalize()} "
        return [
            f"{weekday}*-*-* {','.join(f'{int(one):02d}' for one in h.split(','))}:{m:02d}:00"
            for h, m in _grouped(times or "0", minute, at)
        ]
    if not at.strip():
        raise _malformed("a time is empty", _REMEDY)
    return [at]


def unit_name(where: Where, job: str) -> str:
    """Without its ending."""
    return f"dbkeeper-{job}-{where.cluster}"


def target_name(where: Where) -> str:
    """What all timers of a cluster hang on."""
    return f"dbkeeper-{where.cluster}.target"


def service_unit(job: Job, where: Where) -> str:
    """One after the other; a unit that still runs is not started a second time."""
    lines = [
        where.managed.rstrip(),
        "[Unit]",
        f"Description={job.text} of PostgreSQL cluster {where.cluster}",
        f"After={where.service}",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={where.owner}",
    ]
    if job.nice:
        lines += ["Nice=10", "IOSchedulingClass=best-effort", "IOSchedulingPriority=7"]
    lines += [f"ExecStart={_call(command, where)}" for command in job.commands]
    return "\n".join(lines) + "\n"


def timer_unit(job: Job, where: Where) -> str:
    """Missed runs are caught up when the host is up again."""
    lines = [
        where.managed.rstrip(),
        "[Unit]",
        f"Description={job.text} of PostgreSQL cluster {where.cluster}: when",
        f"PartOf={target_name(where)}",
        "",
        "[Timer]",
        *(f"OnCalendar={time}" for time in calendar(job.at, minute_of(where, job.name))),
        "Persistent=true",
    ]
    if where.jitter_seconds:
        lines.append(f"RandomizedDelaySec={where.jitter_seconds}")
    # Both of what runs often: as near to its time as it may be.
    lines.append("AccuracySec=30s")
    lines += ["", "[Install]", "WantedBy=timers.target"]
    return "\n".join(lines) + "\n"


def target_unit(jobs: list[Job], where: Where) -> str:
    """Starting and stopping it starts and stops the timers."""
    wants = " ".join(f"{unit_name(where, job.name)}.timer" for job in jobs)
    return (
        f"{where.managed.rstrip()}\n[Unit]\nDescription=Schedules of PostgreSQL cluster {where.cluster}\n"
        f"Wants={wants}\n\n[Install]\nWantedBy=multi-user.target\n"
    )


# -- both ---------------------------------------------------------------------------------------------------


def files_of(scheduler: str, jobs: list[Job], where: Where) -> list[dict[str, str]]:
    """Path and content of each file."""
    if scheduler == "cron":
        return [
            {"path": f"/etc/cron.d/dbkeeper-{where.cluster}", "content": cron_table(jobs, where)},
            {"path": f"/etc/logrotate.d/dbkeeper-{where.cluster}", "content": log_rotation(where)},
        ]
    if scheduler != "systemd":
        return []
    directory = "/etc/systemd/system"
    found = []
    for job in jobs:
        path = f"{directory}/{unit_name(where, job.name)}"
        found += [
            {"path": f"{path}.service", "content": service_unit(job, where)},
            {"path": f"{path}.timer", "content": timer_unit(job, where)},
        ]
    found.append({"path": f"{directory}/{target_name(where)}", "content": target_unit(jobs, where)})
    return found


def _call(command: tuple[str, ...], where: Where) -> str:
    name, *rest = command
    return " ".join([where.command, name, "--cluster", where.cluster, "--scheduled", *rest])


def _every(at: str, found: re.Match[str]) -> tuple[int, str]:
    count, unit = int(found[1]), found[2][0]
    whole = 60 if unit == "m" else 24
    if count < 1 or whole % count:
        raise _malformed(f"{at!r} does not divide {'an hour' if unit == 'm' else 'a day'}", _REMEDY)
    if unit == "m" and count == whole:
        return 1, "h"
    return count, unit


def _grouped(times: str, minute: int, at: str) -> list[tuple[str, int]]:
    """``02,14:30`` -> hours of the same minute together."""
    found: dict[int, list[str]] = {}
    for one in times.split(","):
        hour, sign, given = one.partition(":")
        if not hour.isdigit() or int(hour) > 23 or (sign and (not given.isdigit() or int(given) > 59)):
            raise _malformed(f"{at!r} has no such hour: {one!r}", _REMEDY)
        found.setdefault(int(given) if sign else minute, []).append(str(int(hour)))
    return [(",".join(hours), at_minute) for at_minute, hours in found.items()]


_REMEDY = (
    "Write hourly, daily 02, daily 02:30, sunday 04, every 15m, every 6h or off; or the scheduler's own words: "
    "five fields of cron, or a calendar of systemd."
)


def _malformed(happened: str, remedy: str) -> Refused:
    return Refused(
        "schedule-malformed", attempted="understand backup_schedules", happened=happened, remedy=remedy
    )
