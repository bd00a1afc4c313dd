# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Verification: the one door to what is stored, what of it is read now, the reading, and what came of it.

``cheap`` is for every day: names and sizes of everything, the bytes of what is new or has changed, and a part of the
rest in turn. ``thorough`` reads everything. Each finding is written down at once, so a run that was killed goes on
where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from ..core.clock import format_utc, parse_utc, utc_now
from ..core.errors import EXIT_DONE, EXIT_FAILED, KeeperError, Refused
from ..core.locks import locked
from ..logical.shelf import Dump, read_shelf
from ..repository.catalog import Backup
from ..repository.layout import Repository
from ..retention.choice import choose, promised
from ..retention.policy import Policy
from ..retention.state import RetentionState, ask_state
from .gentle import Throttle
from .verify_archive import Archives
from .verify_base import mark, signature_of, verify_base
from .verify_dump import dump_signature, mark_dump, verify_dump
from .verify_plan import BAD, FULL, GOOD, LOOK, PATIENCE, Item, Step, make_plan
from .verify_record import Records, moment_text, record_name

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class VerifyRequest:
    """``labels``: these backups and dumps only, and thoroughly; none: everything. ``max_rate_kbytes``: how much is
    read a second at most (None: no limit). ``max_age_seconds``: nothing is done while the last one that came to its
    end is younger (None: always)."""

    labels: tuple[str, ...] = ()
    thorough: bool = False
    max_rate_kbytes: int | None = None
    max_age_seconds: int | None = None

    def __post_init__(self) -> None:
        if self.max_rate_kbytes is not None and self.max_rate_kbytes < 1:
            raise Refused(
                "rate-malformed",
                attempted="verify what is stored",
                happened=f"{self.max_rate_kbytes} kB a second would never end",
                remedy="Give a whole number from 1, or leave it out.",
            )

    @property
    def kind(self) -> str:
        """The kind of run that is written down."""
        return "thorough" if self.thorough else "cheap"


def verify(
    repository: Repository,
    bin_directory: str,
    request: VerifyRequest,
    *,
    policy: Policy | None = None,
    live: tuple[int, int] | None = None,
    check: bool = False,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Verify, as deep as it is due; see :mod:`.verify_plan`.

    ``policy``: what is promised, so that WAL which it has let go is no gap (None: everything is). ``check``: the plan
    only. The result has ``changed`` (a backup was marked, or cleared of its mark), ``executed``, ``plan``,
    ``verification`` (``good``, ``bad``, ``backups``, ``dumps``, ``wal``, ``read_bytes``, ``resumed``), ``exit_status``
    (3 when something is bad or could not be judged). Raises :class:`Refused`: ``busy``, ``backup-unknown``,
    ``repository-missing``.
    """
    attempted = f"verify what is stored of cluster {repository.cluster}"
    repository.require(attempted)
    moment = now or utc_now()
    recent = _recent(Records.read(repository).runs, request, moment)
    if recent is not None:
        plan = {"thorough": request.thorough, "read_bytes": 0, "backups": [], "dumps": [], "reason": recent}
        return {"changed": False, "executed": False, "plan": plan, "verification": {}}
    if check:
        run = _Run(repository, bin_directory, request, policy, live, moment, progress)
        return {"changed": False, "executed": False, "plan": run.plan(), "verification": {}}
    with locked(repository.lock("verify"), "verification", attempted=attempted):
        return _Run(repository, bin_directory, request, policy, live, moment, progress).execute()


def _recent(runs: dict[str, Any], request: VerifyRequest, now: datetime) -> str | None:
    """When the last one ended, if that is recent enough. A bad end counts: it has been said."""
    if request.max_age_seconds is None or request.labels:
        return None
    ended = (runs.get(request.kind) or {}).get("ended_at")
    try:
        age = (now - parse_utc(str(ended))).total_seconds() if ended else None
    except (KeeperError, ValueError):
        age = None
    return str(ended) if age is not None and 0 <= age < request.max_age_seconds else None


class _Run:
    """What is known at the beginning, and what is found on the way."""

    def __init__(
        self,
        repository: Repository,
        bin_directory: str,
        request: VerifyRequest,
        policy: Policy | None,
        live: tuple[int, int] | None,
        now: datetime,
        progress: Progress | None,
    ) -> None:
        self.repository, self.bin_directory, self.request = repository, bin_directory, request
        self.policy, self.live, self.now = policy, live, now
        self.progress = progress or (lambda _done, _total, _note: None)
        self.records = Records.read(repository)
        self.state: RetentionState = ask_state(repository, bin_directory, live=live, now=now)
        finished = [one for one in self.state.catalog.backups if one.finished]
        self.backups = [one for one in finished if not request.labels or one.label in request.labels]
        self.shelf = read_shelf(repository)
        self.dumps = [
            one
            for one in self.shelf.dumps
            if one.finished and (not request.labels or {one.key, one.label}.intersection(request.labels))
        ]
        self._refuse_unknown()
        self.since = self._thorough_since()
        self.resumed = self.since is not None and self.since != now
        self.steps = self._steps()
        self.total = sum(step.item.stored_bytes for step in self.steps.values() if step.depth != LOOK)
        self.done = 0
        self.changed = False
        rate = request.max_rate_kbytes
        self.throttle = Throttle(rate * 1024 if rate else None)

    def _refuse_unknown(self) -> None:
        known = {one.label for one in self.backups}
        known |= {name for one in self.dumps for name in (one.key, one.label)}
        for label in self.request.labels:
            if label not in known:
                # Says which there are, or what is wrong with its entry, or that it was never finished.
                self.state.catalog.find(label).facts(even_unsound=True)

    def _thorough_since(self) -> datetime | None:
        """When the thorough run began that this one is, or goes on with."""
        if not self.request.thorough:
            return None
        last = self.records.runs.get("thorough") or {}
        try:
            began = parse_utc(str(last["began_at"]))
        except (KeyError, ValueError, KeeperError):
            return self.now
        unfinished = last.get("ended_at") is None and self.now - PATIENCE <= began <= self.now
        return began if unfinished else self.now

    def _steps(self) -> dict[str, Step]:
        items = [
            Item(record_name("base", one.label), one.stored_bytes, signature_of(self.repository, one))
            for one in self.backups
        ]
        items += [
            Item(record_name("dump", one.key), one.stored_bytes, dump_signature(self.repository, one))
            for one in self.dumps
        ]
        known = {item.identity: found for item in items if (found := self.records.known(item.identity))}
        steps = make_plan(
            items, known, now=self.now, asked=bool(self.request.labels), thorough_since=self.since
        )
        return {step.item.identity: step for step in steps}

    def plan(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "thorough": self.request.thorough,
            "read_bytes": self.total,
            "backups": [self._planned("base", one.label, "label") for one in self.backups],
            "dumps": [self._planned("dump", one.key, "name") for one in self.dumps],
        }

    def _planned(self, kind: str, name: str, key: str) -> dict[str, Any]:
        step = self.steps[record_name(kind, name)]
        return {key: name, "depth": step.depth, "why": step.why, "stored_bytes": step.item.stored_bytes}

    # -- doing it ----------------------------------------------------------------------------------------

    def execute(self) -> dict[str, Any]:
        began = monotonic()
        whole = not self.request.labels
        note = {"began_at": moment_text(self.since or self.now), "ended_at": None, "good": None}
        if whole:
            self.records.note_run(self.request.kind, note)
        backups = [self._base(one) for one in self.backups]
        dumps = [self._dump(one) for one in self.dumps]
        wal = self._wal(backups) if whole else []
        bad = [one["label"] for one in backups if one["result"] not in (GOOD, "gone")]
        bad += [one["name"] for one in dumps if one["result"] not in (GOOD, "gone")]
        bad += [f"wal {one['system_id']}" for one in wal if one["result"] != GOOD]
        damaged = [entry.label for entry in self.state.catalog.damaged] if whole else []
        damaged += [entry.key for entry in self.shelf.damaged] if whole else []
        bad += damaged
        if whole:
            self._forget()
            ended = {**note, "ended_at": format_utc(utc_now()), "good": not bad, "bad": bad}
            self.records.note_run(self.request.kind, {**ended, "read_bytes": self.throttle.total})
            if self.request.thorough:
                self.records.note_run("cheap", {**ended, "read_bytes": self.throttle.total})
        result: dict[str, Any] = {
            "changed": self.changed,
            "executed": True,
            "plan": self.plan(),
            "verification": {
                "good": not bad,
                "bad": bad,
                "thorough": self.request.thorough,
                "whole": whole,
                "left_bad": len(self.records.bad()),
                "resumed": self.resumed,
                "backups": backups,
                "dumps": dumps,
                "wal": wal,
                "damaged": damaged,
                "bytes": self.throttle.total,
                "files": len(self.steps),
                "segments": sum(one["read_segments"] for one in wal),
                "seconds": round(monotonic() - began, 3),
            },
            "exit_status": EXIT_FAILED if bad else EXIT_DONE,
        }
        if bad:
            result["error"] = self._error(bad, [*backups, *dumps, *wal])
        return result

    def _error(self, bad: list[str], found: list[dict[str, Any]]) -> dict[str, Any]:
        faults = [one["fault"] for one in found if one.get("fault")]
        text = f": {faults[0]['code']}: {faults[0]['text']}" if faults else ""
        return {
            "code": "verification-failed",
            "attempted": f"verify what is stored of cluster {self.repository.cluster}",
            "happened": f"{len(bad)} found bad: {', '.join(bad)}{text}",
            "remedy": "Bring the files back from a copy of the repository and verify again, or take a new backup: "
            "dbkeeper backup. What is marked is used by no restore.",
        }

    def _read(self, count: int) -> None:
        self.done += count
        self.progress(self.done, self.total, "")

    def _base(self, backup: Backup) -> dict[str, Any]:
        identity = record_name("base", backup.label)
        step = self.steps[identity]
        self.progress(self.done, self.total, backup.label)
        told: dict[str, Any] = {
            "label": backup.label,
            "kind": backup.kind,
            "depth": step.depth,
            "why": step.why,
            "fault": None,
        }
        return self._read_one(
            told,
            "base",
            backup.label,
            identity,
            lambda: verify_base(self.repository, backup, step.depth, self.throttle, self._read),
            lambda fault: mark(self.repository, backup.label, fault),
        )

    def _dump(self, dump: Dump) -> dict[str, Any]:
        identity = record_name("dump", dump.key)
        step = self.steps[identity]
        self.progress(self.done, self.total, dump.key)
        told: dict[str, Any] = {
            "name": dump.key,
            "database": dump.database,
            "label": dump.label,
            "depth": step.depth,
            "why": step.why,
            "fault": None,
        }
        return self._read_one(
            told,
            "dump",
            dump.key,
            identity,
            lambda: verify_dump(
                self.repository, dump, step.depth, self.bin_directory, self.throttle, self._read
            ),
            lambda fault: mark_dump(self.repository, dump, fault),
        )

    def _read_one(
        self,
        told: dict[str, Any],
        kind: str,
        name: str,
        identity: str,
        read: Callable[[], dict[str, str] | None],
        note: Callable[[dict[str, str] | None], str],
    ) -> dict[str, Any]:
        """Read it, mark what was found, write down that it was read."""
        step = self.steps[identity]
        began, before = monotonic(), self.throttle.total
        try:
            fault = read()
        except KeeperError as error:
            # Nobody knows: neither marked nor cleared, and not written down as read.
            return {**told, "result": "unknown", "fault": {"code": error.code, "text": error.happened}}
        # A look says nothing of the bytes: it can mark, not clear.
        outcome = note(fault) if fault or step.depth == FULL else "same"
        told |= {
            "result": "gone" if outcome == "gone" else BAD if fault else GOOD,
            "mark": outcome,
            "fault": fault,
            "read_bytes": self.throttle.total - before,
            "seconds": round(monotonic() - began, 3),
        }
        self.changed = self.changed or outcome in ("marked", "cleared")
        if outcome != "gone":
            self._keep(kind, name, identity, step, fault, told["seconds"])
        return told

    def _keep(
        self,
        kind: str,
        name: str,
        identity: str,
        step: Step,
        fault: dict[str, str] | None,
        seconds: float,
    ) -> None:
        known = self.records.known(identity)
        at = utc_now()
        read_at = at if step.depth != LOOK else known.read_at if known else None
        full_at = at if step.depth == FULL else known.full_at if known else None
        value = {
            "operation": "verify",
            "kind": kind,
            "what": name,
            "result": BAD if fault else GOOD,
            "fault": fault,
            "depth": step.depth,
            "signature": step.item.signature,
            "looked_at": format_utc(at),
            "read_at": moment_text(read_at),
            "full_at": moment_text(full_at),
            "stored_bytes": step.item.stored_bytes,
            "seconds_taken": seconds,
        }
        self.records.keep(identity, value)

    def _wal(self, backups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        archives = Archives(
            self.repository, self.records, self.throttle, moment_text(self.since), self._will_read, self._read
        )
        found = [archives.read(system) for system in self.state.systems]
        # What was just learnt of WAL and marks is asked for once more: that is what counts.
        self.state = ask_state(self.repository, self.bin_directory, live=self.live, now=self.now)
        choice = choose(self.policy, self.state) if self.policy else None
        for told, system in zip(found, self.state.systems):
            if system.archive is not None:
                mine = [one for one in self.state.catalog.usable() if one.system_id == system.system_id]
                archives.judge(told, system.archive, mine, promised(choice, mine), backups)
            archives.keep(told)
        return found

    def _will_read(self, count: int, note: str) -> None:
        self.total += count
        self.progress(self.done, self.total, note)

    def _forget(self) -> None:
        """The records of what an expiry has taken away."""
        stored = {record_name("base", one.label) for one in self.state.catalog.backups}
        stored |= {record_name("base", one.label) for one in self.state.catalog.damaged}
        stored |= {record_name("dump", one.key) for one in self.dumps}
        stored |= {record_name("wal", str(one.system_id)) for one in self.state.systems}
        self.records.forget_all_but(stored)
