# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The archives of a repository in a verification: what is read now, where it stood, what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.clock import format_utc, utc_now
from ..repository.catalog import Backup
from ..repository.layout import Repository
from ..repository.source import NativeWalSource
from ..retention.state import SystemState
from ..wal.archive import Archive
from .gentle import Throttle
from .verify_plan import BAD, GOOD, sweep
from .verify_record import Records, record_name
from .verify_wal import archive_faults, continuity, reread, sizes_of


class Archives:
    """``since``: when the thorough run began that this is or goes on with (None: a cheap one)."""

    def __init__(
        self,
        repository: Repository,
        records: Records,
        throttle: Throttle,
        since: str | None,
        planned: Callable[[int, str], None],
        told: Callable[[int], None],
    ) -> None:
        self._repository, self._records, self._throttle = repository, records, throttle
        self._since, self._planned, self._told = since, planned, told

    def read(self, system: SystemState) -> dict[str, Any]:
        """Read again what is due; what is other than the index says is out of it then."""
        told: dict[str, Any] = {
            "system_id": str(system.system_id),
            "result": GOOD,
            "fault": None,
            "segments": 0,
            "read_segments": 0,
            "read_bytes": 0,
            "faulty": [],
            "gaps": [],
        }
        if system.archive is None:
            error = system.error
            fault = {"code": error.code, "text": error.happened} if error else None
            return {**told, "result": "unknown", "fault": fault}
        identity = record_name("wal", str(system.system_id))
        known = self._records.found.get(identity, {})
        high = known.get("high")
        cursor = known.get("cursor")
        if self._since is not None:
            cursor = known.get("thorough_cursor") if known.get("thorough_since") == self._since else None
        sizes = sizes_of(NativeWalSource(self._repository, system.system_id))
        plan = sweep(sizes, cursor, high if isinstance(high, dict) else {}, thorough=self._since is not None)
        before = self._throttle.total
        self._planned(sum(sizes[name] for name in plan.names), f"wal {system.system_id}")
        done = reread(
            self._repository,
            system.system_id,
            system.archive,
            plan,
            self._throttle,
            told=self._told,
            keep=lambda count: self._keep_place(identity, plan.names[:count], plan.fresh),
        )
        read_bytes = self._throttle.total - before
        return {
            **told,
            "read_segments": done.segments,
            "read_bytes": read_bytes,
            "doubted": list(done.doubted),
        }

    def judge(
        self,
        told: dict[str, Any],
        archive: Archive,
        mine: Sequence[Backup],
        required: Mapping[str, bool],
        backups: Sequence[dict[str, Any]],
    ) -> None:
        """Add to an archive, and to what is told of each backup, how far the WAL leads."""
        lines, gaps = continuity(mine, archive, required)
        told |= {"segments": len(archive.entries), "faulty": archive_faults(archive), "gaps": gaps}
        for one in backups:
            if one["label"] in lines:
                one["wal"] = lines[one["label"]]
                if one["result"] == GOOD and one["wal"]["result"] == BAD:
                    one |= {"result": BAD, "fault": _fault_of(one["wal"])}
        if gaps and told["result"] == GOOD:
            told |= {"result": BAD, "fault": _fault_of(gaps[0])}

    def keep(self, told: Mapping[str, Any]) -> None:
        """Write down what came of an archive."""
        identity = record_name("wal", told["system_id"])
        value = {
            **self._records.found.get(identity, {}),
            "operation": "verify",
            "kind": "wal",
            "what": f"wal {told['system_id']}",
            "result": told["result"],
            "fault": told["fault"],
            "looked_at": format_utc(utc_now()),
        }
        self._records.keep(identity, value)

    def _keep_place(self, identity: str, names: Sequence[str], fresh: int) -> None:
        value = dict(self._records.found.get(identity, {}))
        high = dict(value.get("high") or {})
        for name in names:
            high[name[:8]] = max(high.get(name[:8], ""), name)
        value |= {"operation": "verify", "kind": "wal", "high": high}
        if self._since is not None:
            value |= {"thorough_since": self._since, "thorough_cursor": names[-1]}
        elif len(names) > fresh:
            value["cursor"] = names[-1]
        self._records.keep(identity, value)


def _fault_of(value: Mapping[str, Any]) -> dict[str, str]:
    return {"code": str(value.get("code")), "text": str(value.get("text"))}
