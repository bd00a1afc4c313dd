# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Would a server start with these settings? Found out with a throw-away cluster, while the real one runs on.

What parses may still not start: more shared memory than the host gives, a library that is not installed. The
throw-away cluster listens nowhere but in its own directory, archives nothing, connects to nothing.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.postmaster import read_pid_file, server_status
from ..core.errors import Failed, KeeperError
from ..core.files import read_json, write_json
from ..core.locks import owner_alive, owner_record
from ..core.run import run, start, stop_group
from .candidate import scratch
from .memory import Held, fits_alone, held_by
from .text import quote

_POLL_SECONDS = 0.02
_START_SECONDS = 60.0
#: Segments larger than this are not worth their time: only min_wal_size is judged by them.
_LARGEST_SEGMENT = 64 << 20
_TELLING = ("FATAL:", "PANIC:", "ERROR:", "HINT:", "DETAIL:")
#: What must not reach outside of the trial, or would hide what it says.
_OVERRIDES = {
    "listen_addresses": "",
    "external_pid_file": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
    "lc_messages": "C",
    "log_min_messages": "warning",
    "archive_command": "",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "restore_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "bonjour": "off",
    "fsync": "off",
    "autovacuum": "off",
    "cluster_name": "dbkeeper trial",
}
#: Said by files, but of the place and not of the settings.
_LEFT_OUT = ("data_directory", "config_file", "hba_file", "ident_file")
#: Of the real server's place: its ports may be taken, its directories missing, its memory in somebody's hands.
_REAL_PLACE = ("port", "unix_socket_directories", "huge_pages", "shared_buffers")
_UNNAMED = 2
_SWEEP_SECONDS = 10.0
_OWNER = "owner.json"
_LITTLE_MEMORY = "16MB"
_RELATIVE = (
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_ca_file",
    "ssl_crl_file",
    "ssl_crl_dir",
    "ssl_dh_params_file",
)


class Trial:
    """A throw-away cluster that can be started with one set of settings after the other."""

    def __init__(self, config: ClusterConfig, directory: str, *, running: bool = False) -> None:
        """``running``: the real server runs beside it, and holds what it holds."""
        self._config = config
        self._directory = directory
        self._held = held_by(server_status(config.data_directory).pid) if running else Held()
        self._data = f"{directory}/data"
        write_json(f"{directory}/{_OWNER}", owner_record("trial of settings"))
        run(
            [
                config.program("initdb"),
                *("-D", self._data, "-U", config.superuser, "-A", "trust", "-E", "UTF8"),
                *("--locale=C", "--no-sync", "--no-instructions", f"--wal-segsize={self._segment_mb()}"),
            ],
            attempted="make a throw-away cluster to try the settings",
            remedy="See that there is space for 100 MB of temporary files. Nothing was changed.",
            timeout=120,
        )

    def _segment_mb(self) -> int:
        """min_wal_size is judged by the size of a segment."""
        if not os.path.isdir(self._config.data_directory):
            return 16
        control = read_control_data(self._config.bin_directory, self._config.data_directory)
        return min(control.wal_segment_size, _LARGEST_SEGMENT) >> 20

    def attempt(self, settings: Mapping[str, str]) -> str | None:
        """None when a server started with the settings and took a connection, else its words."""
        words = self._attempt(settings)
        if words is not None and fits_alone(words, self._held):
            # It lacks only what the real server holds: all else is tried with less memory.
            return self._attempt({**settings, "shared_buffers": _LITTLE_MEMORY})
        return words

    def _attempt(self, settings: Mapping[str, str]) -> str | None:
        main = f"{self._directory}/trial.conf"
        with open(main, "w", encoding="utf-8", errors="surrogateescape") as handle:
            for name, value in self._adapted(settings).items():
                handle.write(f"{name} = {quote(value)}\n")
        log_path = f"{self._directory}/trial.log"
        with open(log_path, "wb") as log:
            process = start(
                [self._config.program("postgres"), "-D", self._data, "-c", f"config_file={main}"],
                stdout=log.fileno(),
                stderr=log.fileno(),
                cwd=self._directory,
            )
            try:
                failure = self._wait(process) or self._connect(settings)
            finally:
                self._stop(process)
        if failure is None:
            return None
        return _telling(log_path) or failure

    def _adapted(self, settings: Mapping[str, str]) -> dict[str, str]:
        adapted = {name: value for name, value in settings.items() if name not in _LEFT_OUT}
        for name in _RELATIVE:
            if adapted.get(name):
                adapted[name] = os.path.join(self._config.data_directory, adapted[name])
        adapted |= _OVERRIDES
        adapted["unix_socket_directories"] = self._directory
        if self._config.major >= 15:
            adapted["archive_library"] = ""
        else:
            adapted["stats_temp_directory"] = "pg_stat_tmp"
        if self._held.huge_pages and adapted.get("huge_pages") == "on":
            # The pages are in the real server's hands until it stops.
            adapted["huge_pages"] = "try"
        return adapted

    def _wait(self, process: subprocess.Popen[bytes]) -> str | None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return f"the server ended with status {process.returncode}"
            found = read_pid_file(self._data)
            if found is not None and found.pid == process.pid and found.status == "ready":
                return None
            time.sleep(_POLL_SECONDS)
        return f"the server took no connections within {_START_SECONDS:g} s"

    def _connect(self, settings: Mapping[str, str]) -> str | None:
        """A library that sessions load (session_preload_libraries) stops every connection, not the server."""
        argv = [self._config.program("psql"), "-X", "-q", "-w", "-A", "-t", "-h", self._directory]
        argv += ["-p", settings.get("port", "5432"), "-U", self._config.superuser, "-d", "postgres"]
        done = run([*argv, "-c", "SELECT 1"], attempted="connect to the trial", accept=range(256), timeout=30)
        return None if done.status == 0 else done.err.strip() or "no connection"

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                stop_group(process)


def _telling(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as handle:
        lines = handle.read().splitlines()
    return "\n".join([line for line in lines if any(mark in line for mark in _TELLING)][:6])


def sweep() -> None:
    """Stop and remove what a killed run has left of its trials."""
    for directory in glob.glob("/tmp/dbkeeper-trial-*") + glob.glob("/var/tmp/dbkeeper-trial-*"):
        try:  # another's trial may end, and take its directory away, at any moment
            if os.stat(directory).st_uid != os.geteuid():
                continue
            owner = read_json(f"{directory}/{_OWNER}", attempted="see whose trial it is")
        except (OSError, KeeperError):
            continue
        if owner_alive(owner):
            continue
        _end_all_in(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _end_all_in(directory: str) -> None:
    """A server that was just starting has no pid file yet; its command line names the directory from the first."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while pids := _working_in(directory):
        late = time.monotonic() > deadline
        if time.monotonic() > 2 * _SWEEP_SECONDS + deadline:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGQUIT)
        time.sleep(_POLL_SECONDS)


def _working_in(directory: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as handle:
                if (
                    f"{directory}/".encode() in handle.read()
                    and os.stat(f"/proc/{name}").st_uid == os.geteuid()
                ):
                    found.append(int(name))
    return found


def try_settings(
    config: ClusterConfig, before: Mapping[str, str], after: Mapping[str, str], *, running: bool
) -> dict[str, Any] | None:
    """None when a server starts with ``after``; else ``culprit`` (names) and the server's ``words``.

    ``before`` are settings that a server has started with. Raises :class:`Failed` (``program-failed`` and the
    like) when no trial could be made at all.
    """
    with scratch("trial") as directory:
        trial = Trial(config, directory, running=running)
        words = trial.attempt(after)
        if words is None:
            return None
        return {"culprit": _culprit(trial, before, after, words), "words": words}


def find_culprit(
    config: ClusterConfig, before: Mapping[str, str], after: Mapping[str, str], words: str
) -> dict[str, Any]:
    """Which settings keep a server from starting, after the real one did not: ``culprit`` and ``words``.

    Where the throw-away cluster starts, see :func:`beyond_the_trial`. Nothing changed: it is the place.
    """
    try:
        found = try_settings(config, before, after, running=False)
    except Failed:
        # The search is a service; the real server's words are worth more than its failure.
        found = None
    culprit = found["culprit"] if found else beyond_the_trial(before, after, words)
    return {"culprit": culprit, "words": words or (found or {}).get("words", "")}


def beyond_the_trial(before: Mapping[str, str], after: Mapping[str, str], words: str) -> list[str]:
    """Changed settings that the real server's words name; else those that only it can judge; else all. Pure."""
    changed = changed_names(before, after)
    named = [name for name in changed if _rank(name, after, words) < _UNNAMED]
    return named or [name for name in changed if name in (*_OVERRIDES, *_REAL_PLACE)] or changed


def changed_names(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Settings with another value, or set in one of the two only, by name. Pure."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def by_suspicion(names: list[str], after: Mapping[str, str], words: str) -> list[str]:
    """Those that the server's words name, or whose value they name, first. Pure."""

    return sorted(names, key=lambda name: (_rank(name, after, words), name))


def _rank(name: str, after: Mapping[str, str], words: str) -> int:
    value = after.get(name, "")
    if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words):
        return 0
    return 1 if len(value) > 2 and value in words else _UNNAMED


def _culprit(trial: Trial, before: Mapping[str, str], after: Mapping[str, str], words: str) -> list[str]:
    """The first change that alone keeps it from starting; else one without which it starts."""
    names = by_suspicion(changed_names(before, after), after, words)
    base_starts = trial.attempt(before) is None
    for name in names:
        if base_starts:
            only = {**before, name: after[name]} if name in after else _without(before, name)
            if trial.attempt(only) is not None:
                return [name]
    for name in names:
        back = {**after, name: before[name]} if name in before else _without(after, name)
        if trial.attempt(back) is None:
            return [name]
    return []


def _without(settings: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key != name}
