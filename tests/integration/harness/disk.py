# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A really small disk for an ordinary user: tmpfs in a name space where programs are sent with a prefix."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .waiting import wait_for

# The outer name space may mount; the inner one gives the programs their ordinary user back, because a server
# refuses to run as (even a pretended) root.
_HOLD = (
    'mount -t tmpfs -o size="$1",nr_inodes="$5",mode=0755 dbkeeper-test "$2" && '
    'exec unshare --user --mount --map-user="$3" --map-group="$4" sh -c \'echo ready; exec sleep infinity\''
)


class SmallDisk:
    """A file system of ``size_mb`` at ``mountpoint``; only programs started with :attr:`enter` see it.

    ``inodes``: for so many files and directories.
    """

    def __init__(self, mountpoint: Path, size_mb: int, inodes: int = 100_000) -> None:
        mountpoint.mkdir(parents=True)
        self.mountpoint = mountpoint
        argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _HOLD, "sh", f"{size_mb}m"]
        argv += [str(mountpoint), str(os.getuid()), str(os.getgid()), str(inodes)]
        self._holder = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None and self._holder.stderr is not None
        answer = self._holder.stdout.readline()
        assert answer == "ready\n", self._holder.stderr.read()

    @property
    def enter(self) -> tuple[str, ...]:
        """Put before a command line: the program sees the disk and keeps its user."""
        program = shutil.which("nsenter")
        assert program is not None
        return (program, "-t", str(self._holder.pid), "--user", "--mount", "--preserve-credentials", "--")

    @property
    def view(self) -> Path:
        """The mount point as seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root{self.mountpoint}")

    def free_bytes(self) -> int:
        """What an ordinary user may still write."""
        facts = os.statvfs(self.view)
        return facts.f_bavail * facts.f_frsize

    def fill(self, leave_bytes: int) -> Path:
        """Write a file that leaves only so much free."""
        ballast = self.view / "ballast"
        with open(ballast, "ab") as handle:
            while (missing := self.free_bytes() - leave_bytes) > 0:
                handle.write(bytes(min(missing, 1 << 20)))
                handle.flush()
        return ballast

    def free_inodes(self) -> int:
        """How many files may still be made."""
        return os.statvfs(self.view).f_favail

    def fill_inodes(self, leave: int) -> Callable[[], None]:
        """Make empty files until only so many more can be made; returns what removes them."""
        ballast = self.view / "empty"
        ballast.mkdir()
        for number in range(self.free_inodes() - leave):
            (ballast / str(number)).touch()
        return lambda: shutil.rmtree(ballast)

    def close(self) -> None:
        """The disk goes with the last process that sees it."""
        self._holder.kill()
        self._holder.communicate()
        wait_for(lambda: not os.path.exists(f"/proc/{self._holder.pid}"), "the end of the disk's holder")
