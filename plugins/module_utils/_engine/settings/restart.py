# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A restart that brings waiting settings into effect, and takes them back when the server does not return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..core.errors import Failed, KeeperError, Refused
from ..core.journal import Journal
from .execute import did_not_start, journal_path, write_file
from .readback import loaded_at, where_it_runs
from .store import Known
from .trial import find_culprit, try_settings


def may_restart(policy: str, clients: int) -> bool:
    """Whether a running server may be restarted: first_install never, when_idle without clients. Pure."""
    return policy == "allowed" or (policy == "when_idle" and clients == 0)


def refuse_what_cannot_start(
    config: ClusterConfig, before: Mapping[str, str], after: Mapping[str, str], *, running: bool
) -> None:
    """Try the settings in a throw-away cluster. Raises :class:`Refused` (``setting-prevents-start``)."""
    found = try_settings(config, before, after, running=running)
    if found is None:
        return
    culprit = ", ".join(found["culprit"])
    raise Refused(
        "setting-prevents-start",
        attempted=f"start a throw-away cluster with the settings of cluster {config.cluster}",
        happened=f"{f'with {culprit} ' if culprit else ''}it does not start; it said: {found['words']}",
        remedy=f"Change {culprit or 'what its words name'}. The real server was not touched.",
        details=found,
    )


def restart(
    config: ClusterConfig,
    known: Mapping[str, Known],
    before: Mapping[str, str],
    after: Mapping[str, str],
    *,
    timeout: float,
) -> None:
    """Stop and start the server; journalled.

    ``known`` holds the files' versions that a server has worked with, ``before`` the settings in them. When
    the server does not come back they are put in place and it is started with them. Raises
    :class:`Failed` (``server-did-not-start``), and what stopping raises.
    """
    instance = Instance(config)
    journal = Journal.begin(journal_path(config), "restart", "restart", {"files": []})
    journal.step("stop", lambda: _stop(instance, timeout))

    def start() -> None:
        try:
            instance.start(timeout=timeout)
            loaded_at(where_it_runs(config))
        except KeeperError as error:
            found = find_culprit(config, before, after, str(error.details.get("words") or error.happened))
            placed = _place_proven(known)
            old = bool(placed) and _start_again(instance, timeout)
            journal.finish("undone")
            raise did_not_start(config, found, old=old, put_back=bool(placed)) from error

    journal.step("start", start)
    journal.finish("done")


def _stop(instance: Instance, timeout: float) -> None:
    instance.stop(timeout=timeout)


def _place_proven(known: Mapping[str, Known]) -> list[str]:
    placed = []
    for path, entry in known.items():
        if entry.proven is not None:
            write_file(path, entry.proven, entry.mode)
            placed.append(path)
    return placed


def _start_again(instance: Instance, timeout: float) -> bool:
    try:
        if instance.status().running:
            instance.stop(timeout=timeout)
        instance.start(timeout=timeout)
    except Failed:
        # Told with the failure that led here: the server does not run.
        return False
    return True


def started(result: Mapping[str, Any]) -> bool:
    """Whether a result of ours tells of a start."""
    return "start" in result["plan"] or "restart" in result["plan"]
