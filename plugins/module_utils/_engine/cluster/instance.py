# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One server: what it does now, and starting and stopping it so that "done" means done."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

from ..core.errors import Failed, KeeperError, Refused
from ..core.files import make_directory
from ..core.run import run
from .config import ClusterConfig
from .postmaster import PID_FILE, InstanceStatus, server_status, stale_socket_lock
from .psql import answers
from .service import (
    STOP_MODES,
    check_powers,
    execute,
    log_sizes,
    new_words,
    pg_ctl,
    root_powers,
    server_log,
    start_commands,
    stop_commands,
)

__all__ = ["Instance", "InstanceStatus", "Started"]

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Started:
    """A start: ``ready_seconds`` from the command to the first moment in which connections were taken.

    A manager may return later than that (pg_ctlcluster watches its server for two seconds more).
    """

    changed: bool
    status: InstanceStatus
    ready_seconds: float = 0.0
    removed_stale_pid_file: bool = False


class Instance:
    """The server of a cluster, driven through its service manager."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config

    def status(self) -> InstanceStatus:
        """Whether it runs. Asks processes, not the server. Raises :class:`Failed` (``pid-file-unreadable``)."""
        return server_status(self.config.data_directory)

    def start(self, timeout: float = 300.0) -> Started:
        """Start it and return when it takes connections (a standby: read-only ones); no change when it runs.

        Raises :class:`Refused`: ``needs-root``, ``data-directory-missing``, ``server-processes-left``;
        :class:`Failed`: ``server-did-not-start`` with the server's own words, ``server-not-ready`` (it runs,
        but has not taken connections within ``timeout`` seconds).
        """
        config = self.config
        attempted = f"start the server of cluster {config.cluster}"
        status = self.status()
        if status.running:
            self._wait_ready(attempted, time.monotonic() + timeout, timeout)
            return Started(False, self.status())
        check_powers(config, attempted, root=root_powers())
        if not os.path.isfile(f"{config.data_directory}/PG_VERSION"):
            raise Refused(
                "data-directory-missing",
                attempted=attempted,
                happened=f"{config.data_directory} is not a data directory",
                remedy="Correct data_directory in the cluster's description, or restore the cluster.",
            )
        deadline = time.monotonic() + timeout
        self._wait_leftover(attempted, deadline)
        removed = self._remove_stale_pid_file(self.status())
        before = log_sizes(config)
        begun = time.monotonic()
        ready_at: list[float] = []

        def watch() -> None:
            if not ready_at and server_status(config.data_directory).ready:
                ready_at.append(time.monotonic())

        if config.service.manager == "pg_ctl":
            make_directory(os.path.dirname(server_log(config)))
        try:
            for command in start_commands(
                config, timeout, unit_active=self._unit_active(), root=root_powers()
            ):
                execute(command, attempted=attempted, remedy=self._look(), timeout=timeout, watch=watch)
            self._wait_ready(attempted, deadline, timeout, died_after=begun)
        except KeeperError as error:
            if error.code in ("program-missing", "server-not-ready"):
                raise
            raise self._did_not_start(attempted, error, before) from error
        ready = (ready_at[0] if ready_at else time.monotonic()) - begun
        return Started(True, self.status(), round(ready, 3), removed)

    def stop(self, mode: str = "fast", timeout: float = 600.0) -> bool:
        """Stop it and return when its processes are gone; False when it was not running.

        ``mode`` is PostgreSQL's: ``smart`` waits for clients, ``fast`` disconnects them, ``immediate`` is a
        crash that needs recovery. Raises :class:`Refused` (``needs-root``), :class:`Failed` (``server-did-not-stop``).
        """
        if mode not in STOP_MODES:
            raise ValueError(f"no such stop mode: {mode}")
        config = self.config
        attempted = f"stop the server of cluster {config.cluster}"
        status = self.status()
        if not status.running and not status.leftover:
            return False
        deadline = time.monotonic() + timeout
        if status.running:
            check_powers(config, attempted, root=root_powers())
            for command in stop_commands(config, mode, timeout, root=root_powers()):
                execute(command, attempted=attempted, remedy=self._look(), timeout=timeout)
            if config.service.manager == "systemd" and self.status().running:
                # Somebody started it by hand: the unit knows nothing of it.
                execute(
                    pg_ctl(config, "stop", "-m", mode, "-W"),
                    attempted=attempted,
                    remedy=self._look(),
                    timeout=60,
                )
        while True:
            status = self.status()
            if not status.running and not status.leftover:
                return True
            if time.monotonic() > deadline:
                raise Failed(
                    "server-did-not-stop",
                    attempted=attempted,
                    happened=f"after {timeout:g} s {status.reason}",
                    remedy=(
                        "A client or a long checkpoint holds it: look at its log; "
                        f"then run the same command again. Mode {mode!r} was used."
                    ),
                    details=status.to_dict(),
                )
            time.sleep(_POLL_SECONDS)

    def reload(self) -> None:
        """Have it read its settings again. Raises :class:`Refused` (``server-not-running``)."""
        attempted = f"reload the settings of cluster {self.config.cluster}"
        status = self.status()
        if not status.running:
            raise Refused(
                "server-not-running",
                attempted=attempted,
                happened=status.reason,
                remedy="Start it: it reads its settings then.",
            )
        execute(pg_ctl(self.config, "reload"), attempted=attempted, remedy=self._look(), timeout=30)

    def restart(self, timeout: float = 300.0) -> Started:
        """Stop (fast) and start. Raises what these raise."""
        self.stop(timeout=timeout)
        return self.start(timeout)

    def answers(self) -> bool:
        """Whether it takes connections at the configured socket and port."""
        return answers(self.config)

    def _wait_ready(
        self, attempted: str, deadline: float, timeout: float, *, died_after: float | None = None
    ) -> None:
        """Until the server says that it is ready; ``died_after`` is when it was started."""
        seen = False
        while True:
            status = self.status()
            if status.ready:
                break
            seen = seen or status.running
            now = time.monotonic()
            if died_after is not None and not status.running and (seen or now > died_after + 10):
                raise Failed(
                    "server-did-not-start", attempted=attempted, happened=status.reason, remedy=self._look()
                )
            if now > deadline:
                raise Failed(
                    "server-not-ready",
                    attempted=attempted,
                    happened=f"it runs, but takes no connections after {timeout:g} s (recovering, most often)",
                    remedy=f"Let it finish; its log says how far it is. {self._look()}",
                )
            time.sleep(_POLL_SECONDS)

    def _wait_leftover(self, attempted: str, deadline: float) -> None:
        """Children of a killed server hold its shared memory; they end by themselves, as a rule at once."""
        deadline = min(deadline, time.monotonic() + 30)
        while left := self.status().leftover:
            if time.monotonic() > deadline:
                raise Refused(
                    "server-processes-left",
                    attempted=attempted,
                    happened=f"processes {', '.join(map(str, left))} of a killed server still work on the data",
                    remedy="End them by their numbers (kill -QUIT, never -9 first), then run the same command again.",
                    details={"pids": list(left)},
                )
            time.sleep(_POLL_SECONDS)

    def _remove_stale_pid_file(self, status: InstanceStatus) -> bool:
        """Proven dead (C04, C05): PostgreSQL itself would take a zombie or a stranger for the old server."""
        if not status.stale_pid_file or status.running:
            return False
        lock = f"{self.config.socket_directory}/.s.PGSQL.{self.config.port}.lock"
        if stale_socket_lock(lock, self.config.data_directory):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(lock)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.config.data_directory}/{PID_FILE}")
        return True

    def _unit_active(self) -> bool:
        if self.config.service.manager != "systemd":
            return False
        argv = ["systemctl", "is-active", "--quiet", str(self.config.service.unit)]
        # Status 3 and the like: not active, unknown; all mean "start it".
        done = run(argv, attempted="ask systemd for the unit", accept=range(0, 256), privileged=True)
        return done.status == 0

    def _did_not_start(self, attempted: str, cause: KeeperError, before: dict[str, int]) -> Failed:
        words = new_words(self.config, before) or self._unit_words()
        return Failed(
            "server-did-not-start",
            attempted=attempted,
            happened=f"the server says: {words}" if words else cause.happened,
            remedy=f"Mend what the server's words name, then run the same command again. {self._look()}",
            details={"cause": cause.happened, "words": words},
        )

    def _unit_words(self) -> str:
        if self.config.service.manager != "systemd":
            return ""
        argv = ["journalctl", "-u", str(self.config.service.unit), "-n", "15", "--no-pager", "-o", "cat"]
        try:
            return run(argv, attempted="read the unit's journal", accept=(0, 1), privileged=True).out.strip()
        except Failed:
            # No journal: the cause that is being reported is worth more than that.
            return ""

    def _look(self) -> str:
        service = self.config.service
        if service.manager == "systemd":
            return f"Its words: journalctl -u {service.unit}."
        if service.manager == "pg_ctlcluster":
            return (
                f"Its words: /var/log/postgresql/postgresql-{self.config.version}-{self.config.cluster}*.log."
            )
        return f"Its words: {server_log(self.config)}."
