# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The database host dies under load and its disk is thrown away; its spare takes over by one command.

Its WAL was archived, and streamed as it was written: what had arrived of the last, unfinished segment is taken in.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.disaster_hosts import (
    PROJECT,
    ROOT,
    Client,
    Outcome,
    Waiting,
    acknowledged,
    address,
    archived,
    bed,
    compare,
    end_of,
    host,
    position,
    postgres,
    received,
    scratch,
    streamed,
    streaming_unit,
    until,
)
from tests.playbook_runs import Run, playbook

#: What the hosts are told to keep to. How long it took in the end is a figure: machines differ, and may be busy.
RPO_SECONDS = 12
TAKE_OVER = ("-e", "restore_host=spare", "-e", "restore_use_partial=true")


@dataclass(frozen=True)
class Disaster:
    """What happened, and when."""

    died_at: float
    served_at: float | None
    ended_at: float
    end: int
    archived_end: int
    plans: dict[str, Any]
    looked_seconds: float
    run: Run
    book: Path

    @property
    def rto_seconds(self) -> float:
        """From the power cut until the application could write again, but for what the test looked at meanwhile."""
        assert self.served_at is not None, self.run.out
        return self.served_at - self.died_at - self.looked_seconds


@pytest.fixture(scope="module")
def disaster() -> Disaster:
    client, book = Client("database"), scratch() / "book"
    client.init()
    with client.load(book):
        begun = len(archived())
        until(lambda: len(archived()) >= begun + 3, 240, "segments in the repository")
        known = len(acknowledged(book))
        until(lambda: len(acknowledged(book)) > known + 50, 240, "commits that nobody has archived yet")
        died_at = time.time()
        bed("poweroff", "database")
    bed("down", "database")
    # What counts is what had arrived; a transfer that was cut off left nothing under a segment's name.
    looking = time.monotonic()
    archived_end, end = end_of(archived()[-1]), streamed()
    plans = {"archived": planned(), "streamed": planned("--use-partial")}
    looked_seconds = time.monotonic() - looking
    waiting = Waiting(Client("spare"))
    waiting.start()
    run = playbook("restore", *TAKE_OVER, "-e", "restore_confirm=main")
    ended_at = time.time()
    waiting.end()
    return Disaster(died_at, waiting.served_at, ended_at, end, archived_end, plans, looked_seconds, run, book)


def planned(*options: str) -> Any:
    """What the spare would do."""
    told = host("spare").run(f"dbkeeper plan --cluster main --latest --json {' '.join(options)}")
    assert told.rc == 0, told.stdout + told.stderr
    return json.loads(told.stdout)["plan"]


def test_1_a_plan_for_the_spare_touches_nothing() -> None:
    spare = host("spare")
    before = spare.check_output("ls -A /var/lib/postgresql/15")
    checked = playbook("restore", *TAKE_OVER, "--check")
    assert checked.status == 0, checked.out
    assert "-full" in checked.out
    refused = playbook("restore", *TAKE_OVER)
    assert refused.status != 0 and "restore_confirm=main" in refused.out
    assert refused.changed == set()
    assert spare.check_output("ls -A /var/lib/postgresql/15") == before


def test_2_what_was_streamed_is_told_and_taken_only_when_asked_for(disaster: Disaster) -> None:
    """A segment that never came to its end is used by consent (B15)."""
    archived_only, with_stream = disaster.plans["archived"], disaster.plans["streamed"]
    assert any(".partial" in one and "use_partial" in one for one in archived_only["warnings"])
    assert archived_only["proof"]["wal"]["unfinished"] == []
    (used,) = with_stream["proof"]["wal"]["unfinished"]
    assert used["commits"] > 0, used
    reached = [position(one["proof"]["end_lsn"]) for one in (archived_only, with_stream)]
    assert reached == [disaster.archived_end, position(used["end_lsn"])]
    assert disaster.archived_end < disaster.end


def test_3_the_spare_takes_over_by_one_command(disaster: Disaster) -> None:
    assert disaster.run.status == 0, disaster.run.out
    spare = host("spare")
    assert postgres(spare, "SELECT pg_is_in_recovery()") == "f"
    assert postgres(spare, "SELECT timeline_id FROM pg_control_checkpoint()") == "2"


def test_4_every_commit_up_to_the_last_streamed_one_is_there(
    disaster: Disaster, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = compare(Client("spare"), disaster.book, disaster.end)
    assert outcome.missing == [] and outcome.unexpected == []
    assert outcome.balanced
    assert outcome.there > 100
    # What is lost lies behind all that had arrived, to the last one; a third of the objective closes a segment.
    assert all(one.after is None or one.after > disaster.end for one in outcome.lost)
    assert postgres(host("spare"), "SELECT setting FROM pg_settings WHERE name = 'archive_timeout'") == str(
        RPO_SECONDS // 3
    )
    report(disaster, outcome, outcome.loss_seconds(disaster.died_at), capsys)


def archived_only_seconds(disaster: Disaster) -> float:
    """What archiving alone would have cost."""
    behind = [
        one.committed_at.timestamp()
        for one in acknowledged(disaster.book)
        if one.committed_at and one.before >= disaster.archived_end
    ]
    return disaster.died_at - min(behind) if behind else 0.0


def report(
    disaster: Disaster, outcome: Outcome, lost_seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured, beside the objective; judged by nobody: machines differ."""
    record: dict[str, Any] = {
        "acknowledged": outcome.acknowledged,
        "restored": outcome.there,
        "lost": len(outcome.lost),
        "rpo_objective_seconds": RPO_SECONDS,
        "rpo_seconds": round(lost_seconds, 1),
        # Without the stream: from the first commit behind what was archived.
        "rpo_seconds_archived_only": round(archived_only_seconds(disaster), 1),
        "rto_seconds": round(disaster.rto_seconds, 1),
        "command_seconds": round(disaster.ended_at - disaster.died_at, 1),
    }
    place = PROJECT / "build" / "reports"
    place.mkdir(parents=True, exist_ok=True)
    (place / "disaster.json").write_text(json.dumps(record), encoding="utf-8")
    with capsys.disabled():
        print(f"\ndisaster: {json.dumps(record)}")


def test_5_it_is_archived_and_backed_up_as_the_lost_one_was(disaster: Disaster) -> None:
    spare = host("spare")
    assert "/usr/local/bin/dbkeeper backup" in spare.file("/etc/cron.d/dbkeeper-main").content_string
    known = json.loads(spare.check_output("runuser -u postgres -- dbkeeper info --cluster main --json"))
    assert [item["status"] for item in known["backups"]] == ["verified", "verified"]
    last = postgres(spare, "SELECT pg_walfile_name(pg_switch_wal())", "app")
    until(lambda: last in archived(2), 240, f"{last} in the repository")


def test_6_the_evidence_says_who_took_over_and_how_long_it_took(disaster: Disaster) -> None:
    repository = host("repository")
    paths = repository.check_output(f"find {ROOT}/main/evidence -name '*.json'").split()
    records = [json.loads(repository.check_output("cat %s", path)) for path in paths]
    restored = [one for one in records if one.get("result") == "restored"]
    # Behind the door nothing is replaced: what is known later is told beside it, under the same id.
    assert len({one["id"] for one in restored}) == 1, [(one["id"], one["ended"]) for one in restored]
    record = max(restored, key=lambda one: one["ended"])
    assert (record["result"], record["host"]) == ("restored", "spare")
    assert record["kept_directory"] is None


def test_7_the_stream_goes_on_from_the_spare(disaster: Disaster) -> None:
    """By the same unit: what is written next arrives before its segment is full, on the new timeline."""
    spare, repository = host("spare"), host("repository")
    unit = streaming_unit()
    assert repository.service(unit).is_running and repository.service(unit).is_enabled
    assert address("spare") in repository.file(f"/etc/systemd/system/{unit}").content_string
    looked = f"timeout 2 sh -c 'until grep -qs {{}} {received()}/00000002*; do sleep 0.01; done'"

    def streams() -> bool:
        word = f"from-the-spare-{time.monotonic_ns()}"
        postgres(spare, f"SELECT pg_logical_emit_message(true, 'test', '{word}')", "app")
        return bool(repository.run(looked.format(word)).rc == 0)

    until(streams, 60, "what the spare writes")
    assert json.loads(repository.file(f"{received()}/status.json").content_string)["timeline"] == 2
    asked = "SELECT active, wal_status FROM pg_replication_slots WHERE slot_name = 'dbkeeper_receive'"
    assert postgres(spare, asked) == "t|reserved"


def test_8_roles_find_nothing_to_change(disaster: Disaster) -> None:
    again = playbook("site", "--limit", "spare")
    assert (again.status, again.changed) == (0, set()), again.out


def test_9_the_same_command_again_changes_nothing(disaster: Disaster) -> None:
    again = playbook("restore", *TAKE_OVER, "-e", "restore_confirm=main")
    assert (again.status, again.changed) == (0, set()), again.out


def test_10_the_lost_host_is_kept_out(disaster: Disaster) -> None:
    keys = host("repository").file("/var/lib/dbkeeper/.ssh/authorized_keys").content_string
    assert [line.split()[-1] for line in keys.splitlines()] == ["dbkeeper:main@spare"]
