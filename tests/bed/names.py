# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What things are called. Pure: a checkout's path decides every name, so two checkouts never meet."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from .process import BedError

STATE_ROOT = Path("/var/lib/dbkeeper-bed")
CACHE_ROOT = Path("/var/cache/dbkeeper-bed")

# The name becomes the host name inside; the group is a scenario name and only a folder.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Site:
    """One checkout and the names that belong to it alone."""

    checkout: Path
    state_root: Path = STATE_ROOT

    @property
    def key(self) -> str:
        return hashlib.sha256(str(self.checkout.resolve()).encode()).hexdigest()[:8]

    @property
    def bridge(self) -> str:
        """Interface name; the kernel allows 15 characters."""
        return f"dbk{self.key}"

    @property
    def nat_table(self) -> str:
        return f"dbkeeper_{self.key}"

    @property
    def unit_prefix(self) -> str:
        return f"dbk-{self.key}-"

    @property
    def directory(self) -> Path:
        return self.state_root / self.key

    @property
    def hosts(self) -> Path:
        return self.directory / "hosts"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def private_key(self) -> Path:
        return self.directory / "id_ed25519"

    def unit(self, address: str) -> str:
        """Name of a host's cgroup and machine: its last octet is unique within the checkout."""
        return self.unit_prefix + address.rsplit(".", 1)[1]

    def host_directory(self, group: str, name: str) -> Path:
        return self.hosts / group / name


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BedError(f"{name!r} is no host name: use up to 32 of a-z, 0-9 and dashes")
    return name


def check_group(group: str) -> str:
    if not _GROUP.fullmatch(group):
        raise BedError(f"{group!r} is no group name: use letters, digits, dash, dot and underscore")
    return group


def parse_request(word: str) -> tuple[str, str]:
    """``deb12=bookworm`` → name and release."""
    name, equals, release = word.partition("=")
    if not equals or not release:
        raise BedError(f"{word!r}: say NAME=RELEASE, for example deb12=bookworm")
    return check_name(name), release
