# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The history of runs: nothing is lost that was written, whoever dies or writes at the same time."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.clock import format_utc
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch import history
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.known import all_runs, history_of
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.pushes import (
    push_failed,
    push_succeeded,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.record import (
    clean,
    facts_of,
    recording,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch.trends import (
    chosen,
    failing_series,
    trends,
)

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)


def entry(number: int, operation: str = "backup", *, days: float = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{operation}-{number}",
        "operation": operation,
        "who": {"user": "postgres", "door": "command"},
        "began_at": format_utc(NOW - timedelta(days=days) + timedelta(seconds=number)),
        "seconds": 1.0,
        "result": "ok",
        "code": None,
        "changed": True,
        "facts": {},
        **more,
    }


def write_many(directory: str, writer: int, count: int) -> None:
    for number in range(count):
        history.append(directory, entry(number, f"writer{writer}", facts={"label": "x" * 200}))


def silent(text: str) -> None:
    raise AssertionError(text)


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(str(tmp_path), who, 60)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(
        f"writer{who}-{number}" for who in range(4) for number in range(60)
    )


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_torn_last_line_costs_itself_only(tmp_path: Path, cut: int) -> None:
    for number in range(3):
        history.append(str(tmp_path), entry(number))
    path = tmp_path / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    history.append(str(tmp_path), entry(3))
    found = [run["id"] for run in history.read_runs(str(tmp_path))]
    # Without its end of line only, a line is whole.
    assert found == ["backup-0", "backup-1", *(["backup-2"] if cut == 1 else []), "backup-3"]


def test_what_is_no_run_is_passed_over(tmp_path: Path) -> None:
    history.append(str(tmp_path), entry(0))
    with (tmp_path / "history.jsonl").open("ab") as handle:
        handle.write(b'"text"\n{"id": 1}\n\xff\xfe\n\n[]\n')
    history.append(str(tmp_path), entry(1))
    assert [run["id"] for run in history.read_runs(str(tmp_path))] == ["backup-0", "backup-1"]


def test_it_does_not_grow_for_ever_and_keeps_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LARGEST_BYTES", 20_000)
    path = tmp_path / "history.jsonl"
    for number in range(400):
        history.append(str(tmp_path), entry(number), now=NOW)
        assert path.stat().st_size <= 20_000
    found = [run["id"] for run in history.read_runs(str(tmp_path))]
    assert found == [f"backup-{number}" for number in range(400 - len(found), 400)]
    assert len(found) > 30


def test_what_is_older_than_it_is_to_be_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LARGEST_BYTES", 8_000)
    for number in range(30):
        history.append(str(tmp_path), entry(number, days=500), now=NOW)
    for number in range(30, 50):
        history.append(str(tmp_path), entry(number), now=NOW)
    found = [run["id"] for run in history.read_runs(str(tmp_path))]
    assert found and all(int(name.split("-")[1]) >= 30 for name in found) and found[-1] == "backup-49"


def test_what_was_killed_says_so_and_what_runs_does_too(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with recording(str(tmp_path), "backup", door="command", complain=silent):
            os.write(writer, b"x")
            os.kill(os.getpid(), 9)
    os.read(reader, 1)
    os.waitpid(child, 0)
    with recording(str(tmp_path), "restore", door="command", complain=silent) as run:
        assert [(one["operation"], one["result"]) for one in all_runs(str(tmp_path))] == [
            ("backup", "interrupted"),
            ("restore", "running"),
        ]
        run.done({"changed": True})
    assert [one["result"] for one in all_runs(str(tmp_path))] == ["interrupted", "ok"]


def test_how_it_ended(tmp_path: Path) -> None:
    def run(result: dict[str, Any] | None, error: BaseException | None = None) -> dict[str, Any]:
        try:
            with recording(str(tmp_path), "expire", door="command", complain=silent) as one:
                if error is not None:
                    raise error
                one.done(result or {})
        except (Refused, Failed, OSError, KeyboardInterrupt):
            pass
        return all_runs(str(tmp_path))[-1]

    assert run({"changed": True})["result"] == "ok"
    assert run({"changed": False})["result"] == "unchanged"
    held = run({"changed": False, "exit_status": 3})
    assert (held["result"], held["code"]) == ("failed", "exit-3")
    parts = {"attempted": "expire", "happened": "it is held", "remedy": "wait"}
    refused = run(None, Refused("busy", **parts))
    assert (refused["result"], refused["code"], refused["error"]) == (
        "refused",
        "busy",
        {"code": "busy", **parts},
    )
    failed = run(None, Failed("repository-not-writable", **parts))
    assert (failed["result"], failed["code"]) == ("failed", "repository-not-writable")
    assert run(None, OSError(28, "No space left on device"))["code"] == "system-error"
    assert run(None, KeyboardInterrupt())["result"] == "interrupted"


def test_a_history_that_cannot_be_written_is_said_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    said: list[str] = []
    with recording(str(tmp_path), "backup", door="command", complain=said.append) as run:
        run.done({"changed": True})
    assert len(said) == 2 and "history.jsonl" in said[0]


def test_a_full_disk_is_said_and_fails_nothing(tmp_path: Path) -> None:
    """Where every write fails with ENOSPC."""
    (tmp_path / "history.jsonl").symlink_to("/dev/full")
    said: list[str] = []
    with recording(str(tmp_path), "backup", door="command", complain=said.append) as run:
        run.done({"changed": True})
    assert said and "No space left" in said[0]


def test_of_a_result_only_known_names_are_kept() -> None:
    result = {
        "changed": True,
        "password": "geheim",
        "plan": {"label": "20261121T031500Z-full", "steps": ["a"], "kind": "full"},
        "backup": {
            "label": "20261121T031500Z-full",
            "start_lsn": "0/2000028",
            "stop_lsn": "0/2000100",
            "plain_bytes": 100,
            "stored_bytes": 10,
            "settings": {"primary_conninfo": "password=geheim"},
            "seconds": {"copy": 1.5},
        },
        "history": {"rows": 7},
    }
    found = facts_of(result)
    assert found == {
        "label": "20261121T031500Z-full",
        "kind": "full",
        "start_lsn": "0/2000028",
        "stop_lsn": "0/2000100",
        "plain_bytes": 100,
        "stored_bytes": 10,
        "rows": 7,
        "seconds": {"copy": 1.5},
    }


@pytest.mark.parametrize(
    "text",
    [
        "connection to postgresql://copier:geheim@db1/postgres failed",
        "could not connect: host=db1 password=geheim user=copier",
        "PASSWORD: geheim",
        "token=geheim",
        "secret = geheim",
    ],
)
def test_what_looks_like_a_secret_is_not_kept(text: str) -> None:
    assert "geheim" not in clean(text) and "***" in clean(text)


def test_failing_pushes_are_one_line_with_their_number(tmp_path: Path) -> None:
    where = str(tmp_path)
    push_succeeded(where)
    assert all_runs(where) == []
    for _try in range(5):
        push_failed(where, "repository-full", "no space")
    (now,) = all_runs(where)
    assert (now["operation"], now["result"], now["code"]) == ("archive-push", "failed", "repository-full")
    assert (now["facts"]["failures"], now["facts"]["ended"]) == (5, False)
    push_succeeded(where)
    push_succeeded(where)
    (then,) = all_runs(where)
    assert (then["id"], then["facts"]["failures"], then["facts"]["ended"]) == (now["id"], 5, True)


def test_runs_are_chosen_by_operation_time_and_number() -> None:
    runs = [entry(number, days=10 - number) for number in range(10)] + [entry(11, "expire")]
    assert [run["id"] for run in chosen(runs, operation="expire")] == ["expire-11"]
    recent = chosen(runs, operation="backup", since=NOW - timedelta(days=3))
    assert [run["id"] for run in recent] == ["backup-7", "backup-8", "backup-9"]
    assert [run["id"] for run in chosen(runs, last=2)] == ["backup-9", "expire-11"]


def test_what_is_usual_is_the_median_of_those_before() -> None:
    sizes = [100, 110, 90, 105, 1000, 10]
    runs = [
        entry(number, seconds=float(10 + number), facts={"kind": "full", "stored_bytes": size})
        for number, size in enumerate(sizes)
    ]
    runs.insert(3, entry(50, result="failed", seconds=0.1))
    found = trends(runs)["backup/full"]
    # Of 100, 110, 90, 105, 1000 the middle one is 105; of 10 to 14 it is 12.
    assert found["bytes"] == {"newest": 10, "median": 105, "factor": round(10 / 105, 3)}
    assert found["seconds"] == {"newest": 15.0, "median": 12.0, "factor": 1.25}
    assert found["runs"] == 5


def test_two_runs_are_no_custom() -> None:
    runs = [entry(number, facts={"stored_bytes": 100}) for number in range(3)]
    assert trends(runs)["backup/full"]["bytes"] == {"newest": 100, "median": None, "factor": None}


def test_different_databases_and_kinds_are_not_compared() -> None:
    runs = [
        entry(0, facts={"kind": "full"}),
        entry(1, facts={"kind": "incremental"}),
        entry(2, "dump", facts={"database": "app"}),
        entry(3, "dump", facts={"database": "地図"}),
    ]
    assert set(trends(runs)) == {"backup/full", "backup/incremental", "dump/app", "dump/地図"}


def test_the_file_is_the_owners(tmp_path: Path) -> None:
    history.append(str(tmp_path / "state"), entry(0))
    assert (tmp_path / "state/history.jsonl").stat().st_mode & 0o777 == 0o640
    assert history_of(str(tmp_path / "state"), last=1)["runs"][0]["id"] == "backup-0"


def test_a_history_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(Failed) as error:
        all_runs(str(tmp_path))
    assert error.value.code == "history-unreadable"


def test_both_sides_look_for_the_same_file() -> None:
    """What archive-push looks for is named in two places, so that it need not import for every segment."""
    from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli import archive
    from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.watch import pushes

    assert archive.FAILING_FILE == pushes.FAILING_FILE


def test_of_several_dumps_each_has_a_line(tmp_path: Path) -> None:
    parts = {"code": "lock-timeout", "attempted": "dump", "happened": "locked", "remedy": "again"}
    result = {
        "changed": True,
        "exit_status": 3,
        "dumps": [
            {
                "changed": True,
                "dump": {
                    "database": "app",
                    "series": "nightly",
                    "stored_bytes": 5,
                    "rows": {"tables": 2, "rows": 9},
                    "seconds": {"dump": 1.5, "list": 0.5},
                },
            },
            {"series": "weekly", "database": "地図", "changed": False, "error": parts},
        ],
    }
    with recording(str(tmp_path), "dump", door="command", complain=silent) as run:
        run.done(result)
    found = {run["id"].rpartition("-")[2]: run for run in all_runs(str(tmp_path))}
    whole = found.pop(next(name for name in found if name not in ("0", "1")))
    assert (whole["result"], whole["code"], whole["error"]) == ("failed", "lock-timeout", parts)
    good, bad = found["0"], found["1"]
    assert (good["result"], good["seconds"], good["facts"]["rows"], good["facts"]["tables"]) == (
        "ok",
        2.0,
        9,
        2,
    )
    assert (bad["result"], bad["facts"]["database"], bad["code"]) == ("failed", "地図", "lock-timeout")
    assert set(trends(all_runs(str(tmp_path)))) == {"dump/app/nightly"}


def test_of_one_dump_there_is_one_line(tmp_path: Path) -> None:
    result = {"changed": True, "dumps": [{"changed": True, "dump": {"database": "app", "stored_bytes": 5}}]}
    with recording(str(tmp_path), "dump", door="command", complain=silent) as run:
        run.done(result)
    (found,) = all_runs(str(tmp_path))
    assert found["facts"] == {"database": "app", "stored_bytes": 5}


def test_an_expiry_that_could_not_judge_says_why(tmp_path: Path) -> None:
    parts = {"code": "history-damaged", "attempted": "a", "happened": "b", "remedy": "c"}
    result = {"changed": False, "exit_status": 3, "plan": {"held": [{"system_id": "1", "error": parts}]}}
    with recording(str(tmp_path), "expire", door="command", complain=silent) as run:
        run.done(result)
    (found,) = all_runs(str(tmp_path))
    assert (found["result"], found["code"], found["error"]) == ("failed", "history-damaged", parts)


def ran(where: Path, operation: str, result: dict[str, Any], *, scheduled: bool = True) -> None:
    with recording(str(where), operation, door="schedule", complain=silent, scheduled=scheduled) as run:
        run.done({"changed": False, **result})


def test_that_nothing_was_due_mends_nothing(tmp_path: Path) -> None:
    """What makes up for missed runs comes half an hour after one that failed, and finds the one before young enough."""
    parts = {
        "code": "verification-failed",
        "attempted": "verify",
        "happened": "1 found bad",
        "remedy": "again",
    }
    ran(tmp_path, "verify", {"executed": True, "exit_status": 3, "error": parts})
    ran(tmp_path, "verify", {"executed": False, "plan": {"reason": "2026-11-21T05:00:00Z"}})
    ran(tmp_path, "dump", {"changed": True, "executed": True, "dumps": [{"changed": True, "executed": True}]})
    ran(tmp_path, "dump", {"executed": False, "dumps": [{"changed": False, "executed": False}] * 2})
    assert [run["code"] for run in failing_series(all_runs(str(tmp_path)))] == ["verification-failed"]
    # Of schedules they are not listed; what a person did is.
    listed = [run["operation"] for run in history_of(str(tmp_path))["runs"]]
    assert listed == ["verify", "dump"]
    ran(tmp_path, "backup", {"executed": False}, scheduled=False)
    assert [run["operation"] for run in history_of(str(tmp_path))["runs"]] == ["verify", "dump", "backup"]
    # One backup that is good does not say that the others are.
    one = {"executed": True, "verification": {"whole": False, "left_bad": 1}}
    ran(tmp_path, "verify", one, scheduled=False)
    assert [run["code"] for run in failing_series(all_runs(str(tmp_path)))] == ["verification-failed"]
    none_left = {**one, "verification": {"whole": False, "left_bad": 0}}
    ran(tmp_path / "other", "verify", {"executed": True, "exit_status": 3, "error": parts})
    ran(tmp_path / "other", "verify", none_left, scheduled=False)
    assert failing_series(all_runs(str(tmp_path / "other"))) == []
    # Nothing to delete is an expiry all the same, and ends what had failed before.
    ran(tmp_path, "expire", {"exit_status": 3})
    ran(tmp_path, "expire", {"executed": False})
    assert [run["operation"] for run in failing_series(all_runs(str(tmp_path)))] == ["verify"]


def test_what_found_nothing_due_leaves_the_room_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LARGEST_BYTES", 20_000)
    for number in range(600):
        idle = {"idle": True, "result": "unchanged"} if number % 10 else {}
        history.append(str(tmp_path), entry(number, days=30, **idle), now=NOW)
    found = history.read_runs(str(tmp_path))
    # Forty are what fits without telling them apart.
    assert len([run for run in found if not run.get("idle")]) >= 30
    assert found[-1]["id"] == "backup-599"
