# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Placing files, having the server take them over, and putting back what was there when it does not.

Every step is journalled with the files as they were, so that a killed run is undone by the next one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.instance import Instance
from ..core.errors import Failed, KeeperError, Refused
from ..core.files import fsync_directory, make_directory, write_durable
from ..core.journal import Journal
from .plan import Change, Plan
from .readback import access_faults, loaded_at, settings_faults, where_it_runs
from .store import packed, unpacked
from .tree import read_text
from .trial import beyond_the_trial, find_culprit

_RELOAD_SECONDS = 15.0
_POLL_SECONDS = 0.05


def journal_path(config: ClusterConfig) -> str:
    """Where the journal of a change of the configuration is."""
    return f"{config.state_directory}/configuration.journal.json"


def write_file(path: str, text: str | None, mode: int) -> None:
    """Give a file this text, durably; None takes it away."""
    if text is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            fsync_directory(os.path.dirname(path))
        return
    make_directory(os.path.dirname(path))
    write_durable(path, text.encode("utf-8", "surrogateescape"), mode)


class Execution:
    """One change of the configuration, from placing the files to the proof that the server took them over."""

    def __init__(self, config: ClusterConfig, plan: Plan, *, timeout: float, fall_back: bool) -> None:
        """``fall_back``: there is an earlier configuration of ours to start the server with."""
        self._config = config
        self._plan = plan
        self._timeout = timeout
        self._fall_back = fall_back
        self._instance = Instance(config)
        files = [
            {
                "path": change.path,
                "role": change.role,
                "before": packed(change.before),
                "after": packed(change.after),
                "mode": change.mode,
            }
            for change in plan.changes
        ]
        self._journal = Journal.begin(
            journal_path(config), "configure", "configure", {"files": files, "running": plan.reload}
        )

    def run(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Do the plan. ``before`` and ``after`` are all settings, for the search of a culprit.

        Raises :class:`Refused` (``settings-refused``, ``access-refused``) with everything as it was, and
        :class:`Failed` (``configuration-undone``, ``server-did-not-start``) after the files were put back.
        """
        self._journal.step("place", self._place)
        if self._plan.reload:
            self._journal.step("inspect", self._inspect)
            self._journal.step("reload", lambda: self._reload(before, after))
        if self._plan.start:
            self._journal.step("start", lambda: self._start(before, after))
        self._journal.finish("done")

    def _place(self) -> None:
        for change in self._plan.changes:
            write_file(change.path, change.after, change.mode)

    def _put_back(self) -> None:
        put_back(_recorded(self._journal))

    def _undone(self) -> None:
        self._put_back()
        self._journal.finish("undone")

    def _inspect(self) -> None:
        """What would the server say of the files that lie there now? It has not read them yet."""
        server = where_it_runs(self._config)
        try:
            faults, (refused, _harmless) = settings_faults(server), access_faults(server)
        except KeeperError:
            self._undone()
            raise
        for code, found in (("settings-refused", faults), ("access-refused", refused)):
            if found:
                self._undone()
                first = found[0]
                raise Refused(
                    code,
                    attempted=f"have the server of cluster {self._config.cluster} read the new files",
                    happened=f"{first.path}, line {first.number}: {first.name} {first.text}".replace(
                        "  ", " "
                    ),
                    remedy="Correct that line. The files are as they were, the server has not read the new ones.",
                    details={"faults": [fault.to_dict() for fault in found], **first.to_dict()},
                )

    def _reload(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        try:
            reload_and_wait(self._config)
        except KeeperError as error:
            self._put_back()
            read = read_again(self._config, asking=error.code != "server-unreachable")
            self._journal.finish("undone")
            culprit = beyond_the_trial(before, after, error.happened)
            remedy = (
                "The old files are back and were read again. See what the server's log says of the new ones."
            )
            if not read:
                remedy = "The old files are back, but the server does not say that it read them: see its log."
            raise Failed(
                "configuration-undone",
                attempted=f"have the server of cluster {self._config.cluster} take over its new configuration",
                happened=f"with {_one_of(culprit)} changed: {error.happened}" if culprit else error.happened,
                remedy=remedy,
                details={
                    "cause": error.to_dict(),
                    "changed": [change.path for change in self._plan.changes],
                    "culprit": culprit,
                    "read_again": read,
                },
            ) from error

    def _start(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        try:
            self._instance.start(timeout=self._timeout)
            loaded_at(where_it_runs(self._config))
        except KeeperError as error:
            if error.code not in ("server-did-not-start", "server-unreachable"):
                self._journal.finish("done")
                raise
            found = find_culprit(self._config, before, after, _words(error))
            self._put_back()
            started = self._fall_back and self._plan.changes != () and self._start_again()
            self._journal.finish("undone")
            raise did_not_start(
                self._config, found, old=started, put_back=bool(self._plan.changes)
            ) from error

    def _start_again(self) -> bool:
        try:
            if self._instance.status().running:
                self._instance.stop(timeout=self._timeout)
            self._instance.start(timeout=self._timeout)
        except KeeperError:
            # It did not start before either; the culprit that was found is the news.
            return False
        return True


def reload_and_wait(config: ClusterConfig) -> None:
    """Reload, and return when the server has read its files and still lets us in.

    Raises :class:`Failed` (``reload-not-seen``, ``server-unreachable``).
    """
    server = where_it_runs(config)
    before = loaded_at(server)
    Instance(config).reload()
    deadline = time.monotonic() + _RELOAD_SECONDS
    while loaded_at(server) == before:
        if time.monotonic() > deadline:
            raise _not_seen(config)
        time.sleep(_POLL_SECONDS)


def read_again(config: ClusterConfig, *, asking: bool = True) -> bool:
    """Reload also a server that lets nobody in any more; whether it says afterwards that it has read its files.

    ``asking``: it may still answer, and is asked when it has read them last. Where it did not, any answer tells.
    """
    server = where_it_runs(config)
    before = ""
    if asking:
        with contextlib.suppress(KeeperError):
            before = loaded_at(server)
    with contextlib.suppress(KeeperError):
        Instance(config).reload()
    deadline = time.monotonic() + _RELOAD_SECONDS
    while True:
        with contextlib.suppress(KeeperError):
            if loaded_at(server) != before:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _not_seen(config: ClusterConfig) -> Failed:
    return Failed(
        "reload-not-seen",
        attempted=f"reload cluster {config.cluster}",
        happened=f"the server did not read its settings again within {_RELOAD_SECONDS:g} s",
        remedy="Read the server's log: a file with a mistake is not taken over.",
    )


def recover(config: ClusterConfig) -> bool:
    """Undo what a killed run has left half done; whether there was such a run.

    The files are as before it, and a running server has read them.
    """
    journal = unfinished(config)
    if journal is None:
        return False
    put_back(_recorded(journal))
    if journal.status("reload") and Instance(config).status().ready and not read_again(config):
        raise _not_seen(config)
    journal.finish("undone")
    return True


def unfinished(config: ClusterConfig) -> Journal | None:
    """The journal of a run that was killed, if there is one."""
    journal = Journal.load(
        journal_path(config), attempted="look for an unfinished change of the configuration"
    )
    return journal if journal is not None and journal.state == "running" else None


def put_back(changes: Iterable[Change]) -> None:
    """Files as they were before."""
    for change in changes:
        if read_text(change.path) != change.before:
            write_file(change.path, change.before, change.mode)


def _recorded(journal: Journal) -> list[Change]:
    return [
        Change(
            entry["path"],
            entry["role"],
            unpacked(entry["before"]),
            unpacked(entry["after"]) or "",
            entry["mode"],
        )
        for entry in journal.data.get("files", [])
    ]


def did_not_start(
    config: ClusterConfig, found: Mapping[str, Any], *, old: bool, put_back: bool = True
) -> Failed:
    """The server did not come up: which setting did it, and what runs now."""
    names = list(found["culprit"])
    culprit = _one_of(names)
    words = str(found["words"])
    left = "The old files are back" if put_back else "The files are as they were"
    remedy = f"{left}, and the server runs with them." if old else f"{left}. The server does not run."
    return Failed(
        "server-did-not-start",
        attempted=f"start the server of cluster {config.cluster} with its new configuration",
        happened=f"{f'because of {culprit} ' if culprit else ''}it did not start; it said: {words}",
        remedy=f"Change {culprit or 'what its words name'}. {remedy}",
        details={"culprit": names, "words": words, "running": old},
    )


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}" if names else ""


def _words(error: KeeperError) -> str:
    return str(error.details.get("words") or error.happened)
