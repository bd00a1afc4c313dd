# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A month of the schedule: exactly what the policy asks for is kept; then the copy saves what the repository lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import testinfra

from tests.integration.harness.objectstore import ObjectStore
from tests.mail_catcher import MailCatcher

PROJECT = Path(__file__).resolve().parents[3]
REPOSITORY = "/var/lib/dbkeeper/repository/main"
DAYS = int(os.environ.get("DBKEEPER_TEST_DAYS", "31"))
#: On this day the bucket refuses everything, on that one the host is off in the night.
DENIED_DAY, MISSED_DAY = 6, 12
CONTENT = "SELECT count(*), md5(string_agg(id || word || at, ',' ORDER BY id)) FROM ledger"


def host(name: str) -> Any:
    """A host as testinfra sees it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


def postgres(one: Any, statement: str, database: str = "app") -> str:
    """What the superuser is told over the socket."""
    done = one.run("runuser -u postgres -- psql -XAt -d %s -c %s", database, statement)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def keeper(one: Any, *words: str) -> dict[str, Any]:
    """The host command's result, whatever its exit status."""
    done = one.run(" ".join(["runuser -u postgres -- dbkeeper", *words, "--cluster main --json"]))
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@dataclass
class Month:
    """What happened."""

    first: datetime
    vault: ObjectStore
    mail: MailCatcher
    runs: list[dict[str, Any]] = field(default_factory=list)
    stops: dict[str, datetime] = field(default_factory=dict)

    def live(self, begin: int, end: int, missed: str = "") -> None:
        """Some days of it."""
        done = host("database").run(
            f"python3 /root/simulated_days.py {self.first:%Y-%m-%d} {begin}-{end} {missed}"
        )
        assert done.rc == 0, done.stderr
        for line in done.stdout.splitlines():
            told = json.loads(line)
            if "backup" in told:
                self.stops[told["backup"]] = datetime.fromisoformat(told["stopped_at"].replace("Z", "+00:00"))
            else:
                self.runs.append(told)

    def statuses(self, job: str) -> dict[int, set[int]]:
        """Day -> exit statuses of a job."""
        found: dict[int, set[int]] = {}
        for run in self.runs:
            if run["job"] == job:
                found.setdefault(run["day"], set()).add(run["status"])
        return found


@pytest.fixture(scope="module")
def month() -> Iterator[Month]:
    """It ends yesterday, so that everything lies in the past."""
    controller = ".".join(
        [*str(host("database").ansible.get_variables()["ansible_host"]).split(".")[:3], "1"]
    )
    place = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"vault-{os.getpid()}"
    vault, mail = ObjectStore(place, controller, 5443), MailCatcher(controller, 2525)
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    lived = Month(today - timedelta(days=DAYS), vault, mail)
    try:
        for name in ("database", "spare"):
            one = host(name)
            one.check_output("systemctl stop cron")
            one.ansible("copy", f"src={vault.ca_file} dest=/etc/dbkeeper/vault-ca.pem mode=0644", check=False)
        _begin(lived)
        lived.live(0, DENIED_DAY)
        vault.fault = lambda method, path, number: "denied"
        lived.live(DENIED_DAY, DENIED_DAY + 1)
        vault.fault = None
        lived.live(DENIED_DAY + 1, DAYS, str(MISSED_DAY))
        yield lived
    finally:
        mail.close()
        vault.close()


def _begin(lived: Month) -> None:
    """The server gets the clock, and what it archived before that is as if it had never been."""
    one = host("database")
    one.ansible("copy", f"src={PROJECT}/tests/simulated_days.py dest=/root/simulated_days.py", check=False)
    begin = lived.first - timedelta(minutes=10)
    lines = one.check_output(
        "cd /root && python3 -c %s",
        "import datetime, simulated_days as s; "
        f"s.turn(datetime.datetime.fromtimestamp({begin.timestamp()}, datetime.timezone.utc)); "
        "print(chr(10).join(f'{name} = {value!r}' for name, value in s.SERVER.items()))",
    )
    one.check_output("systemctl stop postgresql@15-main")
    one.check_output(f"rm -rf {REPOSITORY}/wal/* {REPOSITORY}/index/*")
    one.check_output("printf '%%s\\n' %s >> /etc/postgresql/15/main/environment", lines)
    one.check_output("systemctl start postgresql@15-main")
    now = datetime.fromisoformat(
        postgres(one, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')")
    )
    assert abs(now.replace(tzinfo=timezone.utc) - begin) < timedelta(minutes=5)
    postgres(one, "CREATE TABLE ledger (id int PRIMARY KEY, word text, at timestamptz)")
    assert keeper(one, "copy", "--prepare")["changed"] is True


def test_1_every_job_of_the_month_ran_and_only_what_had_to_failed(month: Month) -> None:
    failed = [run for run in month.runs if run["status"] != 0]
    assert {(run["day"], run["job"]) for run in failed if run["job"] != "check"} == {(DENIED_DAY, "copy")}, (
        failed
    )
    assert set(month.statuses("backup")) == set(range(DAYS))
    assert set(month.statuses("dump")) | {MISSED_DAY} == set(range(DAYS))
    assert len(month.stops) == DAYS
    # The night that was missed was caught up.
    (late,) = [run for run in month.runs if run["job"] == "backup" and run["day"] == MISSED_DAY]
    assert "T11:" in late["at"]


def test_2_base_backups_wal_and_dumps_are_what_the_policy_says(month: Month) -> None:
    one = host("database")
    kept = set(one.check_output(f"ls {REPOSITORY}/base").split())
    present = max(month.stops.values())
    since = present - timedelta(days=14)
    wanted = {label for label, stop in month.stops.items() if stop >= since}
    wanted.add(max((stop, label) for label, stop in month.stops.items() if stop < since)[1])
    assert kept == wanted and len(kept) in (15, 16)

    days = [month.first + timedelta(days=number) for number in range(DAYS) if number != MISSED_DAY]
    wanted_days = set(days[-7:])
    for key, count in ((lambda day: tuple(day.isocalendar())[:2], 4), (lambda day: (day.year, day.month), 3)):
        newest = {key(day): day for day in days}
        wanted_days |= set(sorted(newest.values())[-count:])
    labels = one.check_output(f"ls {REPOSITORY}/dump/app").split()
    assert sorted(label[:8] for label in labels) == sorted(f"{day:%Y%m%d}" for day in wanted_days)

    noon = {number: month.first + timedelta(days=number, hours=11, minutes=58) for number in range(DAYS)}
    reached = keeper(one, "plan", f"--target-time '{noon[DAYS - 3]:%Y-%m-%d %H:%M:%S}+00:00'")
    assert "error" not in reached, reached
    gone = keeper(one, "plan", f"--target-time '{noon[DAYS - 11]:%Y-%m-%d %H:%M:%S}+00:00'")
    assert gone["error"]["code"] == "segment-missing"
    # What is older can be restored as it ended.
    oldest = min(kept)
    assert "error" not in keeper(one, "plan", f"--immediate --backup {oldest}")


def test_3_what_is_kept_is_sound_and_said_to_be(month: Month) -> None:
    one = host("database")
    found = keeper(one, "verify", "--thorough")
    assert found["verification"]["good"] is True, found
    assert month.statuses("verify-thorough").keys() == {
        number for number in range(DAYS) if (month.first + timedelta(days=number)).isoweekday() == 7
    }


def test_4_somebody_was_told(month: Month) -> None:
    for address in ("ops@example.com", "unyou@example.com"):
        subjects = [str(mail["Subject"]) for mail in month.mail.to(address)]
        assert len(subjects) >= DAYS - 1, subjects
    japanese = [str(mail["Subject"]) for mail in month.mail.to("unyou@example.com")]
    assert any(ord(letter) > 0x3000 for subject in japanese for letter in subject)
    bodies = [mail.get_content() for mail in month.mail.to("ops@example.com")]
    assert any("copy" in body and "denied" in body.lower() for body in bodies)


def test_5_the_repository_is_lost_and_the_copy_restores(month: Month) -> None:
    one, spare = host("database"), host("spare")
    content = postgres(one, CONTENT)
    assert content.startswith(f"{DAYS * 200}|")
    assert keeper(one, "copy")["exit_status"] == 0
    stored = month.vault.keys()
    assert stored
    one.check_output("systemctl stop postgresql@15-main")
    one.check_output(f"rm -rf {REPOSITORY} /var/lib/postgresql/15/main")

    spare.check_output("install -d -o postgres -g postgres -m 0750 /srv/brought")
    brought = keeper(spare, "copy", "vault", "--back", "/srv/brought")
    assert "error" not in brought, brought
    restored = spare.run(
        "dbkeeper restore --cluster main --repository /srv/brought --latest "
        "--accept-other-system --confirm main --json"
    )
    assert restored.rc == 0, restored.stdout + restored.stderr
    assert postgres(spare, CONTENT) == content
