# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The commands that start and stop a server, for each service manager. Pure, but for running them."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..core.errors import Failed, Refused
from ..core.privilege import started_as_root
from ..core.run import Completed, start, stop_group
from .config import ClusterConfig

STOP_MODES = ("smart", "fast", "immediate")


@dataclass(frozen=True)
class Command:
    """A command line, and whether it needs root's powers."""

    argv: tuple[str, ...]
    privileged: bool = False
    accept: tuple[int, ...] = (0,)


def check_powers(config: ClusterConfig, attempted: str, *, root: bool) -> None:
    """Raises :class:`Refused` (``needs-root``) before anything is touched."""
    if config.service.manager == "systemd" and not root:
        raise Refused(
            "needs-root",
            attempted=attempted,
            happened=f"the server is the systemd unit {config.service.unit}, which only root may control",
            remedy=f"Run the same command as root (it works as the owner of {config.data_directory} all the same).",
        )


def server_log(config: ClusterConfig) -> str:
    """Where a server started with plain pg_ctl writes what it says before its own logging begins."""
    return f"{config.state_directory}/server.log"


def start_commands(
    config: ClusterConfig, timeout: float, *, unit_active: bool = False, root: bool = False
) -> list[Command]:
    """How the server is started. ``unit_active``: systemd believes that a server which is gone still runs."""
    service = config.service
    if service.manager == "systemd":
        verb = "restart" if unit_active else "start"
        # A unit that failed too often is not started again before this; it says nothing when there is none.
        return [
            Command(("systemctl", "reset-failed", str(service.unit)), True, (0, 1, 5)),
            Command(("systemctl", verb, str(service.unit)), True),
        ]
    if service.manager == "pg_ctlcluster":
        return [
            Command(
                ("pg_ctlcluster", "--skip-systemctl-redirect", config.version, config.cluster, "start"), root
            )
        ]
    argv = [
        config.program("pg_ctl"),
        "start",
        "-D",
        config.data_directory,
        "-s",
        "-W",
        "-l",
        server_log(config),
    ]
    if config.config_file:
        argv += ["-o", f"-c config_file={shlex.quote(config.config_file)}"]
    return [Command(tuple(argv))]


def stop_commands(config: ClusterConfig, mode: str, timeout: float, *, root: bool = False) -> list[Command]:
    """How the server is stopped. A unit is told too, so that systemd and the truth agree."""
    service = config.service
    plain = pg_ctl(config, "stop", "-m", mode, "-W")
    if service.manager == "systemd":
        unit = Command(("systemctl", "stop", str(service.unit)), True)
        return [unit] if mode == "fast" else [plain, unit]
    if service.manager == "pg_ctlcluster":
        argv = (
            "pg_ctlcluster",
            "--skip-systemctl-redirect",
            "-m",
            mode,
            config.version,
            config.cluster,
            "stop",
        )
        options = ("--", "-t", str(int(timeout)))
        # 2: it was not running, which is what is wanted.
        return [Command(argv + options, root, (0, 2))]
    return [plain]


def pg_ctl(config: ClusterConfig, verb: str, *options: str) -> Command:
    """PostgreSQL's own control program, as the owner of the data directory."""
    return Command((config.program("pg_ctl"), verb, "-D", config.data_directory, "-s", *options))


def execute(
    command: Command,
    *,
    attempted: str,
    remedy: str,
    timeout: float,
    watch: Callable[[], None] | None = None,
) -> Completed:
    """Run a command that may leave a server behind holding its output open: so that goes to a file, not a pipe.

    ``watch`` is called every few hundredths of a second meanwhile. Raises :class:`Failed`:
    ``program-missing``, ``program-timeout``, ``program-failed``.
    """
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryFile() as words:
        try:
            process = start(
                command.argv, stdout=words.fileno(), stderr=words.fileno(), privileged=command.privileged
            )
        except OSError as error:
            raise Failed(
                "program-missing",
                attempted=attempted,
                happened=f"{command.argv[0]} cannot be started: {error.strerror}",
                remedy="Install the package that holds it, or correct service.manager in the cluster's description.",
            ) from error
        while process.poll() is None:
            if time.monotonic() > deadline:
                stop_group(process)
                raise Failed(
                    "program-timeout",
                    attempted=attempted,
                    happened=f"{' '.join(command.argv)} did not end within {timeout:g} s and was stopped",
                    remedy=remedy,
                )
            if watch:
                watch()
            time.sleep(0.02)
        words.seek(0)
        said = words.read().decode(errors="replace").strip()
    if process.returncode not in command.accept:
        raise Failed(
            "program-failed",
            attempted=attempted,
            happened=f"{' '.join(command.argv)} ended with status {process.returncode}: {said[-2000:] or 'no message'}",
            remedy=remedy,
            details={"status": process.returncode, "argv": list(command.argv)},
        )
    return Completed(command.argv, process.returncode, said, "")


def log_sizes(config: ClusterConfig) -> dict[str, int]:
    """The server's log files with their sizes now; what is behind that afterwards is what it said."""
    return {path: _size(path) for path in _logs(config)}


def new_words(config: ClusterConfig, before: dict[str, int]) -> str:
    """What the server wrote since, the telling lines first of all, at most a dozen."""
    lines: list[str] = []
    for path in _logs(config):
        try:
            with open(path, "rb") as handle:
                handle.seek(min(before.get(path, 0), _size(path)))
                lines += handle.read(1 << 20).decode(errors="replace").splitlines()
        except OSError:
            continue
    telling = [
        line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:", "ERROR:", "HINT:"))
    ]
    return "\n".join((telling or lines)[-12:])


def _logs(config: ClusterConfig) -> list[str]:
    paths = [server_log(config), f"/var/log/postgresql/postgresql-{config.version}-{config.cluster}.log"]
    try:
        with open(f"{config.data_directory}/current_logfiles", encoding="utf-8") as handle:
            names = [line.split(" ", 1)[1].strip() for line in handle if line.startswith("stderr ")]
    except OSError:
        names = []
    return paths + [os.path.join(config.data_directory, name) for name in names]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def root_powers() -> bool:
    """Whether this process may use root's powers."""
    return started_as_root()
