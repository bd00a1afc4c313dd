# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The machine under the hosts: its packages, its Debian mirror, its resolver."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from .process import BedError, run

# program to look for → package that brings it
NEEDED = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "mount": "mount",
    "unshare": "util-linux",
}
# What a host must copy from the machine's apt settings to reach the same mirror.
_APT_SETTINGS = [
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
]
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Mirror:
    archive: str
    security: str
    settings: str


def prepare() -> None:
    """Refuse what cannot work, install what is missing."""
    if os.geteuid() != 0:
        raise BedError("the test bed mounts, makes bridges and boots containers: run it as root")
    # Not everybody's PATH has the folders where nft and debootstrap live.
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise BedError("missing " + ", ".join(missing) + ", and this machine has no apt-get to install them")
    run("apt-get", "-q", "update", env=QUIET)
    # The keyring comes along because an old one does not know the newer releases.
    packages = (*missing, "debian-archive-keyring")
    run("apt-get", "-q", "-y", "--no-install-recommends", "install", *packages, env=QUIET)


def mirror() -> Mirror:
    """The Debian mirror this machine itself uses, asked from apt at run time."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    found = _repositories()
    if codename not in found:
        # apt lists only what it has fetched once.
        run("apt-get", "-q", "update", env=QUIET)
        found = _repositories()
    if codename not in found:
        raise BedError(f"apt knows no Debian archive for {codename!r}: the test bed needs a Debian machine")
    archive = found[codename]
    settings = "".join(run("apt-config", "dump", name) for name in _APT_SETTINGS)
    return Mirror(archive, found.get(f"{codename}-security", archive.rstrip("/") + "-security/"), settings)


def _repositories() -> dict[str, str]:
    """Release name → address, for Debian's own main component."""
    form = "$(RELEASE)|$(REPO_URI)|$(ORIGIN)|$(COMPONENT)"
    listing = run("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    found: dict[str, str] = {}
    for line in listing.splitlines():
        release, address, origin, component = line.split("|")
        if component == "main" and origin in ("Debian", ""):
            found.setdefault(release, address)
    return found


def resolver() -> str:
    """A resolv.conf that also works inside a host, where the machine's loopback is out of reach."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver ")]
        if servers and not any(server.startswith("127.") or server == "::1" for server in servers):
            return text
    raise BedError("/etc/resolv.conf names no server outside the loopback: hosts could not resolve names")
