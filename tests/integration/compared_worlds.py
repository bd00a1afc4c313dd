# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The same WAL in two archives, one filled by ``cp`` and one by dbkeeper, to be damaged and recovered side by side.

"Plain" is what the manual's chapter on continuous archiving shows: a directory made by pg_basebackup, ``cp`` as archive
and restore command, a target in the configuration, and promotion at its end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError

from .harness import damage
from .harness.cluster import Cluster
from .harness.installation import Installation
from .harness.processes import postmaster_pid
from .harness.sandbox import Sandbox
from .harness.side import Beside
from .harness.template import SUPERUSER
from .harness.waiting import wait_for
from .harness.workload import Key
from .harness.world import SETTINGS, World, lsn_number

_FATAL = re.compile(r"(?:FATAL|PANIC):  (.*)")
#: What a server says while it starts or stops, of connections and of itself: not why it ended.
_IDLE = ("the database system is", "terminating", "startup process", "could not restore file")


@dataclass(frozen=True)
class Outcome:
    """What came of a recovery. ``kind``: exact, stopped, said (less, with words), wrong (less or more, in silence)."""

    kind: str
    text: str


class Pair:
    """A cluster, both archives, and both kinds of backups: ``a`` and ``b``."""

    def __init__(
        self, sandbox: Sandbox, installation: Installation, name: str, *, promoted: bool = False
    ) -> None:
        self.sandbox = sandbox
        self.plain = sandbox.root / f"{name}-plain"
        self.plain.mkdir()
        self.backups: dict[str, Path] = {}
        self.labels: dict[str, str] = {}
        self.times: dict[str, str] = {}
        self.cluster = Cluster(sandbox, name, installation=installation, settings=SETTINGS)
        ours = self.cluster.settings["archive_command"]
        self.cluster.set(archive_command=f"cp %p {self.plain}/%f && {ours}")
        self.cluster.start()
        self.world = World.begin(self.cluster).work(4, workers=2)
        self.cluster.switch_wal()
        self.backup("a")
        for step in range(4):
            self.world.work(4, workers=2)
            self.cluster.switch_wal()
            if step == 1:
                self.world.point("fork").work(3, workers=2)
                self.cluster.switch_wal()
                if not promoted:
                    self.backup("b")
        self.world.point("late").work(4, workers=2).finish()
        self.first = self.world
        if promoted:
            self._promote()
        self.drill: dict[str, bytes] = {}
        if not promoted:
            self._make_drill()

    def backup(self, name: str) -> None:
        """One of each kind, one after the other."""
        self.world.backup()
        self.labels[name] = self.world.backups[-1].label
        target = self.sandbox.root / f"{self.cluster.name}-base-{name}"
        options = ("-h", str(self.cluster.socket_directory), "-p", str(self.cluster.port), "-U", "postgres")
        self.cluster.program(
            "pg_basebackup", *options, "-D", str(target), "-X", "none", "-c", "fast", "--no-sync"
        )
        self.backups[name] = target

    def _promote(self) -> None:
        """A failover: the truth goes on along timeline 2."""
        self.cluster.stop()
        (self.cluster.data_directory / "standby.signal").touch()
        self.cluster.start()
        self.cluster.program("pg_ctl", "promote", "-w", "-s", "-D", str(self.cluster.data_directory))
        self.world = World.after_restore(self.first, 1 << 62)
        self.world.work(6, workers=2)
        self.cluster.switch_wal()
        self.world.point("on 2").work(4, workers=2).finish()

    def _make_drill(self) -> None:
        """A test restore whose promotion was archived: timeline 2, with rows that production never had."""
        before = {path.name for path in self.plain.iterdir()}
        settings = {"recovery_target_name": "fork", "archive_mode": "on"}
        settings["archive_command"] = f"cp %p {self.plain}/%f"
        with self._server("a", settings, f"cp {self.plain}/%f %p") as (dsn, started, _log):
            assert started
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("CREATE TABLE drilled AS SELECT generate_series(1, 1000) AS n")
                name = connection.execute(
                    "SELECT pg_walfile_name(pg_logical_emit_message(false, 'drill', 'x'))"
                ).fetchall()[0][0]
                connection.execute("SELECT pg_switch_wal()")
            wait_for((self.plain / name).exists, f"{name} archived")
        for path in list(self.plain.iterdir()):
            if path.name not in before:
                self.drill[path.name] = path.read_bytes()
                path.unlink()

    # -- the two archives --------------------------------------------------------------------------------

    @property
    def wal(self) -> Path:
        """Our archive's directory."""
        return self.cluster.repository / self.cluster.name / "wal" / self.cluster.system_id

    def ours(self, name: str) -> Path:
        """A file in our archive."""
        return self.wal / name if name.endswith(".history") else self.wal / name[:8] / f"{name}.zst"

    def segments(self, timeline: int = 1) -> list[str]:
        """Those after backup ``b`` (or ``a``) ended, oldest first, but for the last two."""
        start = self.world.backups[-1].stop_lsn >> 20
        head = f"{timeline:08X}"
        names = sorted(p.name for p in self.plain.iterdir() if len(p.name) == 24 and p.name.startswith(head))
        return [name for name in names if int(name[8:16], 16) * 4096 + int(name[16:], 16) > start]

    def add_drill(self) -> None:
        """Put what the drill archived into both archives."""
        for name, content in self.drill.items():
            (self.plain / name).write_bytes(content)
            if len(name) == 24 or name.endswith(".history"):
                path = self.ours(name)
                path.parent.mkdir(exist_ok=True)
                if len(name) == 24:
                    damage.store(path, content)
                else:
                    path.write_bytes(content)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Both archives and all backups are whole again after the block."""
        places = [self.plain, self.cluster.repository / self.cluster.name, *self.backups.values()]
        asides = [place.with_name(f"{place.name}.aside") for place in places]
        for place, aside in zip(places, asides):
            subprocess.run(["cp", "-a", str(place), str(aside)], check=True)
        try:
            yield
        finally:
            for place, aside in zip(places, asides):
                place.chmod(0o700)
                damage.remove(place)
                aside.rename(place)

    # -- recovering ----------------------------------------------------------------------------------------

    def recover_plain(
        self, backup: str, settings: dict[str, str], wanted: set[Key], command: str = ""
    ) -> Outcome:
        """What PostgreSQL makes of it."""
        command = command or f"cp {self.plain}/%f %p"
        with self._server(backup, settings, command) as (dsn, started, log):
            if not started:
                lines = [line for line in _FATAL.findall(log()) if not line.startswith(_IDLE)]
                return Outcome("stopped", f"ends: {_short(lines[-1] if lines else 'does not start')}")
            try:
                with psycopg.connect(dsn, autocommit=True) as connection:
                    rows = set(
                        connection.execute("SELECT run, worker, seq, part FROM ledger_entries").fetchall()
                    )
            except psycopg.Error as error:
                return Outcome("wrong", f"promotes; **{_reason(str(error))}**")
        return compare(rows, wanted, "promotes")

    def recover_ours(self, target: dict[str, Any], wanted: set[Key]) -> Outcome:
        """What dbkeeper makes of it: plan, staged restore, replay."""
        try:
            beside = Beside(self.cluster)
            plan = beside.plan(**target)
        except KeeperError as error:
            return Outcome("stopped", f"refused: `{error.code}`")
        try:
            rows = beside.restore(plan).rows
        except KeeperError as error:
            return Outcome("stopped", f"stopped: `{error.code}`")
        outcome = compare(rows, wanted, "done")
        if outcome.kind == "wrong" and any(".partial" in words for words in plan.warnings):
            return Outcome("said", "done without the unfinished segment, which is named")
        return outcome

    @contextmanager
    def _server(
        self, backup: str, settings: dict[str, str], command: str
    ) -> Iterator[tuple[str, bool, Callable[[], str]]]:
        root = self.sandbox.root / "plain-recovery"
        data = root / "data"
        root.mkdir()
        subprocess.run(["cp", "-a", str(self.backups[backup]), str(data)], check=True)
        data.chmod(0o700)
        lines = {
            "listen_addresses": "",
            "port": str(self.cluster.port),
            "unix_socket_directories": str(root),
            "archive_mode": "off",
            "restore_command": command,
            "recovery_target_action": "promote",
            "hot_standby": "off",
            "fsync": "off",
            "log_timezone": "UTC",
            **settings,
        }
        with open(data / "postgresql.conf", "a") as handle:
            handle.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
        (data / "recovery.signal").touch()
        installation = self.cluster.installation
        try:
            with open(root / "pg_ctl.log", "ab") as log:
                status = subprocess.call(
                    [installation.program("pg_ctl"), "start", "-w", "-t", "240", "-s", "-D", str(data)]
                    + ["-l", str(root / "log")],
                    env=installation.environment,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )

            def words() -> str:
                path = root / "log"
                return path.read_text(errors="replace") if path.exists() else ""

            dsn = f"host={root} port={self.cluster.port} user={SUPERUSER} dbname=postgres"

            def promoted() -> str:
                """With hot standby off it takes connections only after that; a start that ended well proves nothing."""
                if status != 0 or postmaster_pid(data) is None:
                    return "ended"
                try:
                    psycopg.connect(dsn, connect_timeout=5).close()
                except psycopg.OperationalError as error:
                    # Only what a server that is up answers counts: a database that cannot be entered. Without a socket,
                    # or with a connection that is cut, it is on its way up or down; the postmaster's end will tell.
                    waiting = ("not accepting", "starting up", "not yet", "shutting down", "in recovery")
                    answered = "FATAL:" in str(error) and not any(words in str(error) for words in waiting)
                    return "promoted" if answered else ""
                return "promoted"

            yield dsn, wait_for(promoted, "promotion or the end", timeout=240) == "promoted", words
        finally:
            subprocess.call(
                [installation.program("pg_ctl"), "stop", "-s", "-m", "immediate", "-D", str(data)],
                env=installation.environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            shutil.rmtree(root)


def compare(rows: set[Key], wanted: set[Key], verb: str) -> Outcome:
    """Row for row."""
    missing, extra = len(wanted - rows), len(rows - wanted)
    if not missing and not extra:
        return Outcome("exact", f"{verb}: exact")
    parts = [f"{missing} of {len(wanted)} rows lost"] if missing else []
    parts += [f"{extra} rows too many"] if extra else []
    return Outcome("wrong", f"{verb}: **{', '.join(parts)}**")


def _reason(text: str) -> str:
    """What libpq says without where it tried."""
    return _short(text.rpartition("FATAL:  ")[2] if "FATAL:  " in text else text)


def _short(text: str) -> str:
    line = re.sub(r"\s+", " ", text.split("\n")[0]).strip()
    line = re.sub(r"\"/[^\"]*/", '"…/', line)
    return line if len(line) <= 90 else line[:89] + "…"


def lsn_shift(text: str, distance: int) -> int:
    """A position some bytes on."""
    return lsn_number(text) + distance


def rewrite_tar(path: Path, *names: str) -> None:
    """Take members out of a stored backup's tar file, with the container sound afterwards."""
    tar = path.with_suffix("")
    subprocess.run(["zstd", "-d", "-q", "-f", str(path), "-o", str(tar)], check=True)
    subprocess.run(["tar", "--delete", "-f", str(tar), *names], check=True)
    subprocess.run(["zstd", "-1", "-q", "-f", "--rm", str(tar), "-o", str(path)], check=True)
    assert not os.path.exists(tar)
