# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which cluster or repository is meant, and becoming its owner."""

from __future__ import annotations

import argparse
import os

from ..cluster.config import ClusterConfig
from ..cluster.disks import nearest_existing
from ..cluster.home import repository_named_by
from ..cluster.repository_host import DIRECTORY, RepositoryHost
from ..core import privilege
from ..core.errors import Refused
from ..repository.layout import Repository

CONFIGURATION_DIRECTORY = "/etc/dbkeeper"


def load_configuration(cluster: str | None, path: str | None) -> ClusterConfig:
    """The configuration named on the command line; without a name, the only one there is."""
    if path is not None:
        return ClusterConfig.load(path)
    if cluster is not None:
        return ClusterConfig.load(f"{CONFIGURATION_DIRECTORY}/{cluster}.json")
    try:
        names = sorted(name[:-5] for name in os.listdir(CONFIGURATION_DIRECTORY) if name.endswith(".json"))
    except FileNotFoundError:
        names = []
    if len(names) != 1:
        raise Refused(
            "cluster-missing",
            attempted="find the cluster's configuration",
            happened=f"{len(names)} clusters are configured in {CONFIGURATION_DIRECTORY}: {', '.join(names) or 'none'}",
            remedy="Name one with --cluster; the backup role writes the configuration.",
        )
    return ClusterConfig.load(f"{CONFIGURATION_DIRECTORY}/{names[0]}.json")


def act_as_owner(config: ClusterConfig) -> None:
    """From here on be the owner of the data directory (or of the nearest one above, when it is gone)."""
    privilege.assume(privilege.owner_of(nearest_existing(config.data_directory)))


def repository_of(config: ClusterConfig) -> Repository:
    """That of the cluster. Raises :class:`Refused` ``repository-missing``."""
    repository = repository_named_by(config)
    repository.require("use the repository")
    return repository


def add_root(parser: argparse.ArgumentParser) -> None:
    """For a host that has the repository and no cluster."""
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="on the repository's host: its directory, with --cluster",
    )


def repository_there(options: argparse.Namespace) -> Repository:
    """The repository that ``--root`` and ``--cluster`` name. Raises :class:`Refused`."""
    if options.cluster is None:
        raise Refused(
            "cluster-missing",
            attempted=f"use the repository {options.root}",
            happened="--root needs --cluster",
            remedy=f"dbkeeper … --root {options.root} --cluster NAME; NAME is a directory there.",
        )
    return Repository(options.root, options.cluster)


def required_there(options: argparse.Namespace, repository: Repository, what: str) -> RepositoryHost:
    """The description of a repository, for a command that is nothing without. Raises :class:`Refused`
    ``repository-not-described``."""
    found: RepositoryHost | None = options.described
    if found is None:
        raise Refused(
            "repository-not-described",
            attempted=f"use what is described of the repository {repository.path}: {what}",
            happened=f"no file in {DIRECTORY} names this repository and this cluster",
            remedy=f"Write {DIRECTORY}/{repository.cluster}.json, readable by the repository's owner (role variables "
            "backup_repository_copies and backup_repository_notify, or by hand: docs/repository-elsewhere.md).",
            details={"repository": repository.root, "cluster": repository.cluster},
        )
    return found
