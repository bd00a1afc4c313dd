# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The host of a repository that has no cluster: what is copied from there, who is told, and what is asked of it.

``/etc/dbkeeper/repositories/<any name>.json``, found by the repository and the cluster that it names, and read as
strictly as the description of a cluster. Without one a command with ``--root`` works all the same, and tells nobody.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.errors import Refused
from .reader import Reader, as_object, read_description
from .wishes_copies import CopyWish, read_copies
from .wishes_knowing import Notify, Objectives, read_notify, read_objectives

FORMAT = 1
DIRECTORY = "/etc/dbkeeper/repositories"
LANGUAGES = ("en", "ja")


class Described(Protocol):
    """What copies and notifications need to know, on the host of a cluster as on that of its repository."""

    @property
    def cluster(self) -> str:
        """Its name."""

    @property
    def repository(self) -> str:
        """The root of its repository."""

    @property
    def repository_is_elsewhere(self) -> bool:
        """Whether that is reached by ssh."""

    @property
    def state_directory(self) -> str:
        """Locks, history and messages that wait."""

    @property
    def copies(self) -> tuple[CopyWish, ...]:
        """Where copies go."""

    @property
    def notify(self) -> Notify | None:
        """Who is told."""

    @property
    def language(self) -> str:
        """Of texts for people."""


@dataclass(frozen=True)
class RepositoryHost:
    """One cluster's repository, seen from the host that it lies on. ``repository`` is its root, a path."""

    cluster: str
    repository: str
    copies: tuple[CopyWish, ...] = ()
    notify: Notify | None = None
    objectives: Objectives = field(default_factory=Objectives)
    metrics_file: str | None = None
    language: str = "en"

    @property
    def repository_is_elsewhere(self) -> bool:
        """Never: it is here."""
        return False

    @property
    def state_directory(self) -> str:
        """With the history of what runs here: in the repository."""
        return f"{self.repository}/{self.cluster}"

    @classmethod
    def load(cls, path: str) -> RepositoryHost:
        """Read a description. Raises :class:`Refused`: ``config-missing``, ``config-unreadable``, ``file-damaged``,
        ``config-malformed``."""
        value = read_description(
            path,
            of="a repository",
            missing=lambda: "Write it, as docs/repository-elsewhere.md shows, or leave --config out.",
            unreadable="Run the command as root or as the repository's owner.",
            damaged="Correct it.",
        )
        return cls.from_dict(value, source=path)

    @classmethod
    def from_dict(cls, value: Any, *, source: str) -> RepositoryHost:
        """Make sure of every key. Raises :class:`Refused` ``config-malformed``."""
        data = as_object(value, source, "the description")
        copies = read_copies(data.pop("copies", None), source, None)
        read = Reader(data, source)
        read.number("format", FORMAT, FORMAT)
        found = cls(
            cluster=read.text("cluster"),
            repository=read.path("repository"),
            copies=copies,
            notify=read.optional(lambda key: read_notify(data.pop(key), source), "notify"),
            objectives=read_objectives(data.pop("objectives", {}), source),
            metrics_file=read.optional(read.path, "metrics_file"),
            language=read.choice("language", LANGUAGES, default=cls.language),
        )
        read.finish()
        return found


def described_there(
    root: str, cluster: str, path: str | None = None, directory: str = DIRECTORY
) -> RepositoryHost | None:
    """The description of a repository on this host: the one that is named, or the one that names this root and cluster.

    None: there is none. Raises :class:`Refused` as :meth:`RepositoryHost.load` does, ``repository-other`` (the one that
    is named is of another), ``repository-twice`` (two name it).
    """
    if path is not None:
        found = RepositoryHost.load(path)
        if (found.repository, found.cluster) != (os.path.abspath(root), cluster):
            raise Refused(
                "repository-other",
                attempted=f"use the repository {root} of cluster {cluster}",
                happened=f"{path} describes {found.repository} of cluster {found.cluster}",
                remedy="Name the description of this one, or leave --config out: it is found by itself.",
            )
        return found
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".json"))
    except OSError:
        return None
    mine = [name for name in names if _names(f"{directory}/{name}") == (os.path.abspath(root), cluster)]
    if len(mine) > 1:
        raise Refused(
            "repository-twice",
            attempted=f"use the repository {root} of cluster {cluster}",
            happened=f"{' and '.join(mine)} in {directory} both describe it",
            remedy="Take one of them away.",
        )
    return RepositoryHost.load(f"{directory}/{mine[0]}") if mine else None


def _names(path: str) -> tuple[str, str] | None:
    """What a description is about; one that cannot be read is about something else, as far as anybody knows."""
    try:
        with open(path, encoding="utf-8") as handle:
            value = json.load(handle)
        return os.path.normpath(value["repository"]), str(value["cluster"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
