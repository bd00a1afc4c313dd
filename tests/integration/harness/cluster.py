# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Throw-away clusters: real servers of an ordinary user, archiving through this checkout's command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository

from .archiver import at_rest
from .digest import difference, fingerprint
from .disk import SmallDisk
from .elsewhere import Elsewhere
from .installation import Installation, default_installation, run
from .keeper import (
    HOLD_FILE,
    HOLD_GET,
    KILL_AT,
    PAUSE_AT,
    PAUSE_FILE,
    STEPS_FILE,
    Answer,
    Running,
    write_launcher,
)
from .processes import kill_postmaster, postmaster_pid
from .sandbox import Sandbox
from .template import BACKUP_USER, SUPERUSER, Kind, copy_template
from .waiting import wait_for


class Cluster:
    """One cluster with its repository, its state directory and its configuration for the host command.

    Below ``root``: ``pg/data`` (nothing else in ``pg``, so that what is staged beside it is seen),
    ``run`` (socket), ``log``, ``etc``, ``repository``, ``state``, ``bin/dbkeeper``.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        name: str = "main",
        *,
        installation: Installation | None = None,
        kind: Kind | None = None,
        settings: dict[str, str] | None = None,
        repository: Path | None = None,
        archiving: bool = True,
        external_config: bool = False,
        root: Path | None = None,
        disk: SmallDisk | None = None,
        disk_holds: str = "data",
        origin: Cluster | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``disk`` holds the data directory and what is staged beside it, or (``disk_holds``) the repository; a copy
        of ``origin``, a stopped cluster, has its repository, too. ``elsewhere`` is another host with the repository."""
        self.sandbox = sandbox
        self.name = name
        self.installation = installation or default_installation()
        self.kind = kind or Kind()
        self.root = root or sandbox.root / name
        self.disk = disk
        self.enter = disk.enter if disk else ()
        self.parent = (disk.mountpoint if disk and disk_holds == "data" else self.root) / "pg"
        self.data_directory = self.parent / "data"
        self.socket_directory = self.root / "run"
        self.log_directory = self.root / "log"
        self.repository = elsewhere.repository if elsewhere else repository or self.root / "repository"
        self.state_directory = self.root / "state"
        self.config_path = self.root / "etc" / f"{name}.json"
        self.port = sandbox.ports.take()
        for directory in (self.parent, self.socket_directory, self.log_directory, self.config_path.parent):
            self.seen(directory).mkdir(parents=True, mode=0o700)
        for directory in (self.repository, self.state_directory, self.root / "bin"):
            self.seen(directory).mkdir(parents=True, mode=0o700, exist_ok=True)
        self.options = ""  # of the tests' sessions: -c name=value
        self.command = write_launcher(self.root / "bin")
        self.config_file = self.root / "etc" / "postgresql.conf" if external_config else None
        if origin:
            self._copy(origin)
        else:
            copy_template(self.installation, self.kind, self.seen(self.data_directory))
            if self.config_file:
                self._move_configuration(self.config_file)
        self.settings = self._settings(archiving) | (settings or {})
        self._write_settings()
        self.config: dict[str, Any] = {}
        self.write_config(**(elsewhere.config() if elsewhere else {}))
        Repository(str(self.seen(self.repository)), self.name).create()

    def seen(self, path: Path) -> Path:
        """A path of the cluster as this process sees it: a small disk is mounted in another name space."""
        if self.disk and path.is_relative_to(self.disk.mountpoint):
            return self.disk.view / path.relative_to(self.disk.mountpoint)
        return path

    # -- configuration ---------------------------------------------------------------------------------

    def _settings(self, archiving: bool) -> dict[str, str]:
        segment = self.kind.segment_mb
        settings = {
            "listen_addresses": "",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_directory),
            "shared_buffers": "16MB",
            "max_connections": "40",
            "max_wal_senders": "5",
            "max_prepared_transactions": "10",
            "min_wal_size": f"{max(32, 2 * segment)}MB",
            "max_wal_size": f"{max(128, 4 * segment)}MB",
            "fsync": "off",
            "autovacuum": "off",
            "jit": "off",
            "track_commit_timestamp": "on",
            "log_min_messages": "info",
            "log_line_prefix": "%m [%p] ",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "wal_level": "replica",
        }
        if archiving:
            settings["archive_mode"] = "on"
            settings["archive_command"] = f"{self.command} archive-push --config {self.config_path} %p"
        return settings

    def _move_configuration(self, target: Path) -> None:
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
            shutil.move(self.seen(self.data_directory / name), target.with_name(name))
        with open(target, "a") as handle:
            handle.write(f"data_directory = '{self.data_directory}'\n")
            handle.write(f"hba_file = '{target.with_name('pg_hba.conf')}'\n")
            handle.write(f"ident_file = '{target.with_name('pg_ident.conf')}'\n")

    def _copy(self, origin: Cluster) -> None:
        shutil.copytree(origin.data_directory, self.data_directory, symlinks=True)
        shutil.copytree(origin.repository, self.repository, symlinks=True, dirs_exist_ok=True)
        if self.config_file and origin.config_file:
            for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
                text = origin.config_file.with_name(name).read_text()
                self.config_file.with_name(name).write_text(text.replace(str(origin.root), str(self.root)))

    def _write_settings(self) -> None:
        path = self.config_file or self.seen(self.data_directory / "postgresql.conf")
        kept = path.read_text().partition("# -- the tests' settings")[0]
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        path.write_text(kept + "# -- the tests' settings\n" + "\n".join(lines) + "\n")

    def set(self, **settings: str) -> None:
        """Change settings of the server; they hold after :meth:`reload` or a restart."""
        self.settings |= settings
        self._write_settings()

    def write_config(self, **changes: Any) -> None:
        """Write the host command's configuration; ``changes`` stay for later calls."""
        if not self.config:
            self.config = {
                "format": 1,
                "cluster": self.name,
                "version": str(self.installation.major),
                "data_directory": str(self.data_directory),
                "bin_directory": str(self.installation.bin_directory),
                "config_file": str(self.config_file) if self.config_file else None,
                "socket_directory": str(self.socket_directory),
                "port": self.port,
                "superuser": SUPERUSER,
                "backup_user": BACKUP_USER,
                "service": {"manager": "pg_ctl", "unit": None},
                "repository": str(self.repository),
                "state_directory": str(self.state_directory),
                "objectives": {"rpo_seconds": 900, "rto_seconds": 1800},
                "backup": {"compression_level": 1, "max_rate_kbytes": None},
                "command": str(self.command),
                "language": "en",
            }
        self.config |= changes
        self.config_path.write_text(json.dumps(self.config, indent=2))

    # -- the server ------------------------------------------------------------------------------------

    def program(self, name: str, *argv: str, timeout: float = 240.0) -> str:
        """Run one of PostgreSQL's programs of this major; it must end well."""
        return run(
            [*self.enter, self.installation.program(name), *argv],
            environment=self.installation.environment,
            timeout=timeout,
        )

    def start(self) -> Cluster:
        """Start the server and wait until it takes connections."""
        argv = ["start", "-w", "-t", "180", "-s", "-D", str(self.data_directory), "-l", str(self.server_log)]
        if self.config_file:
            argv += ["-o", f"-c config_file={self.config_file}"]
        # pg_ctl leaves its output open in the server: it must not be a pipe that we would wait for.
        with open(self.log_directory / "pg_ctl.log", "ab") as log:
            status = subprocess.call(
                [*self.enter, self.installation.program("pg_ctl"), *argv],
                env=self.installation.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                timeout=240,
            )
        assert status == 0, self.log()
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stop the server as pg_ctl does."""
        self.program(
            "pg_ctl", "stop", "-w", "-t", "180", "-s", "-m", mode, "-D", str(self.data_directory), timeout=240
        )

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Have the settings read again; who connects from now on has the new ones.

        Processes that are there already (the archiver, too) hear of it a little later.
        """
        before = self._loaded_at()
        self.program("pg_ctl", "reload", "-s", "-D", str(self.data_directory))
        if before is not None:
            # Files with mistakes are never loaded, and whoever wrote such ones looks for himself.
            with contextlib.suppress(AssertionError):
                wait_for(lambda: self._loaded_at() != before, "the settings to be loaded", timeout=20)

    def _loaded_at(self) -> Any:
        with contextlib.suppress(psycopg.Error):
            return self.value("SELECT pg_conf_load_time()")
        return None

    def crash(self) -> None:
        """kill -9 of the postmaster, and wait until its children have gone too."""
        pid = self.pid
        assert pid is not None, "the server does not run"
        kill_postmaster(pid)

    @property
    def pid(self) -> int | None:
        """The postmaster's pid, or None when it doesn't run."""
        return postmaster_pid(self.seen(self.data_directory))

    @property
    def running(self) -> bool:
        """Whether a postmaster runs on the data directory."""
        return self.pid is not None

    @property
    def server_log(self) -> Path:
        """Where the server writes its messages when this harness starts it."""
        return self.log_directory / "server.log"

    def log(self) -> str:
        """The end of the server's messages."""
        return self.server_log.read_text(errors="replace")[-6000:] if self.server_log.exists() else "(no log)"

    # -- SQL -------------------------------------------------------------------------------------------

    def dsn(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """How libpq finds the server."""
        return f"host={self.socket_directory} port={self.port} dbname={database} user={user} options='{self.options}'"

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> psycopg.Connection[Any]:
        """A connection in autocommit mode."""
        return psycopg.connect(self.dsn(database, user), autocommit=True, connect_timeout=60)

    def sql(self, query: str, *values: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *values: Any, database: str = "postgres") -> Any:
        """The first column of the first row."""
        return self.sql(query, *values, database=database)[0][0]

    # -- WAL -------------------------------------------------------------------------------------------

    @property
    def system_id(self) -> str:
        """The system identifier, from pg_controldata."""
        return self.control()["Database system identifier"]

    def control(self) -> dict[str, str]:
        """What pg_controldata says."""
        text = self.program("pg_controldata", "-D", str(self.data_directory))
        return {
            name.strip(): value.strip()
            for name, _dummy, value in (line.partition(":") for line in text.splitlines())
        }

    def current_segment(self) -> str:
        """The name of the segment that holds the newest record."""
        return str(self.value("SELECT pg_walfile_name(pg_logical_emit_message(false, 'test', 'x'))"))

    def switch_wal(self) -> str:
        """Make sure that the current segment holds something, end it and return its name."""
        name = self.current_segment()
        self.sql("SELECT pg_switch_wal()")
        return name

    def archive_all(self, timeout: float = 240.0) -> str:
        """End the current segment and wait until it, and so all before it, has been archived."""
        name = self.switch_wal()
        done = self.archive_status / f"{name}.done"
        try:
            wait_for(lambda: done.exists() or self._recycled(name), f"{name} archived", timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None
        return name

    def _recycled(self, name: str) -> bool:
        status = self.archive_status
        return not (status / f"{name}.ready").exists() and not (status.parent / name).exists()

    @property
    def archive_status(self) -> Path:
        """Where the server notes what is ready to be archived and what is done."""
        return self.seen(self.data_directory / "pg_wal" / "archive_status")

    @property
    def wal_directory(self) -> Path:
        """The repository's directory of the cluster's first timeline."""
        return self.timeline_directory(1)

    def timeline_directory(self, timeline: int) -> Path:
        """The repository's directory of one timeline."""
        return self.repository / self.name / "wal" / self.system_id / f"{timeline:08X}"

    def archived_segments(self, timeline: int = 1) -> list[Path]:
        """The stored segments of a timeline, oldest first."""
        directory = self.timeline_directory(timeline)
        return sorted(
            path
            for path in directory.iterdir()
            if len(path.name.partition(".")[0]) == 24 and path.suffix == ".zst"
        )

    # -- the host command ------------------------------------------------------------------------------

    def keeper_argv(self, command: str, *argv: str) -> list[str]:
        """The command line of the host command for this cluster."""
        return [*self.enter, str(self.command), command, "--config", str(self.config_path), "--json", *argv]

    def keeper(
        self,
        command: str,
        *argv: str,
        environment: dict[str, str] | None = None,
        kill_at: str | None = None,
        timeout: float = 400.0,
    ) -> Answer:
        """Run the host command to its end.

        ``kill_at`` is ``step:begun`` or ``step:done`` of its journal, where it kills itself.
        """
        return self.keeper_start(command, *argv, environment=environment, kill_at=kill_at).wait(timeout)

    def keeper_start(
        self,
        command: str,
        *argv: str,
        environment: dict[str, str] | None = None,
        kill_at: str | None = None,
        pause_at: str | None = None,
        hold_get: str | None = None,
    ) -> Running:
        """Start the host command.

        With ``pause_at`` it stands still at a step of its journal; with ``hold_get``, the name of a segment,
        its staged server gets no answer when it asks for that segment.
        """
        chosen = {**os.environ, STEPS_FILE: str(self.root / "steps"), **(environment or {})}
        pause_file = None
        if kill_at:
            chosen[KILL_AT] = kill_at
        if pause_at or hold_get:
            pause_file = self.root / f"resume-{len(list(self.root.glob('resume-*')))}"
        if pause_at:
            chosen |= {PAUSE_AT: pause_at, PAUSE_FILE: str(pause_file)}
        if hold_get:
            chosen |= {HOLD_GET: hold_get, HOLD_FILE: str(pause_file)}
        return Running(self.keeper_argv(command, *argv), chosen, pause_file)

    def steps(self) -> list[str]:
        """Every journal step passed so far by commands of this cluster, as ``step:status``."""
        path = self.root / "steps"
        return path.read_text().split() if path.exists() else []

    # -- "nothing changed" -----------------------------------------------------------------------------

    def world(self) -> dict[str, str]:
        """All that a refused operation must not change.

        The data directory and the tablespaces (of a running server without what changes by itself), what lies
        beside them, the postmaster, and every backup and segment in the repository.
        """
        return {"postmaster": str(self.pid)} | fingerprint(
            self.seen(self.data_directory),
            self.tablespaces(),
            self.seen(self.repository) / self.name,
            alive=self.running,
        )

    def add_tablespace(self, name: str) -> Path:
        """A new tablespace in a directory of its own beside the data directory's parent."""
        place = self.root / "tablespaces" / name
        self.seen(place).mkdir(parents=True, mode=0o700)
        self.sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        return place

    def tablespaces(self) -> dict[str, Path]:
        """The places of all tablespaces outside of the data directory, by oid, as this process sees them."""
        links = self.seen(self.data_directory / "pg_tblspc")
        found = {path.name: path for path in links.iterdir() if path.is_symlink()} if links.is_dir() else {}
        return {oid: self.seen(Path(os.readlink(link))) for oid, link in sorted(found.items())}

    @contextlib.contextmanager
    def unchanged(self, *but_for: str) -> Iterator[None]:
        """Assert that the block changes nothing of :meth:`world`, but for facts that begin so."""
        if self.running:
            self.sql("CHECKPOINT")
            at_rest(self)
        before = self.world()
        yield
        changes = [line for line in difference(before, self.world()) if not line[2:].startswith(but_for)]
        assert not changes, "something changed:\n" + "\n".join(changes[:40])
