# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One host: its overlay, its identity, its power switch."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cgroups, machine, network
from .addresses import Network, gateway
from .names import Site
from .process import BedError, ProcessId, run, wait_until
from .store import read_json, write_json, write_text

BOOT_SECONDS = 90  # measured: 1.5 to 2.5; the rest is for a busy machine


@dataclass(frozen=True)
class Host:
    """A host as its ``state.json`` describes it; what runs is in ``running.json``."""

    site: Site
    group: str
    name: str
    release: str
    address: str
    image: str
    owner: ProcessId | None
    groups: tuple[Path, ...]

    @property
    def directory(self) -> Path:
        return self.site.host_directory(self.group, self.name)

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def unit(self) -> str:
        return self.site.unit(self.address)

    @classmethod
    def load(cls, site: Site, directory: Path) -> Host | None:
        """None when the directory was left behind half made."""
        state = read_json(directory / "state.json")
        if state is None:
            return None
        return cls(
            site=site,
            group=directory.parent.name,
            name=directory.name,
            release=state["release"],
            address=state["address"],
            image=state["image"],
            owner=ProcessId.load(state["owner"]),
            groups=tuple(Path(path) for path in state["cgroups"]),
        )

    def _save(self) -> None:
        write_json(
            self.directory / "state.json",
            {
                "name": self.name,
                "release": self.release,
                "address": self.address,
                "image": self.image,
                "owner": None if self.owner is None else dataclasses.asdict(self.owner),
                "cgroups": [str(path) for path in self.groups],
                "unit": self.unit,
                "bridge": self.site.bridge,
            },
        )

    # -- what is -----------------------------------------------------------------

    def process(self, role: str) -> ProcessId | None:
        """The living ``runner``, ``nspawn`` or ``leader`` of this host."""
        running = read_json(self.directory / "running.json") or {}
        process = ProcessId.load(running.get(role))
        return process if process is not None and process.alive() else None

    def is_on(self) -> bool:
        return any(self.process(role) is not None for role in ("runner", "nspawn", "leader"))

    def is_switched_off(self) -> bool:
        """Off because somebody wanted it off, with its disk still mounted."""
        return (self.directory / "off").exists() and self.root.is_mount()

    def is_leftover(self) -> bool:
        """Its owner is dead, or it should run and does not (killed runner, rebooted machine)."""
        if self.owner is not None and not self.owner.alive():
            return True
        return self.process("runner") is None and not self.is_switched_off()

    def describe(self) -> dict[str, Any]:
        leader = self.process("leader")
        return {
            "group": self.group,
            "instance": self.name,
            "release": self.release,
            "address": self.address,
            "port": 22,
            "user": "root",
            "identity_file": str(self.site.private_key),
            "power": "on" if self.is_on() else "off",
            "leader": None if leader is None else leader.pid,
            "root": str(self.root),
            "cgroups": [str(path) for path in self.groups],
        }

    # -- make and unmake ----------------------------------------------------------

    def create(self, image_root: Path, net: Network) -> None:
        """Disk and identity; the host is off afterwards."""
        for folder in ("upper", "work", "root"):
            (self.directory / folder).mkdir(parents=True)
        self._save()
        layers = f"lowerdir={image_root},upperdir={self.directory}/upper,workdir={self.directory}/work"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        etc = self.root / "etc"
        write_text(etc / "hostname", f"{self.name}\n")
        write_text(etc / "machine-id", "")
        write_text(etc / "resolv.conf", machine.resolver())
        write_text(
            etc / "systemd/network/10-host0.network",
            f"[Match]\nName=host0\n\n[Network]\nAddress={self.address}/{net.prefixlen}\nGateway={gateway(net)}\n"
            "LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        )
        make_key(etc / "ssh/ssh_host_ed25519_key", self.name)
        allowed = self.site.private_key.with_suffix(".pub").read_text(encoding="utf-8")
        for account in ("root", "home/admin"):
            home = self.root / account
            owner = home.stat()
            (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
            write_text(home / ".ssh/authorized_keys", allowed, mode=0o600)
            for path in (home / ".ssh", home / ".ssh/authorized_keys"):
                os.chown(path, owner.st_uid, owner.st_gid)

    def introduce(self, peers: Iterable[Host]) -> None:
        """Write /etc/hosts: the members of a group know each other by name."""
        lines = ["127.0.0.1 localhost"] + [f"{peer.address} {peer.name}" for peer in peers]
        write_text(self.root / "etc/hosts", "\n".join(lines) + "\n")

    def destroy(self) -> None:
        """Nothing of the host is left afterwards; works from any half-made or half-dead state."""
        destroy_directory(self.directory, self.groups)

    # -- power ----------------------------------------------------------------------

    def power_on(self) -> None:
        if self.is_on():
            return
        if not self.root.is_mount():
            raise BedError(f"the disk of {self.group}/{self.name} is not mounted: take it down and up again")
        network.require_route(self.site)
        (self.directory / "off").unlink(missing_ok=True)
        (self.directory / "running.json").unlink(missing_ok=True)
        with (self.directory / "console.log").open("ab") as console:
            # The package is found by path, whatever the caller's folder is.
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.bed.runner", str(self.directory)],
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

        def started() -> bool:
            if process.poll() is not None:
                raise BedError(f"{self.group}/{self.name} did not start:\n{self.console_tail()}")
            return self.process("leader") is not None

        wait_until(started, 30, f"{self.group}/{self.name} to start")

    def wait_ready(self) -> None:
        def ready() -> bool:
            if not self.is_on():
                raise BedError(f"{self.group}/{self.name} ended while booting:\n{self.console_tail()}")
            return network.ssh_answers(self.address)

        wait_until(ready, BOOT_SECONDS, f"ssh on {self.group}/{self.name}")

    def cut_power(self) -> None:
        """The plug is pulled. Killing nspawn instead would leave the host running as an orphan."""
        (self.directory / "off").touch()
        leader = self.process("leader")
        if leader is not None:
            leader.send(signal.SIGKILL)
        wait_until(lambda: not self.is_on(), 30, f"{self.group}/{self.name} to be off")

    def shut_down(self) -> None:
        (self.directory / "off").touch()
        self._tell_init(signal.SIGRTMIN + 4)  # systemd: start poweroff.target
        wait_until(lambda: not self.is_on(), BOOT_SECONDS, f"{self.group}/{self.name} to shut down")

    def reboot(self) -> None:
        before = self.process("leader")
        self._tell_init(signal.SIGRTMIN + 5)  # systemd: start reboot.target

        def restarted() -> bool:
            return self.process("leader") not in (None, before)

        wait_until(restarted, BOOT_SECONDS, f"{self.group}/{self.name} to reboot")

    def _tell_init(self, signum: int) -> None:
        leader = self.process("leader")
        if leader is None or not leader.send(signum):
            raise BedError(f"{self.group}/{self.name} is off")

    def console_tail(self) -> str:
        path = self.directory / "console.log"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-15:])


def destroy_directory(directory: Path, groups: Iterable[Path]) -> None:
    """Processes first, then mounts, then files, then control groups."""
    (directory / "off").touch()
    running = read_json(directory / "running.json") or {}
    # The leader's end ends nspawn, and that the runner, in this order: each is waited for by its parent.
    # What outlives that has lost its parent before.
    for role in ("leader", "nspawn", "runner"):
        process = ProcessId.load(running.get(role))
        if process is None:
            continue
        if role == "leader" or not _ends(process, 5):
            process.send(signal.SIGKILL)
        process.wait(30)
    cgroups.empty(groups)
    for mount in mounts_below(directory):
        run("umount", mount)
    shutil.rmtree(directory)
    cgroups.remove(groups)


def _ends(process: ProcessId, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not process.alive()


def make_key(path: Path, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)


def mounts_below(directory: Path) -> list[str]:
    """Mount points in a directory, the innermost first."""
    found = []
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        where = line.split()[1].encode().decode("unicode_escape")
        if Path(where).is_relative_to(directory):
            found.append(where)
    return sorted(found, key=len, reverse=True)
