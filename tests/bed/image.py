# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""One image per Debian release: made once, kept outside the checkout, never booted itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import machine
from .names import CACHE_ROOT
from .process import BedError, run
from .store import locked, write_json, write_text

RECIPE = 3  # raise it when the steps below change

# What a managed host has before any role runs: an init, ssh, Python, sudo.
BASE = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "iproute2",
    "ca-certificates",
    "procps",
]
# Tools that tests need and roles do not.
TEST_TOOLS = ["curl", "faketime", "iputils-ping", "nftables", "openssl"]
# Only downloaded: a role's install is then a real one, but independent of the mirror's mood.
CACHED = [
    "postgresql",
    "postgresql-common",
    "postgresql-contrib",
    "postgresql-client",
    "python3-psycopg",
    "zstd",
    "cron",
    "logrotate",
    "pgbackrest",
    "pgbouncer",
    "acl",
    "rsync",
    "locales",
    "ssl-cert",
]

_APT = """\
APT::Install-Recommends "false";
Acquire::Languages "none";
Dpkg::Options { "--force-unsafe-io"; };
"""


@dataclass(frozen=True)
class Release:
    name: str
    stable: bool = True  # has -updates and -security
    script: str | None = None  # debootstrap's script when its own name is unknown to older versions


RELEASES = {
    release.name: release
    for release in (Release("bookworm"), Release("trixie"), Release("forky", stable=False, script="sid"))
}


def release(name: str) -> Release:
    if name not in RELEASES:
        raise BedError(f"no recipe for release {name!r}: known are {', '.join(RELEASES)}")
    return RELEASES[name]


def key(wanted: Release, mirror: machine.Mirror) -> str:
    """Changes with everything that changes the image's content."""
    parts = [RECIPE, asdict(wanted), BASE, TEST_TOOLS, CACHED, _APT, asdict(mirror)]
    return f"{wanted.name}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"


def ensure(name: str, say: Callable[[str], None], cache: Path = CACHE_ROOT) -> Path:
    """The image's root directory; builds it when it is not in the cache."""
    wanted, mirror = release(name), machine.mirror()
    image = cache / key(wanted, mirror)
    if image.is_dir():
        return image / "root"
    # Children inherit the lock: if we are killed, nobody else builds or cleans until they ended too.
    with locked(cache / f"{image.name}.lock") as lock:
        if image.is_dir():
            return image / "root"
        for leftover in cache.glob(f".build-{image.name}-*"):
            shutil.rmtree(leftover)
        say(f"building the {name} image (about a minute, kept in {cache})")
        draft = Path(tempfile.mkdtemp(prefix=f".build-{image.name}-", dir=cache))
        draft.chmod(0o755)
        _build(draft / "root", wanted, mirror, lock)
        write_json(draft / "image.json", {"release": name, "installed": BASE + TEST_TOOLS, "cached": CACHED})
        draft.rename(image)
    return image / "root"


def _build(root: Path, wanted: Release, mirror: machine.Mirror, lock: int) -> None:
    def private(*command: str | Path) -> None:
        # Own mount and process namespaces: whatever is mounted or started ends with the command.
        wrapper = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        run(*wrapper, *command, env=machine.QUIET, pass_fds=(lock,))

    def inside(*command: str | Path) -> None:
        script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
        private("sh", "-c", script, root, *command)

    # debootstrap's dpkg, too: an image that is not finished is thrown away, so nothing is gained by waiting for disks.
    (root / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True)
    write_text(root / "etc/dpkg/dpkg.cfg.d/bed", "force-unsafe-io\n")
    script = (f"/usr/share/debootstrap/scripts/{wanted.script}",) if wanted.script else ()
    options = ("--variant=minbase", "--merged-usr", f"--include={','.join(BASE)}")
    private("debootstrap", *options, wanted.name, root, mirror.archive, *script)

    etc = root / "etc"
    (etc / "resolv.conf").unlink(missing_ok=True)
    write_text(etc / "resolv.conf", machine.resolver())
    write_text(etc / "apt/sources.list", sources(wanted, mirror))
    write_text(etc / "apt/apt.conf.d/99bed", _APT + mirror.settings)
    # Nothing may start while packages are unpacked here; removed below or services never start in hosts.
    policy = root / "usr/sbin/policy-rc.d"
    write_text(policy, "#!/bin/sh\nexit 101\n", mode=0o755)
    inside("apt-get", "-q", "update")
    inside("apt-get", "-q", "-y", "dist-upgrade")  # debootstrap knows neither -updates nor -security
    inside("apt-get", "-q", "-y", "install", *TEST_TOOLS)
    inside("apt-get", "-q", "-y", "install", "--download-only", *CACHED)
    # As Debian's cloud images do; without it clusters would be made with SQL_ASCII.
    # From trixie on, systemd makes the second name a link to the first at boot.
    for path in ("locale.conf", "default/locale"):
        write_text(etc / path, "LANG=C.UTF-8\n")
    inside("systemctl", "enable", "systemd-networkd")
    inside("systemctl", "disable", "systemd-networkd-wait-online")
    # A background apt would take the dpkg lock from a role at a random moment.
    inside("systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer")
    inside("useradd", "--create-home", "--shell", "/bin/bash", "admin")
    write_text(etc / "sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)

    policy.unlink()
    for identity in etc.glob("ssh/ssh_host_*"):
        identity.unlink()
    (etc / "resolv.conf").unlink()
    os.truncate(etc / "machine-id", 0)


def sources(wanted: Release, mirror: machine.Mirror) -> str:
    lines = [f"deb {mirror.archive} {wanted.name} main"]
    if wanted.stable:
        lines.append(f"deb {mirror.archive} {wanted.name}-updates main")
        lines.append(f"deb {mirror.security} {wanted.name}-security main")
    return "\n".join(lines) + "\n"
