# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""``dbkeeper runbook``, and the copy of it that every backup leaves in the repository with the program itself."""

from __future__ import annotations

import argparse
import grp
import os
import socket
from typing import Any

from ..backup.info import information
from ..cluster.config import DIRECTORY, ClusterConfig
from ..cluster.disks import nearest_existing
from ..core import privilege
from ..core.clock import format_utc, utc_now
from ..core.errors import KeeperError
from ..core.files import make_directory, read_json, write_durable, write_json
from ..recovery.runbook import PROGRAM, RESCUE, RunbookFacts, commands, runbook
from ..repository.catalog import read_catalog
from ..repository.layout import Repository
from .configured import repository_of
from .install import installed_stamp

#: Language -> the name of the text in the repository.
TEXTS = {"en": "RUNBOOK.md", "ja": "RUNBOOK.ja.md"}


def add_runbook(parser: argparse.ArgumentParser) -> None:
    """Options of ``runbook``."""
    parser.add_argument(
        "--keep", action="store_true", help="bring the copy in the repository up to date, too"
    )


def runbook_command(
    options: argparse.Namespace, config: ClusterConfig, language: str
) -> tuple[dict[str, Any], list[str]]:
    """On the cluster's host."""
    return runbook_result(config, repository_of(config), options.config, language, keep=options.keep)


def runbook_facts(config: ClusterConfig, repository: Repository, config_path: str | None) -> RunbookFacts:
    """Everything that the text says of this cluster. Raises what ``info`` raises."""
    path = os.path.abspath(config_path or f"{DIRECTORY}/{config.cluster}.json")
    owner = privilege.owner_of(nearest_existing(config.data_directory))
    known = information(config, repository)
    return RunbookFacts(
        config=config,
        config_path=path,
        configuration=read_json(path, attempted="read the configuration for the runbook"),
        # Of one that is elsewhere the directory on that host.
        repository_path="/" + repository.path.split("://", 1)[1].partition("/")[2]
        if config.repository_is_elsewhere
        else repository.path,
        owner=owner.name,
        group=grp.getgrgid(owner.gid).gr_name,
        made_at=format_utc(utc_now()),
        host=socket.gethostname(),
        system_id=known["system_id"],
        backups=read_catalog(repository).backups,
        windows=tuple(known["windows"]),
        key_files=(config.ssh.identity_file, config.ssh.known_hosts_file) if config.ssh else (),
    )


def runbook_result(
    config: ClusterConfig, repository: Repository, config_path: str | None, language: str, *, keep: bool
) -> tuple[dict[str, Any], list[str]]:
    """The text; with ``keep`` also what lies in the repository is brought up to date."""
    facts = runbook_facts(config, repository, config_path)
    lines = runbook(facts, language)
    kept = keep_rescue(config, repository, facts) if keep and not config.repository_is_elsewhere else None
    result = {
        "changed": bool(kept),
        "text": "\n".join(lines) + "\n",
        "commands": commands(lines),
        "kept": kept or [],
    }
    return result, lines


def after_backup(config: ClusterConfig, repository: Repository, config_path: str | None) -> dict[str, Any]:
    """Leave program, configuration and runbook in the repository; a backup does not fail for it, but says so.

    Only where the host command is the program that is installed (not one that runs from its sources), and the
    repository is at hand: on the host of one that is elsewhere the program is installed anyway.
    """
    if config.repository_is_elsewhere or installed_stamp(config.command) is None:
        return {"kept": []}
    try:
        return {
            "kept": keep_rescue(config, repository, runbook_facts(config, repository, config_path)),
        }
    except (KeeperError, OSError) as error:
        return {"kept": [], "error": str(error)}


def keep_rescue(config: ClusterConfig, repository: Repository, facts: RunbookFacts) -> list[str]:
    """Write what is not there or not the same; the names of what was written."""
    directory = f"{repository.path}/{RESCUE}"
    make_directory(directory)
    written = []
    stamp = installed_stamp(config.command)
    if stamp is not None and installed_stamp(f"{directory}/{PROGRAM}") != stamp:
        with open(config.command, "rb") as handle:
            write_durable(f"{directory}/{PROGRAM}", handle.read(), 0o755)
        written.append(PROGRAM)
    write_json(f"{directory}/{config.cluster}.json", facts.configuration)
    for language, name in TEXTS.items():
        write_durable(f"{directory}/{name}", ("\n".join(runbook(facts, language)) + "\n").encode())
    return [*written, f"{config.cluster}.json", *TEXTS.values()]
