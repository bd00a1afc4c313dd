# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The ledger workload on a throw-away cluster, and the server's own word on the order of its commits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .cluster import Cluster
from .keeper import CHECKOUT

PROGRAM = CHECKOUT / "playbooks" / "files" / "ledger_workload.py"

Key = tuple[str, int, int, int]


@dataclass(frozen=True)
class Commit:
    """A transaction's end as pg_waldump reads it from the server's own WAL."""

    lsn: int
    xid: int
    time: datetime
    committed: bool
    subxids: tuple[int, ...] = ()


class Workload:
    """Runs of the workload on one cluster, all in one book."""

    def __init__(self, cluster: Cluster, *, accounts: int = 1000) -> None:
        self.cluster = cluster
        self.book = cluster.root / "ledger.jsonl"
        self._call("init", "--accounts", str(accounts))

    @classmethod
    def found(cls, cluster: Cluster, book: str = "ledger.jsonl") -> Workload:
        """The workload of a cluster that has the tables already, with the book that is there or a new one."""
        workload = cls.__new__(cls)
        workload.cluster, workload.book = cluster, cluster.root / book
        return workload

    def run(self, *argv: str, workers: int = 4, **numbers: float) -> dict[str, Any]:
        """Run to the end: ``transactions=50`` (for each worker), ``rollbacks=0.1``, ``savepoints=0.3`` …"""
        options = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
        return self._call("run", "--ledger", str(self.book), "--workers", str(workers), *options, *argv)

    def start(self, *argv: str, workers: int = 4) -> subprocess.Popen[str]:
        """Start a run that ends with :meth:`stop`."""
        flag = self.cluster.root / "stop-workload"
        flag.unlink(missing_ok=True)
        command = [
            sys.executable,
            str(PROGRAM),
            "run",
            "--dsn",
            self.cluster.dsn(),
            "--ledger",
            str(self.book),
        ]
        command += ["--workers", str(workers), "--until-file", str(flag), *argv]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def stop(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """End a run of :meth:`start` and return its counts."""
        (self.cluster.root / "stop-workload").touch()
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        return dict(json.loads(out))

    def verify(self, *argv: str, dsn: str | None = None) -> dict[str, Any]:
        """Compare a database with the book; see ``exact`` in the answer."""
        command = [sys.executable, str(PROGRAM), "verify", "--dsn", dsn or self.cluster.dsn()]
        done = subprocess.run(
            [*command, "--ledger", str(self.book), *argv],
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode in (0, 1), done.stderr
        answer = dict(json.loads(done.stdout))
        assert answer["exact"] == (done.returncode == 0)
        return answer

    def lines(self) -> int:
        """How many lines the book has."""
        return self.book.read_bytes().count(b"\n") if self.book.exists() else 0

    def committed(self, *, sent: bool = False) -> dict[int, set[Key]]:
        """xid -> rows in ``ledger_entries`` of every transaction whose COMMIT was acknowledged, or only ``sent``."""
        rows: dict[int, set[Key]] = {}
        states = ("committed", "sent") if sent else ("committed",)
        for line in self.book.read_text().splitlines():
            record = json.loads(line)
            if record["kind"] == "transaction" and record["state"] in states:
                key = (record["run"], record["worker"], record["seq"])
                rows[record["xid"]] = {(*key, part) for part in record["parts"]}
        return rows

    def _call(self, command: str, *argv: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), command, "--dsn", self.cluster.dsn(), *argv],
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


def recovered_rows(cluster_dsn: str) -> set[Key]:
    """What ``ledger_entries`` holds."""
    import psycopg

    with psycopg.connect(cluster_dsn, connect_timeout=60) as connection:
        return {tuple(row) for row in connection.execute("SELECT run, worker, seq, part FROM ledger_entries")}


_SUBXIDS = re.compile(r"subxacts:((?: \d+)+)")
_ENDS = re.compile(
    r"^rmgr: Transaction\s.*?\btx:\s+(?P<tx>\d+), lsn: (?P<high>[0-9A-F]+)/(?P<low>[0-9A-F]+),"
    r".*?desc: (?P<what>COMMIT_PREPARED|COMMIT|ABORT_PREPARED|ABORT)(?: (?P<xid>\d+):)? "
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC"
)


def server_commits(cluster: Cluster, since: str, timeline: int = 1) -> list[Commit]:
    """All ends of transactions in WAL order from position ``since``, read from the server's own pg_wal.

    Neither the archive nor the engine is asked. Needs a server that keeps its WAL (``wal_keep_size``).
    """
    path = cluster.seen(cluster.data_directory / "pg_wal")
    argv = ["--path", str(path), "--timeline", str(timeline), "--rmgr", "Transaction", "--start", since]
    # At the end of WAL it ends with status 1 and says so: that is where we want to go.
    done = subprocess.run(
        [cluster.installation.program("pg_waldump"), *argv],
        check=False,
        capture_output=True,
        text=True,
        env=cluster.installation.environment,
    )
    found = []
    for line in done.stdout.splitlines():
        match = _ENDS.match(line)
        if match:
            moment = datetime.strptime(match["time"], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
            lsn = (int(match["high"], 16) << 32) + int(match["low"], 16)
            subxids = (
                tuple(int(item) for item in _SUBXIDS.findall(line)[0].split()) if "subxacts:" in line else ()
            )
            xid, committed = int(match["xid"] or match["tx"]), match["what"].startswith("COMMIT")
            found.append(Commit(lsn, xid, moment, committed, subxids))
    assert found, done.stderr
    return found
