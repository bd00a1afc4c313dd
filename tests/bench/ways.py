# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Three ways to do the same: ours, the script that everybody has written once, pgBackRest.

Each can archive a segment, take a base backup, and restore to a time until the server takes writes.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import psycopg

from tests.integration.harness.template import BACKUP_USER, SUPERUSER

from .server import Server, must

_PATIENCE_SECONDS = 3600.0


class Way(ABC):
    """One of them, with a place of its own below the server's."""

    name = ""
    has_backup = False

    def __init__(self, server: Server) -> None:
        self.server = server
        self.place = server.root / self.name.split()[0].lower().replace("+", "")
        self.place.mkdir()
        self.environment = server.installation.environment

    @abstractmethod
    def archive_command(self) -> str:
        """For postgresql.conf."""

    @abstractmethod
    def push(self, segment: Path) -> None:
        """Archive one finished segment now."""

    @abstractmethod
    def backup(self) -> None:
        """Take a base backup, compressed."""

    @abstractmethod
    def forget_backup(self) -> None:
        """Remove it."""

    @abstractmethod
    def restore(self, moment: str) -> None:
        """Bring it back, replay to the moment, open it."""

    @abstractmethod
    def forget_restore(self) -> None:
        """As if there had been no restore."""

    @abstractmethod
    def marks(self) -> list[int]:
        """Which marks are there after :meth:`restore`."""


class Ours(Way):
    """The host command."""

    name = "ours"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.record: dict[str, Any] = {}
        self.labels: list[str] = []

    def archive_command(self) -> str:
        return self.server.ours

    def push(self, segment: Path) -> None:
        argv = [
            str(self.server.command),
            "archive-push",
            "--config",
            str(self.server.config_path),
            str(segment),
        ]
        must(argv, env=self.environment)

    def backup(self) -> None:
        done = self.server.keeper("backup", timeout=_PATIENCE_SECONDS).expect()
        self.labels.append(done["backup"]["label"])

    def forget_backup(self) -> None:
        shutil.rmtree(self.server.repository / self.server.name / "base" / self.labels.pop())

    def restore(self, moment: str) -> None:
        argv = ["--target-time", moment, "--timeline", "1", "--confirm", self.server.name, "--skip-backup"]
        self.record = self.server.keeper("restore", *argv, timeout=_PATIENCE_SECONDS).expect()["record"]

    def forget_restore(self) -> None:
        self.server.keeper("undo", "--confirm", self.server.name, timeout=600).expect()
        for path in self.server.parent.iterdir():
            if path != self.server.data_directory:
                shutil.rmtree(path)

    def marks(self) -> list[int]:
        return [row[0] for row in self.server.sql("SELECT id FROM marks ORDER BY id")]


class Beside(Way):
    """A restore into a directory of its own, by hand: the others know nothing of the live cluster."""

    @property
    def data(self) -> Path:
        """Where it goes."""
        return self.place / "data"

    def start(self, restore_command: str, moment: str) -> None:
        """Start recovery and wait until the server has been promoted."""
        settings = {
            "port": str(self.server.port + 1),
            "archive_mode": "off",
            "recovery_target_time": moment,
            "recovery_target_action": "promote",
            "restore_command": restore_command,
        }
        with open(self.data / "postgresql.auto.conf", "a", encoding="utf-8") as handle:
            handle.writelines(
                f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()
            )
        (self.data / "recovery.signal").touch()
        log = self.place / "server.log"
        argv = ["start", "--wait", "--timeout=3600", "--silent", f"--pgdata={self.data}", f"--log={log}"]
        # Into a file, because the server keeps it open.
        with open(self.place / "pg_ctl.log", "ab") as said:
            done = subprocess.call(
                [self.server.installation.program("pg_ctl"), *argv],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        if done != 0:
            raise RuntimeError(
                f"the restored server did not start:\n{log.read_text(errors='replace')[-4000:]}"
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with self.connect() as connection:
                if connection.execute("SELECT pg_is_in_recovery()").fetchall() == [(False,)]:
                    return
            time.sleep(0.05)
        raise RuntimeError("the restored server was never promoted")

    def connect(self) -> psycopg.Connection[Any]:
        """To the restored server."""
        where = f"host={self.server.socket_directory} port={self.server.port + 1} dbname=postgres user={SUPERUSER}"
        return psycopg.connect(where, autocommit=True)

    def marks(self) -> list[int]:
        with self.connect() as connection:
            return [row[0] for row in connection.execute("SELECT id FROM marks ORDER BY id").fetchall()]

    def forget_restore(self) -> None:
        argv = ["stop", "--mode=immediate", "--wait", "--silent", f"--pgdata={self.data}"]
        must([self.server.installation.program("pg_ctl"), *argv], env=self.environment)
        shutil.rmtree(self.data)


class CommonScript(Beside):
    """``pg_basebackup -Ft -z``, ``cp`` as archive_command, ``tar -xzf`` and ``cp`` to restore."""

    name = "common script"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        (self.place / "wal").mkdir()

    def archive_command(self) -> str:
        return f"test ! -f {self.place}/wal/%f && cp %p {self.place}/wal/%f"

    def push(self, segment: Path) -> None:
        if not (self.place / "wal" / segment.name).exists():
            shutil.copyfile(segment, self.place / "wal" / segment.name)

    def backup(self) -> None:
        where = ["-h", str(self.server.socket_directory), "-p", str(self.server.port), "-U", BACKUP_USER]
        argv = ["-Ft", "-z", "-c", "fast", "-D", str(self.place / "backup")]
        must([self.server.installation.program("pg_basebackup"), *where, *argv], env=self.environment)

    def forget_backup(self) -> None:
        shutil.rmtree(self.place / "backup")

    def restore(self, moment: str) -> None:
        self.data.mkdir(mode=0o700)
        for archive, target in (("base.tar.gz", self.data), ("pg_wal.tar.gz", self.data / "pg_wal")):
            must(["tar", "-xzf", str(self.place / "backup" / archive), "-C", str(target)])
        self.start(f"cp {self.place}/wal/%f %p", moment)


class PgBackRest(Beside):
    """Debian's package: two processes, zst, archive-get ahead of time."""

    name = "pgBackRest"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.configuration = self.place / "pgbackrest.conf"
        self.repository = self.place / "repository"
        self.configure(self.repository)

    def configure(self, repository: Path) -> None:
        """Write the configuration, and make the repository ready."""
        for name in ("log", "lock", "spool"):
            (self.place / name).mkdir(exist_ok=True)
        repository.mkdir()
        self.configuration.write_text(
            f"""[global]
repo1-path={repository}
repo1-retention-full=9
process-max=2
compress-type=zst
start-fast=y
log-path={self.place}/log
lock-path={self.place}/lock
spool-path={self.place}/spool
log-level-console=error
log-level-file=warn

[global:archive-get]
archive-async=y

[main]
pg1-path={self.server.data_directory}
pg1-port={self.server.port}
pg1-socket-path={self.server.socket_directory}
pg1-user={SUPERUSER}
"""
        )
        self.run("stanza-create")

    def run(self, *argv: str) -> None:
        """Run it."""
        must(self.argv(*argv), env=self.environment)

    def argv(self, *argv: str) -> list[str]:
        """Its command line."""
        return ["pgbackrest", f"--config={self.configuration}", "--stanza=main", *argv]

    def archive_command(self) -> str:
        return f"pgbackrest --config={self.configuration} --stanza=main archive-push %p"

    def push(self, segment: Path) -> None:
        self.run("archive-push", str(segment))

    def backup(self) -> None:
        self.run("--type=full", "backup")

    def forget_backup(self) -> None:
        # Measured are full backups; what older ones there are does not matter to any of them.
        self.run("--repo1-retention-full=1", "expire")

    def restore(self, moment: str) -> None:
        self.data.mkdir(mode=0o700)
        self.run(f"--pg1-path={self.data}", "--type=none", "restore")
        command = " ".join(self.argv(f"--pg1-path={self.data}", "archive-get", "%f", '"%p"'))
        self.start(command, moment)
