# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The key ``copies`` of a description: where backups, dumps and WAL go besides the repository (3-2-1).

Names of places only; secrets lie in files of mode 0600 that are named here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import Refused
from ..retention.policy import DumpPolicy, Policy
from .reader import Reader, as_object, invalid
from .wishes_dumps import read_dump_retention

DIRECTORY = "directory"
DOOR = "ssh"
SFTP = "sftp"
S3 = "s3"
TOOLS = ("age", "gpg")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_HOST = re.compile(
    r"(ssh|sftp)://[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9_\[][A-Za-z0-9_.:\]-]*(/[A-Za-z0-9_.-]+)+"
)
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.=-]+)*/?")
_URL = re.compile(r"https?://[^\s/@]+(/\S*)?")
_SSE = re.compile(r"AES256|aws:kms(:dsse)?(:[A-Za-z0-9:/_-]+)?")
_RECIPIENT = re.compile(r"[^\s-][^\x00-\x1f]{0,1023}")
#: Of backups and WAL, in a copy's ``retention``; the other keys are those of ``dump_retention``.
_BASE_KEYS = ("full_count", "window_seconds", "wal_seconds")


@dataclass(frozen=True)
class Sealing:
    """Encryption before anything leaves the host: only public keys are here, the private one is kept elsewhere.

    ``recipients``: for age ``age1…`` or ``ssh-…`` keys, or absolute paths of files with such lines; for gpg absolute
    paths of files with exported public keys (``gpg --export``).
    """

    tool: str
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class CopyPolicy:
    """What a copy keeps. ``base``: of backups and WAL; ``dumps``: of dumps (None: all of them)."""

    base: Policy = field(default_factory=Policy)
    dumps: DumpPolicy | None = None


@dataclass(frozen=True)
class CopyWish:
    """One place that copies go to.

    ``to``: a directory, ``ssh://user@host[:port]/path`` (the door of a repository there), ``sftp://user@host[:port]/path``
    or ``s3://bucket[/prefix]``. ``required``: archive-push stores WAL there, too, before the server is told that it
    is archived. ``lag_seconds``: from when on a copy that is behind is an alarm. ``retention`` None: nothing is ever
    removed from it. ``read_back``: of S3, read everything again after it was stored, even where the store's own
    checksum tells the same.
    """

    name: str
    to: str
    required: bool = False
    lag_seconds: int = 3600
    max_rate_kbytes: int | None = None
    endpoint: str | None = None
    region: str | None = None
    credentials_file: str | None = None
    ca_file: str | None = None
    storage_class: str | None = None
    server_side_encryption: str | None = None
    read_back: bool = False
    ssh: dict[str, str] | None = None
    sealing: Sealing | None = None
    retention: CopyPolicy | None = None

    @property
    def kind(self) -> str:
        """``directory``, ``ssh``, ``sftp`` or ``s3``."""
        head, sign, _rest = self.to.partition("://")
        return head if sign else DIRECTORY


def read_copies(value: Any, source: str, ssh: dict[str, str] | None) -> tuple[CopyWish, ...]:
    """Strictly. ``ssh``: how the repository elsewhere is reached. Raises :class:`Refused` ``config-malformed``."""
    found = []
    for name, entry in as_object({} if value is None else value, source, "copies").items():
        if not _NAME.fullmatch(name):
            raise invalid(source, f"copies has {name!r}: a name is letters, digits, '-', '_', '.'")
        found.append(_copy(name, as_object(entry, source, f"copies.{name}"), source, ssh))
    return tuple(found)


def _copy(name: str, data: dict[str, Any], source: str, ssh: dict[str, str] | None) -> CopyWish:
    prefix = f"copies.{name}."
    read = Reader(data, source, prefix)
    to = _to(read, data, source, prefix)
    access = data.pop("ssh", None)
    if access is not None:
        keys = Reader(as_object(access, source, f"{prefix}ssh"), source, f"{prefix}ssh.")
        access = {
            "identity_file": keys.path("identity_file"),
            "known_hosts_file": keys.path("known_hosts_file"),
        }
        keys.finish()
    wish = CopyWish(
        name=name,
        to=to,
        required=_flag(data, "required", source, prefix),
        lag_seconds=read.number("lag_seconds", 1, default=CopyWish.lag_seconds),
        max_rate_kbytes=read.optional(lambda key: read.number(key, 32), "max_rate_kbytes"),
        endpoint=read.optional(lambda key: read.text(key, pattern=_URL), "endpoint"),
        region=read.optional(read.text, "region"),
        credentials_file=read.optional(read.path, "credentials_file"),
        ca_file=read.optional(read.path, "ca_file"),
        storage_class=read.optional(
            lambda key: read.text(key, pattern=re.compile("[A-Z_]+")), "storage_class"
        ),
        server_side_encryption=read.optional(
            lambda key: read.text(key, pattern=_SSE), "server_side_encryption"
        ),
        read_back=_flag(data, "read_back", source, prefix),
        ssh=access or (ssh if to.startswith(("ssh://", "sftp://")) else None),
        sealing=read.optional(lambda key: _sealing(data.pop(key), source, prefix), "encryption"),
        retention=read.optional(lambda key: _policy(data.pop(key), source, prefix), "retention"),
    )
    read.finish()
    _fits(wish, source, prefix)
    return wish


def _to(read: Reader, data: dict[str, Any], source: str, prefix: str) -> str:
    value = data.get("to")
    if isinstance(value, str) and "://" in value:
        if not _HOST.fullmatch(value) and not _BUCKET.fullmatch(value):
            raise invalid(
                source,
                f"{prefix}to is {value!r}; it must be an absolute path, ssh://user@host/path, sftp://user@host/path "
                "or s3://bucket/prefix",
            )
        data.pop("to")
        return value.rstrip("/")
    return read.path("to")


def _fits(wish: CopyWish, source: str, prefix: str) -> None:
    """What cannot go together."""
    if wish.kind in (DOOR, SFTP) and wish.ssh is None:
        raise invalid(source, f"{prefix}ssh is missing: the key for {wish.to}, and the keys of that host")
    if wish.kind in (DIRECTORY, S3) and wish.ssh is not None:
        raise invalid(source, f"{prefix}ssh is not used with {wish.to}")
    mine = ("endpoint", "region", "credentials_file", "ca_file", "storage_class", "server_side_encryption")
    for key in mine if wish.kind != S3 else ():
        if getattr(wish, key) is not None:
            raise invalid(source, f"{prefix}{key} is for s3:// only")
    if wish.required and (wish.kind not in (DIRECTORY, DOOR) or wish.sealing):
        raise invalid(
            source,
            f"{prefix}required is for a directory or ssh://, without encryption: archive-push stores each segment "
            "there before it answers. Other copies follow behind, and lag_seconds says when that is an alarm",
        )
    if wish.kind == DOOR and (wish.sealing or wish.retention):
        raise invalid(
            source,
            f"{prefix}{'encryption' if wish.sealing else 'retention'} is not for ssh://: the door there takes what a "
            "repository holds and deletes nothing; its own host expires it (dbkeeper expire --root)",
        )


def _flag(data: dict[str, Any], key: str, source: str, prefix: str) -> bool:
    value = data.pop(key, None)
    if value not in (None, True, False):
        raise invalid(source, f"{prefix}{key} is {value!r}; it must be true or false")
    return bool(value)


def _sealing(value: Any, source: str, prefix: str) -> Sealing:
    prefix += "encryption."
    data = as_object(value, source, prefix.rstrip("."))
    recipients = data.pop("recipients", None)
    read = Reader(data, source, prefix)
    tool = read.choice("tool", TOOLS)
    read.finish()
    if not isinstance(recipients, list) or not recipients:
        raise invalid(source, f"{prefix}recipients is no list of public keys")
    for one in recipients:
        if not isinstance(one, str) or not _RECIPIENT.fullmatch(one):
            raise invalid(source, f"{prefix}recipients has what is no public key")
        if "SECRET-KEY" in one.upper() or "PRIVATE KEY" in one.upper():
            raise invalid(source, f"{prefix}recipients has a private key: it must not be on this host at all")
        if tool == "gpg" and not os.path.isabs(one):
            raise invalid(source, f"{prefix}recipients must be absolute paths of exported keys with gpg")
    return Sealing(tool, tuple(recipients))


def _policy(value: Any, source: str, prefix: str) -> CopyPolicy:
    prefix += "retention."
    data = as_object(value, source, prefix.rstrip("."))
    mine = {key: data.pop(key) for key in list(data) if key in _BASE_KEYS}
    read = Reader(mine, source, prefix)
    base = Policy(
        full_count=read.number("full_count", 1, default=Policy.full_count),
        window_seconds=read.optional(lambda key: read.number(key, 0), "window_seconds"),
        wal_seconds=read.optional(lambda key: read.number(key, 0), "wal_seconds"),
    )
    read.finish()

    def wrong(happened: str) -> Refused:
        return invalid(source, f"{prefix.rstrip('.')}: {happened}")

    return CopyPolicy(base, read_dump_retention(data, wrong) if data else None)
