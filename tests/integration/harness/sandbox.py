# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One test's place on disk: its files and its processes go when the test ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

from .ports import PortKeeper
from .waiting import wait_for

#: Where throw-away clusters are made; the system's directory for temporary files when not set.
VARIABLE = "DBKEEPER_TEST_DIRECTORY"
KEEP = "DBKEEPER_TEST_KEEP"


class Sandbox:
    """A short path (a socket's may not be longer than 107 bytes), ports, clean-up."""

    def __init__(self, root: Path | None = None) -> None:
        parent = os.environ.get(VARIABLE) or tempfile.gettempdir()
        self.root = root or Path(tempfile.mkdtemp(prefix="dbk-", dir=parent))
        self.ports = PortKeeper()

    def processes(self) -> list[int]:
        """Pids of our processes that name the sandbox in their command line or stand in it."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and self._works_here(int(entry)):
                found.append(int(entry))
        return found

    def stop_all(self) -> None:
        """kill -9 of everything that works here, until nothing is left."""

        def gone() -> bool:
            left = self.processes()
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_for(gone, f"the end of the processes below {self.root}", timeout=240)

    def close(self) -> None:
        """Stop all and remove all; with DBKEEPER_TEST_KEEP in the environment the files stay."""
        self.stop_all()
        self.ports.close()
        if KEEP in os.environ:
            return
        for parent, names, _dummy in os.walk(self.root):
            for name in names:
                # Tests take rights away from directories; a link's target is not ours to change.
                path = os.path.join(parent, name)
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(self.root)

    def _works_here(self, pid: int) -> bool:
        mark = str(self.root).encode()
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                return False
            with open(f"/proc/{pid}/stat", "rb") as handle:
                if handle.read().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                    return False
            with open(f"/proc/{pid}/cmdline", "rb") as handle:
                if any(_below(part, mark) for part in handle.read().split(b"\0")):
                    return True
            return _below(os.readlink(f"/proc/{pid}/cwd").encode(), mark)
        return False


def _below(text: bytes, mark: bytes) -> bool:
    start = text.find(mark)
    return start >= 0 and text[start + len(mark) : start + len(mark) + 1] in (b"", b"/")
