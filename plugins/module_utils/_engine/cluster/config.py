# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Where a cluster is and what is wanted of it: ``/etc/dbkeeper/<cluster>.json``, read strictly.

A description with a wrong key is worse than none: a misspelt ``repository`` must not become a default.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core.errors import Refused
from ..repository.place import is_elsewhere
from ..retention.policy import DumpPolicy, Policy
from .reader import Reader, as_object, invalid, read_description
from .wishes_copies import CopyWish, read_copies
from .wishes_dumps import DumpWish, read_dump_retention, read_dumps
from .wishes_knowing import Notify, Objectives, read_notify, read_objectives

FORMAT = 1
DIRECTORY = "/etc/dbkeeper"
MANAGERS = ("systemd", "pg_ctlcluster", "pg_ctl")
LANGUAGES = ("en", "ja")
BACKUP_KINDS = ("auto", "full", "incremental")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
#: What PostgreSQL allows (manual, "Replication Slots").
_SLOT = re.compile(r"[a-z0-9_]{1,63}")
_ROLE = re.compile(r"[^\x00-\x1f]{1,63}")


@dataclass(frozen=True)
class Service:
    """What starts and stops the server. ``unit`` is the systemd unit; needed by that manager only."""

    manager: str
    unit: str | None = None


@dataclass(frozen=True)
class BackupSettings:
    """How base backups are taken.

    ``compression_level`` is zstd's (1 to 19); ``max_rate_kbytes`` limits what is sent a second, as
    compressed (None: no limit). ``kind``: ``auto`` takes an incremental one where that is possible and the last full
    one is no older than ``full_interval_seconds``; ``incremental`` refuses where it is not possible.
    """

    compression_level: int = 1
    max_rate_kbytes: int | None = None
    kind: str = "auto"
    full_interval_seconds: int = 604800


@dataclass(frozen=True)
class SshAccess:
    """How this host comes to a repository elsewhere: its own key, and the keys by which it knows that host."""

    identity_file: str
    known_hosts_file: str


@dataclass(frozen=True)
class ReceiveSettings:
    """What ``dbkeeper receive`` streams with: the replication slot, and libpq's connection (``keyword=value ...``).

    ``connection`` None: the local socket. A password has no place in it: libpq finds one in a password file.
    """

    slot: str = "dbkeeper_receive"
    connection: str | None = None


@dataclass(frozen=True)
class RestoreSettings:
    """How restores are watched.

    ``stalled_after_seconds``: replay that neither reads nor writes for so long is given up (fault D09); it never is
    for the time that it takes.
    """

    stalled_after_seconds: int = 900


@dataclass(frozen=True)
class ClusterConfig:
    """One cluster on this host. Paths are absolute.

    ============================ ==========================================================================
    ``cluster``                  its name; also the name of its directory in the repository
    ``version``                  major version of PostgreSQL, as text: ``"15"``
    ``data_directory``           the data directory (PGDATA)
    ``bin_directory``            programs of exactly that major version
    ``config_file``              ``postgresql.conf`` where it is not in the data directory (Debian), else None
    ``socket_directory``         where the server's Unix socket is
    ``port``                     the port that names the socket
    ``superuser``                role that the owner of the data directory may connect as
    ``backup_user``              role with LOGIN and REPLICATION that base backups connect as
    ``service``                  :class:`Service`
    ``repository``               root of the repository; the cluster's part is ``<repository>/<cluster>``; a path, or
                                 ``ssh://user@host[:port]/path``
    ``ssh``                      :class:`SshAccess`; needed with ``ssh://`` only
    ``state_directory``          locks, journals and progress of operations on this host
    ``objectives``               :class:`Objectives`: what ``dbkeeper check`` holds the facts against
    ``notify``                   :class:`Notify`: who is told; None: nobody
    ``metrics_file``             where ``dbkeeper check`` writes its figures for Prometheus; None: nowhere
    ``backup``                   :class:`BackupSettings`
    ``retention``                :class:`Policy`: what is kept; None: nothing is ever expired
    ``dumps``                    :class:`DumpWish`: logical dumps that are taken
    ``dump_retention``           :class:`DumpPolicy`: which of them stay; None: all
    ``receive``                  :class:`ReceiveSettings`: WAL is streamed as well; None: archived only
    ``restore``                  :class:`RestoreSettings`
    ``copies``                   :class:`CopyWish` of each place that copies go to
    ``command``                  path of the host command, for ``archive_command`` and ``restore_command``
    ``language``                 of texts for people: ``en`` or ``ja``
    ============================ ==========================================================================
    """

    cluster: str
    version: str
    data_directory: str
    bin_directory: str
    socket_directory: str
    service: Service
    config_file: str | None = None
    port: int = 5432
    superuser: str = "postgres"
    backup_user: str = "dbkeeper"
    repository: str = "/var/lib/dbkeeper/repository"
    state_directory: str = ""
    objectives: Objectives = field(default_factory=Objectives)
    notify: Notify | None = None
    metrics_file: str | None = None
    backup: BackupSettings = field(default_factory=BackupSettings)
    retention: Policy | None = None
    dumps: tuple[DumpWish, ...] = ()
    dump_retention: DumpPolicy | None = None
    receive: ReceiveSettings | None = None
    restore: RestoreSettings = field(default_factory=RestoreSettings)
    command: str = "/usr/local/bin/dbkeeper"
    language: str = "en"
    ssh: SshAccess | None = None
    copies: tuple[CopyWish, ...] = ()

    @property
    def repository_is_elsewhere(self) -> bool:
        """Whether the repository is reached by ssh."""
        return is_elsewhere(self.repository)

    @property
    def major(self) -> int:
        """The major version as a number."""
        return int(self.version)

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return f"{self.bin_directory}/{name}"

    @classmethod
    def load(cls, path: str) -> ClusterConfig:
        """Read a description.

        Raises :class:`Refused`: ``config-missing``, ``config-unreadable``,
        ``config-malformed`` (a key is wrong, or it was written by a newer version) and ``file-damaged`` (no JSON).
        """
        value = read_description(
            path,
            of="a cluster",
            missing=lambda: (
                f"{_known_clusters(path)}The backup role writes it: ansible-playbook dbkeeper.ops.site."
            ),
            unreadable="Run the command as root or as the cluster's owner.",
            damaged="Correct it, or run the backup role again, which writes it.",
        )
        return cls.from_dict(value, source=path)

    @classmethod
    def from_dict(cls, value: Any, *, source: str) -> ClusterConfig:
        """Make sure of every key. Raises :class:`Refused` as :meth:`load` does."""
        data = as_object(value, source, "the description")
        if data.pop("format", None) != FORMAT:
            raise Refused(
                "config-malformed",
                attempted=f"read the description of a cluster, {source}",
                happened=f"its format is {value.get('format')!r}, this version knows {FORMAT} only",
                remedy="Use the version of dbkeeper that wrote it, or run the backup role again to write it anew.",
            )
        read = Reader(data, source)
        cluster = read.text("cluster", pattern=_NAME)
        service = Reader(as_object(data.pop("service", None), source, "service"), source, "service.")
        backup = Reader(as_object(data.pop("backup", {}), source, "backup"), source, "backup.")
        restore = Reader(as_object(data.pop("restore", {}), source, "restore"), source, "restore.")
        config = cls(
            cluster=cluster,
            retention=read.optional(lambda key: _policy(data.pop(key), source), "retention"),
            dumps=read_dumps(data.pop("dumps", None) or [], lambda said: invalid(source, said)),
            dump_retention=read.optional(
                lambda key: read_dump_retention(data.pop(key), lambda said: invalid(source, said)),
                "dump_retention",
            ),
            receive=read.optional(lambda key: _receive(data.pop(key), source), "receive"),
            version=read.text("version", pattern=re.compile(r"1[4-9]|[2-9]\d")),
            data_directory=read.path("data_directory"),
            bin_directory=read.path("bin_directory"),
            config_file=read.optional(read.path, "config_file"),
            socket_directory=read.path("socket_directory"),
            port=read.number("port", 1, 65535, default=cls.port),
            superuser=read.text("superuser", pattern=_ROLE, default=cls.superuser),
            backup_user=read.text("backup_user", pattern=_ROLE, default=cls.backup_user),
            repository=read.place("repository", default=cls.repository),
            ssh=(ssh := _ssh(data, source)),
            copies=read_copies(data.pop("copies", None), source, asdict(ssh) if ssh else None),
            state_directory=read.path("state_directory", default=f"/var/lib/dbkeeper/state/{cluster}"),
            command=read.path("command", default=cls.command),
            language=read.choice("language", LANGUAGES, default=cls.language),
            service=Service(
                manager=service.choice("manager", MANAGERS),
                unit=service.optional(service.text, "unit"),
            ),
            objectives=read_objectives(data.pop("objectives", {}), source),
            notify=read.optional(lambda key: read_notify(data.pop(key), source), "notify"),
            metrics_file=read.optional(read.path, "metrics_file"),
            backup=BackupSettings(
                compression_level=backup.number(
                    "compression_level", 1, 19, default=BackupSettings.compression_level
                ),
                # pg_basebackup takes 32 kB to 1 GB a second.
                max_rate_kbytes=backup.optional(
                    lambda key: backup.number(key, 32, 1048576), "max_rate_kbytes"
                ),
                kind=backup.choice("kind", BACKUP_KINDS, default=BackupSettings.kind),
                full_interval_seconds=backup.number(
                    "full_interval_seconds", 1, default=BackupSettings.full_interval_seconds
                ),
            ),
            restore=RestoreSettings(
                stalled_after_seconds=restore.number(
                    "stalled_after_seconds", 1, default=RestoreSettings.stalled_after_seconds
                ),
            ),
        )
        for part in (read, service, backup, restore):
            part.finish()
        if config.repository_is_elsewhere != (config.ssh is not None):
            raise invalid(source, "a repository elsewhere (ssh://) and ssh go together")
        if config.service.manager == "systemd" and not config.service.unit:
            raise invalid(source, "service.unit is missing, and the manager is systemd")
        return config


def _receive(value: Any, source: str) -> ReceiveSettings:
    read = Reader(as_object(value, source, "receive"), source, "receive.")
    settings = ReceiveSettings(
        slot=read.text("slot", pattern=_SLOT, default=ReceiveSettings.slot),
        connection=read.optional(read.text, "connection"),
    )
    read.finish()
    return settings


def _policy(value: Any, source: str) -> Policy:
    read = Reader(as_object(value, source, "retention"), source, "retention.")
    policy = Policy(
        full_count=read.number("full_count", 1, default=Policy.full_count),
        window_seconds=read.optional(lambda key: read.number(key, 0), "window_seconds"),
        wal_seconds=read.optional(lambda key: read.number(key, 0), "wal_seconds"),
    )
    read.finish()
    return policy


def _ssh(data: dict[str, Any], source: str) -> SshAccess | None:
    value = data.pop("ssh", None)
    if value is None:
        return None
    read = Reader(as_object(value, source, "ssh"), source, "ssh.")
    access = SshAccess(read.path("identity_file"), read.path("known_hosts_file"))
    read.finish()
    return access


def _known_clusters(path: str) -> str:
    """'This host has: main. ' for somebody who mistyped a name."""
    try:
        names = os.listdir(os.path.dirname(path) or ".")
    except OSError:
        return ""
    known = sorted(name[: -len(".json")] for name in names if name.endswith(".json"))
    return f"This host has: {', '.join(known)}. " if known else ""
