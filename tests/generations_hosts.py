# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The hosts of the scenario generations, the days that they live through, and what happens on some of them."""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import testinfra

from tests.integration.harness.objectstore import ObjectStore
from tests.mail_catcher import MailCatcher

PROJECT = Path(__file__).resolve().parents[1]
REPOSITORY = "/var/lib/dbkeeper/repository/main"
#: Enough for every rule of the policy to let something go; 31 are a whole month.
DAYS = int(os.environ.get("DBKEEPER_TEST_DAYS", "18"))
#: The bucket refuses everything; the host is off in the night; somebody has taken the backup out of the schedule; a
#: table was lost the day before.
DENIED, OFF, FORGOTTEN, SHRUNK = DAYS // 5, DAYS * 2 // 5, DAYS // 2 + 1, DAYS * 2 // 3 + 1
#: So many days the other host lives by systemd: one of them is a Sunday.
WEEK = 7
CONTENT = "SELECT count(*), md5(string_agg(id || word || at, ',' ORDER BY id)) FROM ledger"
BALLAST = "SELECT count(*), md5(string_agg(id || word, ',' ORDER BY id)) FROM ballast"
OPERATORS, UNYOU = "ops@{}.example.com", "unyou@{}.example.com"


def host(name: str) -> Any:
    """A host as testinfra sees it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


def address(name: str) -> str:
    """Where it is reached."""
    return str(host(name).ansible.get_variables()["ansible_host"])


def postgres(one: Any, statement: str, database: str = "app") -> str:
    """What the superuser is told over the socket."""
    done = one.run("runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s", database, statement)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def keeper(one: Any, *words: str) -> dict[str, Any]:
    """The host command's result, whatever its exit status."""
    done = one.run(" ".join(["dbkeeper", *words, "--cluster main --json"]))
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def midnight() -> datetime:
    """When today began."""
    return datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass
class Life:
    """What a host lives through; ``first`` is its first day."""

    name: str
    first: datetime
    runs: list[dict[str, Any]] = field(default_factory=list)
    #: Label -> when it ended, of all base backups that were taken.
    stops: dict[str, datetime] = field(default_factory=dict)

    @property
    def host(self) -> Any:
        return host(self.name)

    def day(self, number: int, **more: int) -> datetime:
        """A moment of a day."""
        return self.first + timedelta(days=number, **more)

    def clock(self, *words: str) -> str:
        """The program on the host that turns the clock."""
        done = self.host.run("python3 /root/simulated_days.py" + " %s" * len(words), *words)
        assert done.rc == 0, done.stdout + done.stderr
        return str(done.stdout)

    def begin(self) -> None:
        """The server begins to live then, with something in it."""
        copied = self.host.ansible(
            "copy", f"src={PROJECT}/tests/simulated_days.py dest=/root/simulated_days.py", check=False
        )
        assert "failed" not in copied, copied
        begin = self.first - timedelta(minutes=10)
        self.clock("begin", begin.isoformat())
        now = postgres(self.host, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')")
        assert abs(datetime.fromisoformat(f"{now}+00:00") - begin) < timedelta(minutes=5)
        postgres(
            self.host,
            "CREATE TABLE ledger (id int PRIMARY KEY, word text, at timestamptz);"
            "CREATE TABLE ballast AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 20000) i",
        )
        assert json.loads(self.at(begin, "dbkeeper copy --prepare --cluster main --json"))["changed"] is True

    def live(self, begin: int, end: int, off: str = "") -> None:
        """Some days of it."""
        for line in self.clock(
            "days", f"{self.first:%Y-%m-%d}", f"{begin}-{end}", *filter(None, [off])
        ).splitlines():
            told = json.loads(line)
            if "backup" in told:
                self.stops[told["backup"]] = datetime.fromisoformat(told["stopped_at"].replace("Z", "+00:00"))
            else:
                self.runs.append(told)

    def at(self, moment: datetime, command: str) -> str:
        """One command of the cluster's owner."""
        return self.clock("at", moment.isoformat(), command)

    def days_of(self, job: str) -> list[int]:
        """On which days it ran, once for each run."""
        return [run["day"] for run in self.runs if run["job"] == job]

    def failures(self) -> set[tuple[int, str]]:
        """Day and job of all that failed."""
        return {(run["day"], run["job"]) for run in self.runs if run["status"] != 0}

    def checks(self) -> dict[int, dict[str, tuple[str, str]]]:
        """Day -> check -> state and text, of everything that was not all right."""
        found: dict[int, dict[str, tuple[str, str]]] = {}
        for run in self.runs:
            if run["job"] == "check":
                lines = re.findall(r"^(ok|warning|failed) +([a-z-]+): (.*)$", run["said"], re.M)
                assert len(lines) > 25, run
                found[run["day"]] = {name: (state, text) for state, name, text in lines if state != "ok"}
        return found


class Month(Life):
    """The first host's. It goes on by itself, until somebody asks how it was."""

    def __init__(self, vault: ObjectStore, mail: MailCatcher) -> None:
        # It ends yesterday, so that everything lies in the past.
        super().__init__("database", midnight() - timedelta(days=DAYS))
        self.vault, self.mail = vault, mail
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def lived(self) -> Month:
        """When it is over."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self

    def to(self, address: str, number: int | None = None) -> list[EmailMessage]:
        """The mails that somebody got, on a day."""
        found = self.mail.to(address.format(self.name))
        day = None if number is None else self.day(number).date()
        return [one for one in found if day in (None, parsedate_to_datetime(one["Date"]).date())]

    def _run(self) -> None:
        try:
            self._live()
        except BaseException as error:
            self._error = error
        finally:
            # For who wants to know what a day costs, and what people read.
            place = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
            place.joinpath("days.json").write_text(json.dumps(self.runs, indent=1), encoding="utf-8")
            read = [f"{one['To']}\n{one['Subject']}\n\n{one.get_content()}\n" for one in self.mail.mails]
            place.joinpath("mails.txt").write_text("\n".join(read), encoding="utf-8")

    def _live(self) -> None:
        one = self.host
        one.ansible(
            "copy", f"src={self.vault.ca_file} dest=/etc/dbkeeper/vault-ca.pem mode=0644", check=False
        )
        self.begin()
        self.live(0, DENIED)
        self.vault.fault = lambda method, path, number: "denied"
        self.live(DENIED, DENIED + 1)
        self.vault.fault = None
        self.live(DENIED + 1, FORGOTTEN, str(OFF))
        one.check_output("sed -i.kept '/schedule-backup.lock/s/^/#/' /etc/cron.d/dbkeeper-main")
        self.live(FORGOTTEN, FORGOTTEN + 1)
        one.check_output("mv /etc/cron.d/dbkeeper-main.kept /etc/cron.d/dbkeeper-main")
        self.live(FORGOTTEN + 1, SHRUNK)
        content = postgres(one, BALLAST)
        self.at(self.day(SHRUNK - 1, hours=13), "psql -qX -d app -c 'DROP TABLE ballast'")
        self.live(SHRUNK, SHRUNK + 1)
        good = one.check_output(f"ls {REPOSITORY}/dump/app | grep ^{self.day(SHRUNK - 1):%Y%m%d}")
        load = f"dbkeeper load {good} --database app --into app --table public.ballast --cluster main"
        self.at(self.day(SHRUNK, hours=13), load)
        assert postgres(one, BALLAST) == content
        self.live(SHRUNK + 1, DAYS)
        self.clock("end")
