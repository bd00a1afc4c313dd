# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Processes: run a program, remember who a process is, signal only that one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class BedError(Exception):
    """Something the caller can read and act on."""


def run(
    *command: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> str:
    """Run a program to its end and return its output; a failure carries what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=None if env is None else {**os.environ, **env},
        pass_fds=pass_fds,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise BedError(f"exit status {done.returncode} from: {' '.join(words)}\n{tail}")
    return done.stdout


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BedError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State letter, parent and start time, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name stands in parentheses and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


@dataclass(frozen=True)
class ProcessId:
    """One process for ever: numbers are used again, number + start time + boot are not."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat[2], _boot())

    @classmethod
    def load(cls, data: Mapping[str, object] | None) -> ProcessId | None:
        if data is None:
            return None
        return cls(int(str(data["pid"])), int(str(data["started"])), str(data["boot"]))

    def alive(self) -> bool:
        stat = _stat(self.pid)
        return stat is not None and stat[0] not in "ZX" and stat[2] == self.started and _boot() == self.boot

    def send(self, signum: int) -> bool:
        """Signal this process and no successor of its number; False when it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # Checked after opening: from here on the handle cannot come to mean another process.
            if not self.alive():
                return False
            signal.pidfd_send_signal(handle, signum)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)

    def wait(self, seconds: float) -> None:
        wait_until(lambda: not self.alive(), seconds, f"process {self.pid} to end")


def children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in thread.read_text(encoding="ascii").split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended while we looked
    return found


def is_namespace_init(pid: int) -> bool:
    """Whether the process is number 1 of an own process namespace."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"


def _ancestors(pid: int) -> Iterator[int]:
    while (stat := _stat(pid)) is not None and stat[1] > 1:
        pid = stat[1]
        yield pid


def molecule_test_ancestor() -> ProcessId | None:
    """The `molecule test` that called us, if one did: hosts it made are leftovers once it is dead.

    `molecule create` and `converge` end at once and leave their hosts on purpose, so they own nothing.
    """
    for pid in _ancestors(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        program = next((place for place, word in enumerate(words[:3]) if Path(word).name == "molecule"), None)
        if program is None:
            continue
        arguments = words[program + 1 :]
        keeps = any(word in ("never", "--destroy=never") for word in arguments)
        return ProcessId.of(pid) if "test" in arguments and not keeps else None
    return None
