# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A month of cron's schedule: exactly what the policy asks for is kept, and people are told the same day."""

from __future__ import annotations

from datetime import timedelta

from tests.generations_hosts import (
    DAYS,
    DENIED,
    FORGOTTEN,
    OFF,
    OPERATORS,
    REPOSITORY,
    SHRUNK,
    UNYOU,
    Month,
    keeper,
)

#: Day -> the check that raises its hand. How far a copy is behind it cannot say here: dates of files are the kernel's.
RAISED = {DENIED: "runs", FORGOTTEN: "backup", SHRUNK: "size"}


def test_1_every_job_of_the_month_ran_and_only_what_had_to_failed(month: Month) -> None:
    daily = list(range(DAYS))
    on = [number for number in daily if number != OFF]
    sundays = [number for number in on if month.day(number).isoweekday() == 7]
    ran = {name: month.days_of(name) for name in {run["job"] for run in month.runs}}
    assert ran == {
        # What the host may have missed while it was off is made up for; what is only looked at comes the next day.
        **dict.fromkeys(("dump", "verify", "work"), daily),
        **dict.fromkeys(("copy", "check", "notify", "summary"), on),
        "backup": [number for number in daily if number != FORGOTTEN],
        "verify-thorough": sorted({*sundays, OFF}),
    }
    assert month.failures() == {(DENIED, "copy"), *((day, "check") for day in RAISED)}
    late = {run["job"]: run["at"][11:13] for run in month.runs if run["day"] == OFF}
    assert late == {"backup": "11", "dump": "11", "verify": "11", "verify-thorough": "11", "work": "12"}
    assert len(month.stops) == DAYS - 1


def test_2_base_backups_wal_and_dumps_are_what_the_policy_says(month: Month) -> None:
    one = month.host
    kept = set(one.check_output(f"ls {REPOSITORY}/base").split())
    since = max(month.stops.values()) - timedelta(days=14)
    wanted = {label for label, stop in month.stops.items() if stop >= since}
    wanted.add(max((stop, label) for label, stop in month.stops.items() if stop < since)[1])
    assert kept == wanted and len(kept) < DAYS - 1

    days = [month.day(number) for number in range(DAYS)]
    wanted_days = set(days[-7:])
    for key, count in ((lambda day: tuple(day.isocalendar())[:2], 2), (lambda day: (day.year, day.month), 2)):
        newest = {key(day): day for day in days}
        wanted_days |= set(sorted(newest.values())[-count:])
    labels = one.check_output(f"ls {REPOSITORY}/dump/app").split()
    assert sorted(label[:8] for label in labels) == sorted(f"{day:%Y%m%d}" for day in wanted_days)

    reached = keeper(
        one, "plan", f"--target-time '{month.day(DAYS - 3, hours=11, minutes=58):%Y-%m-%d %H:%M:%S}+00:00'"
    )
    assert "error" not in reached, reached
    gone = keeper(
        one, "plan", f"--target-time '{month.day(DAYS - 11, hours=11, minutes=58):%Y-%m-%d %H:%M:%S}+00:00'"
    )
    assert gone["error"]["code"] == "segment-missing"
    # What is older can be restored as it ended.
    assert "error" not in keeper(one, "plan", f"--immediate --backup {min(kept)}")


def test_3_what_is_kept_is_sound_and_said_to_be(month: Month) -> None:
    found = keeper(month.host, "verify", "--thorough")
    assert found["verification"]["good"] is True, found
    assert keeper(month.host, "copy", "--check-all")["exit_status"] == 0


def test_4_what_is_missing_or_shrinks_raises_its_hand_the_same_day(month: Month) -> None:
    checks = month.checks()
    failed = {
        day: {name for name, (state, _text) in found.items() if state == "failed"}
        for day, found in checks.items()
    }
    assert {day: names for day, names in failed.items() if names} == {
        day: {name} for day, name in RAISED.items()
    }
    warned = {
        name for found in checks.values() for name, (state, _text) in found.items() if state == "warning"
    }
    # Nobody has restored here, and the copy failed once; what the policy has let go is no gap.
    assert warned == {"rto", "copies"}, checks


def test_5_and_is_told_in_both_languages(month: Month) -> None:
    titles = {
        OPERATORS: ("FAILED: {}", "works again: {}", "copy", "newest base backup", "size of backups"),
        UNYOU: ("異常: {}", "復旧: {}", "コピー", "最新のベースバックアップ", "バックアップのサイズ"),
    }
    for address, (failed, again, *names) in titles.items():
        for day, name in zip(RAISED, names):
            for told, when in ((failed, day), (again, day + 1)):
                subjects = [str(mail["Subject"]) for mail in month.to(address, when)]
                assert sum(told.format(name) in subject for subject in subjects) == 1, (told, name, subjects)
        # A summary for each day but the one that the host was off, and nothing else.
        assert len(month.to(address)) == DAYS - 1 + 2 * len(RAISED)
    english, japanese = (
        {day: "\n".join(mail.get_content() for mail in month.to(address, day)) for day in RAISED}
        for address in titles
    )
    assert "denied" in english[DENIED] and "AccessDenied" in japanese[DENIED]
    assert "see why the schedule does not run" in english[FORGOTTEN]
    assert "スケジュールが動かない理由を確認してください" in japanese[FORGOTTEN]
    assert "dump/app/app" in english[SHRUNK] and "dump/app/app" in japanese[SHRUNK]


def test_6_cron_itself_starts_what_is_in_its_table(month: Month) -> None:
    at = next(run["at"] for run in month.runs if run["job"] == "notify")
    said = month.clock("cron", at)
    assert "0 wait" in said, said
