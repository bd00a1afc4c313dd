# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Doing what a plan says, step by step, with a journal. Decides nothing: a killed run is finished by the same code."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from ..cluster.config import ClusterConfig
from ..cluster.controldata import read_control_data
from ..cluster.home import repository_named_by
from ..cluster.psql import query
from ..core.clock import format_utc, label_time, parse_utc, utc_now
from ..core.errors import Failed, KeeperError, Refused
from ..core.journal import Journal
from ..core.progress import Progress
from ..repository.engine import BackupEngine
from ..repository.evidence import write_evidence
from ..repository.layout import Repository
from ..repository.leases import release_lease, take_lease
from ..wal.index import WalIndex
from ..wal.lsn import format_lsn, parse_lsn
from ..wal.segment import is_segment_name
from . import rearm, staging, steps
from .amcheck import amcheck, evidence
from .combine import combine
from .live_end import require_nothing_new
from .measured import rpo, rto_seconds
from .plan import RestorePlan
from .preflight import preflight
from .replay import (
    NoRoomForPrepared,
    Reached,
    StagedServer,
    abandon,
    archived_by,
    cut_short,
    disk_full,
    promoted,
    reached,
    replay,
)
from .state import live_cluster
from .swap import swap

JOURNAL = "restore.journal.json"
#: The steps that make the copy which is replayed into.
_COPY = (steps.STAGE, steps.COMBINE, steps.CONFIGURE, steps.REPLAY, steps.VERIFY)


def journal_path(config: ClusterConfig) -> str:
    """Where the journal of a cluster's restore lies."""
    return f"{config.state_directory}/{JOURNAL}"


def boot_id() -> str:
    """Which boot of this machine it is: a staged copy is not durable before it is settled."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()


def _on_the_way(error: Refused) -> Failed:
    """A refusal of one step, as a failure of the whole."""
    return Failed(
        error.code,
        attempted=error.attempted,
        happened=error.happened,
        remedy=f"{error.remedy} Then run the same restore again: it goes on from there.",
        details=error.details,
    )


class Execution:
    """One restore on its way, from its first step or from where a killed run left it."""

    def __init__(
        self,
        plan: RestorePlan,
        config: ClusterConfig,
        repository: Repository,
        engine: BackupEngine,
        journal: Journal,
        progress: Progress,
        home: ClusterConfig | None = None,
    ) -> None:
        """``home``: the description as it is, where ``repository`` is another one that a copy was brought back to."""
        self.plan = plan
        self.config = config
        self.repository = repository
        self.engine = engine
        self.journal = journal
        self.progress = progress
        self._home = home or config

    def run(self) -> dict[str, Any]:
        """All steps that are left. Raises :class:`Failed`; the journal then says what is done."""
        try:
            self._steps()
        except KeeperError as error:
            self._doubt(error)
            self._evidence("failed", error)
            if isinstance(error, Refused) and self.journal.status(steps.STOP_LIVE) is not None:
                # What a later step refuses touches nothing by itself, but the restore has.
                raise _on_the_way(error) from error
            raise
        return self._evidence("restored")

    def _doubt(self, error: KeeperError) -> None:
        """A segment that could not be delivered as it was proven is read again by the next plan, which tells the truth.

        The index would believe in it as long as size, times and inode stay the same, as they do on a disk that rots.
        """
        name = str(error.details.get("fault", {}).get("name", ""))
        if is_segment_name(name):
            # Only the next plan would be less true for it; the error that is being told matters more.
            with contextlib.suppress(KeeperError, OSError):
                WalIndex(self.repository.index(self.plan.system_id)).doubt(name)

    def _steps(self) -> None:
        if not self.journal.is_done(steps.KEEP_OLD):
            # Seen again before the swap; here it spares whoever goes on with a killed restore the hours till then.
            require_nothing_new(self.plan, live_cluster(self.config))
        self._restage_after_reboot()
        self._restage_after_cut_promotion()
        self._do(steps.LEASE, self._lease)
        self._do(steps.STAGE, self._stage, total=self.plan.staged_bytes)
        self._do(steps.COMBINE, self._combine)
        self._do(steps.CONFIGURE, lambda: staging.configure(self.plan, self.config, self.journal.begun))
        self._replay_and_verify()
        self._do(steps.SETTLE, self._settle)
        self._timeline_is_still_ours()
        swap(self.plan, self.config, self.journal, self._do)
        self._evidence("restored")
        self._do(steps.PROVE_ARCHIVING, self._prove_archiving)
        if not self.plan.skip_backup:
            self._do(steps.BACKUP, self._backup)
        self._do(steps.CLEAN_UP, self._clean_up)
        self.journal.finish("done")

    def _do(self, name: str, action: Callable[[], None], total: int | None = None) -> None:
        if self.journal.is_done(name):
            return
        self.progress.phase(name, total=total)
        began = time.monotonic()
        try:
            self.journal.step(name, action)
        finally:
            seconds = dict(self.journal.data.get("seconds", {}))
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - began, 3)
            self.journal.note(seconds=seconds)

    def _restage_after_reboot(self) -> None:
        """Before it is settled the copy was only in memory for all we know: after a reboot it is made again (D10)."""
        journal = self.journal
        if journal.data.get("boot_id") != boot_id() and not journal.is_done(steps.SETTLE):
            journal.reset(*_COPY)
        journal.note(boot_id=boot_id())

    def _restage_after_cut_promotion(self) -> None:
        """A copy whose promotion a killed run left half-done is made again; a finished one is kept (D02)."""
        journal = self.journal
        if journal.is_done(steps.VERIFY) or journal.status(steps.REPLAY) is None:
            return
        staging.stop_left_behind(self.plan)
        if cut_short(self.plan, self.config):
            journal.reset(*_COPY)

    def _lease(self) -> None:
        """From here on nothing that the plan needs expires, not even when this run is killed (D05)."""
        take_lease(
            self.repository,
            self.plan.id,
            purpose=f"restore of {self.plan.cluster}",
            label=self.plan.backup,
            system_id=self.plan.system_id,
            first_segment=self.plan.segments[0][0],
            keep=True,
        )

    def _stage(self) -> None:
        staging.stage(self.plan, self.engine, self.progress.update)

    def _combine(self) -> None:
        try:
            combine(self.plan, self.config)
        except Failed as error:
            if error.code == "combined-copy-unfit":
                # What it was made of lies on the same disk: the next run fetches it again.
                self.journal.reset(steps.STAGE)
            raise

    def _replay_and_verify(self) -> None:
        """One server does both; a run that was killed after the promotion only verifies."""
        journal = self.journal
        if journal.is_done(steps.VERIFY):
            return
        if not promoted(self.plan):
            staging.write_get_plan(self.plan, self.config, journal.begun)
            journal.reset(steps.REPLAY, steps.VERIFY)
        elif journal.status(steps.REPLAY) == "begun":
            self._note_reached(reached(self.plan))
        try:
            self._with_server()
        except NoRoomForPrepared:
            staging.make_room(self.plan)
            self._with_server()

    def _with_server(self) -> None:
        with StagedServer(self.plan, self.config) as server:
            self._do(steps.REPLAY, lambda: self._replay(server), total=self.plan.wal_bytes)
            self._do(steps.VERIFY, lambda: self._verify(server))

    def _settle(self) -> None:
        # A second time there is nothing left to remove; what the first one removed stays on record.
        try:
            removed = staging.settle(self.plan, self.config)
        except OSError as error:
            # What could not be written once is taken for clean by the kernel: nothing of the copy is believed any more.
            self.journal.reset(*_COPY)
            raise self._unfit(f"it cannot be made durable: {error.filename}: {error.strerror}") from error
        before = list(self.journal.data.get("removed_settings", []))
        self.journal.note(removed_settings=before + [name for name in removed if name not in before])
        preflight(self.plan, self.config, int(self.journal.data.get("prepared_transactions", 0)))

    def _replay(self, server: StagedServer) -> None:
        self._note_reached(
            replay(
                self.plan,
                server,
                lambda done, note: self.progress.update(done, note=note),
                stalled_after=float(self.config.restore.stalled_after_seconds),
            ),
        )

    def _note_reached(self, found: Reached) -> None:
        self.journal.note(
            reached={
                "lsn": format_lsn(found.lsn),
                "inclusive": found.inclusive,
                "end_lsn": format_lsn(found.end_lsn),
                "new_timeline": found.new_timeline,
            }
        )

    def _verify(self, server: StagedServer) -> None:
        """The success test: out of recovery, right system, right timeline, nothing archived, a clean stop.

        A copy that fails it is kept and never swapped (fault D11).
        """
        deadline = time.monotonic() + 60
        while not server.ready() or server.ended() is not None:
            status = server.ended()
            if status is not None or time.monotonic() > deadline:
                raise self._silent(f"is not ready (status {status})")
            time.sleep(0.05)
        try:
            row = query(
                self.config,
                "SELECT pg_is_in_recovery(), system_identifier, pg_walfile_name(pg_current_wal_insert_lsn()), "
                "(SELECT archived_count FROM pg_stat_archiver), (SELECT count(*) FROM pg_prepared_xacts) "
                "FROM pg_control_system()",
                socket_directory=server.socket_directory,
            )[0]
        except KeeperError as error:
            raise self._silent(f"does not answer: {error.happened}") from error
        new_timeline = int(self.journal.data["reached"]["new_timeline"])
        found = {
            "in recovery": (row[0], "f"),
            "system identifier": (row[1], self.plan.system_id),
            "timeline": (int(str(row[2])[:8], 16), new_timeline),
            "archived segments": (row[3], "0"),
            "files marked as archived": (archived_by(self.plan, new_timeline), []),
        }
        wrong = [
            f"{name} is {value}, not {wanted}" for name, (value, wanted) in found.items() if value != wanted
        ]
        if wrong:
            raise self._unfit("; ".join(wrong))
        self.journal.note(prepared_transactions=int(str(row[4])))
        if self.plan.request.get("verify_amcheck"):
            self._amcheck(server)
        server.stop()
        control = read_control_data(self.config.bin_directory, self.plan.staging)
        if not control.shut_down:
            raise self._unfit(f"pg_control says {control.state!r} after a clean stop")

    def _amcheck(self, server: StagedServer) -> None:
        self.progress.phase("amcheck", note="every table and index")
        began = time.monotonic()
        found = amcheck(self.config, server.socket_directory, self.journal)
        seconds = round(time.monotonic() - began, 3)
        self.journal.note(amcheck={**evidence(found), "seconds": seconds})
        if found:
            more = f", and {len(found) - 1} findings more" if len(found) > 1 else ""
            raise Failed(
                "restored-copy-unfit",
                attempted="check every table and index of the restored copy before it takes the live cluster's place",
                happened=f"pg_amcheck: {found[0]}{more}; nothing was swapped, the live cluster is as it was",
                remedy=f"Abandon it (dbkeeper undo --cluster {self.plan.cluster} --confirm {self.plan.cluster}), then "
                "restore from an older backup (--backup), or without --amcheck, and REINDEX what was named.",
                details={"amcheck": evidence(found)},
            )

    def _timeline_is_still_ours(self) -> None:
        """Whoever promotes without asking us may have archived the new timeline's number meanwhile (D13).

        Then this copy could never be archived: the next run stages it again, and gets another number.
        """
        if self.journal.is_done(steps.STOP_LIVE):
            return
        timeline = int(self.journal.data["reached"]["new_timeline"])
        if self.engine.wal_source(self.plan.system_id).read_history(timeline) is None:
            return
        self.journal.reset(*_COPY, steps.SETTLE)
        raise Failed(
            "timeline-taken",
            attempted=f"put the restored copy, on timeline {timeline}, in the live cluster's place",
            happened=f"another server has archived a timeline {timeline} since; nothing was swapped, the live cluster "
            "is as it was",
            remedy="Find out which server was promoted and archives here; it must not be a second primary of this "
            "cluster. Then run the same command again: it stages the copy again, on a timeline of its own.",
            details={"timeline": timeline},
        )

    def _silent(self, why: str) -> Failed:
        full = disk_full(self.plan, "verify the restored copy before it takes the live cluster's place")
        return full or self._unfit(f"the staged server {why}")

    def _unfit(self, why: str) -> Failed:
        return Failed(
            "restored-copy-unfit",
            attempted="verify the restored copy before it takes the live cluster's place",
            happened=f"{why}; nothing was swapped, the live cluster is as it was",
            remedy=f"Read {staging.log_path(self.plan)}: the copy is kept in {self.plan.work_directory}. Run the same "
            f"command to verify it again, or abandon it: {abandon(self.plan)}",
        )

    def _prove_archiving(self) -> None:
        self.journal.note(archived_segment=rearm.prove_archiving(self.plan, self._home, self._own()))

    def _backup(self) -> None:
        self.journal.note(new_backup=rearm.new_backup(self._home, self._own(), self.progress))

    def _own(self) -> Repository:
        """The repository that the restored cluster archives to."""
        return self.repository if self._home is self.config else repository_named_by(self._home)

    def _clean_up(self) -> None:
        staging.clean_up(self.plan)
        release_lease(self.repository, self.plan.id)

    def _lost_wal_bytes(self) -> int | None:
        """WAL that the old cluster had written past the point reached, where both are on one timeline."""
        data = self.journal.data
        if data.get("reached") is None or data.get("old_timeline") != self.plan.timeline:
            return None
        return max(0, parse_lsn(data["old_end_lsn"]) - parse_lsn(data["reached"]["end_lsn"]))

    def _evidence(self, result: str, error: KeeperError | None = None) -> dict[str, Any]:
        """What was asked, planned and reached, and how long it took: kept in the repository."""
        data, plan = self.journal.data, self.plan
        identity = f"{label_time(parse_utc(self.journal.record['begun']))}-restore-{plan.id}"
        record = {
            "result": result,
            "error": error.to_dict() if error else None,
            "cluster": plan.cluster,
            "host": socket.gethostname(),
            "replaced": plan.live,
            "plan_id": plan.id,
            "asked": plan.request,
            "planned": plan.proof,
            "notes": plan.notes,
            "backup": plan.backup,
            "reached": data.get("reached"),
            "begun": self.journal.record["begun"],
            "ended": format_utc(utc_now()),
            "seconds": data.get("seconds", {}),
            "downtime_seconds": data.get("downtime_seconds"),
            "rto_seconds": rto_seconds(data),
            "rpo": rpo(plan, data),
            "staged_bytes": plan.staged_bytes,
            "wal_bytes": plan.wal_bytes,
            "lost": {
                **plan.lost,
                "unarchived_segments": data.get("unarchived_segments", []),
                "since_the_archive_ends": False,
                "wal_bytes": self._lost_wal_bytes(),
            },
            "kept_directory": data.get("kept_directory"),
            "archived_segment": data.get("archived_segment"),
            "removed_settings": data.get("removed_settings", []),
            "new_backup": data.get("new_backup"),
            "chain": [link["label"] for link in plan.chain],
            "amcheck": data.get("amcheck"),
            "versions": {"postgresql": self.config.version, "major": plan.major},
            "steps": self.journal.record["steps"],
        }
        path = write_evidence(self.repository, identity, record)
        return {**record, "id": identity, "path": path}
