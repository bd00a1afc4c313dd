# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The hosts of the scenario disaster, the client that keeps the book, and the arithmetic of what may be lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import testinfra

PROJECT = Path(__file__).resolve().parents[1]
PROGRAM = PROJECT / "playbooks" / "files" / "ledger_workload.py"
SCENARIO = "disaster"
ROOT = "/srv/dbkeeper/app"
SEGMENT_BYTES = 16 << 20


def scratch() -> Path:
    """Where the run keeps what it needs outside of the hosts."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


def bed(*words: str) -> None:
    """The power switch and the workshop of the hosts."""
    verb, *names = words
    argv = [sys.executable, "-m", "tests.bed", verb, "--group", SCENARIO, *names]
    done = subprocess.run(argv, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def host(name: str) -> Any:
    """A host as testinfra sees it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


def address(name: str) -> str:
    """Where it is reached."""
    return str(host(name).ansible.get_variables()["ansible_host"])


def postgres(one: Any, statement: str, database: str = "postgres") -> str:
    """What the superuser is told over the socket."""
    done = one.run("runuser -u postgres -- psql -XAt -d %s -c %s", database, statement)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def until(question: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


def archived(timeline: int = 1) -> list[str]:
    """Names of the segments of a timeline that the repository has."""
    listed = host("repository").check_output(f"ls {ROOT}/main/wal/*/{timeline:08X} 2>/dev/null || true")
    return sorted(name[:24] for name in listed.split() if name.endswith(".zst") and len(name) == 28)


def end_of(segment: str) -> int:
    """The position just behind a segment of 16 MB, from its name."""
    return ((int(segment[8:16], 16) << 8) + int(segment[16:24], 16) + 1) * SEGMENT_BYTES


def streaming_unit() -> str:
    """What streams there, as systemd knows it."""
    listed = host("repository").check_output("ls /etc/systemd/system | grep ^dbkeeper-receive")
    (unit,) = listed.split()
    return str(unit)


def received() -> str:
    """What is streamed lies here, on the host of the repository."""
    return str(host("repository").check_output(f"ls -d {ROOT}/main/receive/[0-9]*"))


def streamed() -> int:
    """The position behind the last whole record that was streamed, as PostgreSQL's own tool reads it.

    The unfinished segment is looked at as a copy: the tool wants a segment's name.
    """
    repository = host("repository")
    names = repository.check_output("ls %s", received()).split()
    name = max((one[:24] for one in names if one.endswith(".partial")), default="")
    copied = f"rm -rf /tmp/looked && mkdir /tmp/looked && cp {received()}/{name}.partial /tmp/looked/{name}"
    if not name or repository.run(copied).rc != 0:
        # The last one has just come to its end, and nothing of the next is there.
        return end_of(archived()[-1])
    told = repository.run(f"/usr/lib/postgresql/15/bin/pg_waldump /tmp/looked/{name} | tail -n 1").stdout
    found = re.search(r"len \(rec/tot\): *\d+/ *(\d+),.* lsn: ([0-9A-F]+/[0-9A-F]+),", told)
    if found is None:
        return end_of(name) - SEGMENT_BYTES
    begin = position(found[2])
    assert begin is not None
    # Whoever is cut by pages has their headers in it, the first one of a segment is longer.
    end, page = begin + (int(found[1]) + 7) // 8 * 8, 8192
    return end + 24 * (end // page - begin // page)


def position(text: str | None) -> int | None:
    """X/Y as a number."""
    if not text:
        return None
    high, _dummy, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@dataclass(frozen=True)
class Client:
    """Connections of the application, and the book of what was acknowledged, both on this machine."""

    server: str

    @property
    def dsn(self) -> str:
        return f"host={address(self.server)} dbname=app user=web sslmode=require connect_timeout=2"

    @property
    def environment(self) -> dict[str, str]:
        secret = (scratch() / "secrets" / "database" / "main" / "web").read_text(encoding="utf-8").strip()
        path = scratch() / "pgpass"
        path.touch(mode=0o600)
        path.write_text(f"*:5432:app:web:{secret}\n", encoding="utf-8")
        return {**os.environ, "PGPASSFILE": str(path)}

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn, autocommit=True, passfile=self.environment["PGPASSFILE"])

    def init(self) -> None:
        argv = [sys.executable, str(PROGRAM), "init", "--dsn", self.dsn, "--accounts", "1000"]
        subprocess.run(argv, env=self.environment, check=True, capture_output=True)

    @contextmanager
    def load(self, book: Path) -> Iterator[None]:
        """Transactions until the block ends; the server may die meanwhile."""
        stop = book.with_suffix(".stop")
        argv = [sys.executable, str(PROGRAM), "run", "--dsn", self.dsn, "--ledger", str(book)]
        argv += ["--workers", "2", "--until-file", str(stop)]
        with subprocess.Popen(
            argv, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            try:
                yield
            finally:
                stop.touch()
                said, _none = run.communicate(timeout=240)
        assert run.returncode == 0, said.decode()


class Waiting(threading.Thread):
    """An application that tries again and again, and notes when it could write for the first time."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._over = threading.Event()
        self.served_at: float | None = None

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with self._client.connect() as connection:
                    connection.execute("CREATE TABLE IF NOT EXISTS served (at timestamptz)")
                    connection.execute("INSERT INTO served VALUES (now())")
            except psycopg.Error:
                self._over.wait(0.05)
                continue
            self.served_at = time.time()
            return

    def end(self) -> None:
        self._over.set()
        self.join()


@dataclass(frozen=True)
class Acknowledged:
    """A commit that the client was told of."""

    key: tuple[str, int, int]
    committed_at: datetime | None
    before: int
    after: int | None


def acknowledged(book: Path) -> list[Acknowledged]:
    """All of them, in the order in which they were written down."""
    found = []
    # The last line may be still being written.
    for line in book.read_text(encoding="utf-8").split("\n")[:-1]:
        item = json.loads(line)
        if item["kind"] != "transaction" or item["state"] != "committed":
            continue
        told = item["committed_at"]
        before = position(item["lsn_before"])
        assert before is not None
        found.append(
            Acknowledged(
                (item["run"], item["worker"], item["seq"]),
                datetime.fromisoformat(f"{told}:00").astimezone(timezone.utc) if told else None,
                before,
                position(item["lsn_after"]),
            )
        )
    return found


@dataclass(frozen=True)
class Outcome:
    """What the book says of a restored database whose WAL ended at a position."""

    acknowledged: int
    there: int
    missing: list[Acknowledged]
    unexpected: list[Acknowledged]
    lost: list[Acknowledged]
    balanced: bool

    def loss_seconds(self, died_at: float) -> float:
        """From the first commit that is lost until the host died: the RPO as it was."""
        moments = [one.committed_at.timestamp() for one in self.lost if one.committed_at]
        return died_at - min(moments) if moments else 0.0


def compare(client: Client, book: Path, end: int) -> Outcome:
    """Hold the book against the database: all that was acknowledged up to ``end`` is there, and nothing behind it.

    A commit record lies between the two positions that the client was told around its COMMIT.
    """
    with client.connect() as connection:
        rows = connection.execute("SELECT run, worker, seq FROM ledger_entries WHERE part = 0").fetchall()
        sums = connection.execute(
            "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),"
            " (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history),"
            " (SELECT sum(delta) FROM ledger_entries)"
        ).fetchone()
    assert sums is not None
    present = {(str(run), int(worker), int(seq)) for run, worker, seq in rows}
    known = acknowledged(book)
    return Outcome(
        acknowledged=len(known),
        there=sum(1 for one in known if one.key in present),
        missing=[
            one for one in known if one.after is not None and one.after <= end and one.key not in present
        ],
        unexpected=[one for one in known if one.before >= end and one.key in present],
        lost=[one for one in known if one.key not in present],
        balanced=len(set(sums)) == 1,
    )
