# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Random damage to archives: the planner never plans what replay could not finish, never refuses what is whole.

Each try lays a copy of a real archive (three timelines, two backups) out of links, lets one to three things happen to
it, and asks for a random target, with an index that knows the archive from before or with none. A plan is held against
the truth of ``forked_archive``: the record to stop at, the segments by name, and their bytes as they are on disk now.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.source import NativeWalSource
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.facts import Proof, Target
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.index import WalIndex
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.wal.proof import prove

from .archive_mutations import HARMLESS, Mutable, mutate, unpacked
from .forked_archive import PAGE, SEGMENT, Aim, ForkedArchive
from .harness.installation import a_major_a_day, installations
from .harness.sandbox import Sandbox
from .harness.world import lsn_number

SEED = int(os.environ.get("DBKEEPER_TEST_SEED") or time.time_ns() % 1_000_000_000)
IN_ALL = 10_000
IN_SLICE = 60
BATCH = 250


class Judge:
    """One archive, its aims, and the tries on it."""

    def __init__(self, sandbox: Sandbox, major: int) -> None:
        self.sandbox = sandbox
        self.archive = ForkedArchive(sandbox, installations()[major])
        self.major = major
        self.counts: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self._foreign = _foreign(self.archive)
        self._bin = self.archive.server.bin_directory
        self._warm = self._index_of_the_whole()
        self.aims = [aim for aim in self._aims() if self._is_true(aim)]

    # -- targets -----------------------------------------------------------------------------------------

    def _aims(self) -> Iterator[Aim]:
        backups = self.archive.server.backups
        for branch in (1, 2, 3):
            records = [r for r in self.archive.records[branch] if r.lsn >= backups[0].stop_lsn]
            forks = [begin for _dummy, begin, _dummy in self.archive.spans[branch]]
            own = [r for r in records if r.lsn >= forks[-1]] if branch > 1 else records
            ends = [r for r in own if r.time]
            for record in ends[::7]:
                if "COMMIT" in record.description:
                    yield Aim(
                        Target("xid", record.xid, timeline=branch), branch, record.lsn, record.end, True
                    )
            for before, record in list(zip(ends, ends[1:]))[::5]:
                assert before.time and record.time
                moment = before.time + (record.time - before.time) / 2
                if before.time < moment < record.time:
                    target = Target("time", moment, timeline=branch)
                    yield Aim(target, branch, record.lsn, record.end, False)
            for record in own[:: max(1, len(own) // 12)]:
                for inclusive in (True, False):
                    target = Target("lsn", record.lsn, inclusive=inclusive, timeline=branch)
                    yield Aim(target, branch, record.lsn, record.end, inclusive)
            for record in own:
                if record.description.startswith("RESTORE_POINT "):
                    name = record.description.partition(" ")[2]
                    yield Aim(Target("name", name), branch, record.lsn, record.end, True)
                    yield Aim(Target("name", name, timeline=branch), branch, record.lsn, record.end, True)
            last = records[-1]
            for target in (
                Target("latest", timeline=branch),
                Target(
                    "time",
                    datetime.now(timezone.utc) - timedelta(seconds=1),
                    timeline=branch,
                    allow_idle_gap=True,
                ),
            ):
                yield Aim(target, branch, last.lsn, last.end, True, open_ended=True)

    def _is_true(self, aim: Aim) -> bool:
        """The whole archive is never refused, and what is planned is the truth."""
        where = Mutable(self.archive, self._place(), random.Random(0), self._foreign)
        try:
            proof = self._prove(where, aim, warm=True)
            assert self._objection(where, aim, proof) is None, f"{aim}: {self._objection(where, aim, proof)}"
        finally:
            shutil.rmtree(where.root)
        return True

    # -- one try -----------------------------------------------------------------------------------------

    def try_one(self, seed: str) -> str | None:
        """What is wrong, or None."""
        chance = random.Random(seed)
        aim = chance.choice(self.aims)
        where = Mutable(self.archive, self._place(), chance, self._foreign)
        try:
            harmless = chance.random() < 0.06
            near = self._near(aim)
            if harmless:
                for name in chance.sample(self.archive.segments(), chance.randint(0, 3)):
                    where.done.append(f"{name}: {chance.choice(HARMLESS)(where, name)}")
            else:
                for _dummy in range(chance.choice((1, 1, 1, 2, 2, 3))):
                    mutate(where, near)
            warm = chance.random() < 0.75
            said = f"DBKEEPER_TEST_SEED={SEED}, try {seed}: {aim}, {'warm' if warm else 'cold'} index: {where.done}"
            try:
                proof = self._prove(where, aim, warm=warm)
            except KeeperError as error:
                self.codes[error.code] += 1
                self.counts["refused"] += 1
                if harmless:
                    return f"{said}\n  a whole archive was refused: {error.code}: {error.happened}"
                return None if error.happened and error.remedy else f"{said}\n  no words: {error}"
            objection = self._objection(where, aim, proof)
            self.counts["harmless, planned" if harmless else "planned, rightly"] += 1
            return f"{said}\n  planned to {proof.lsn:X}: {objection}" if objection else None
        finally:
            where.restore_rights()
            shutil.rmtree(where.root)

    def _near(self, aim: Aim) -> list[str]:
        first = self.archive.server.backups[1].start_lsn // SEGMENT
        if aim.lsn < self.archive.server.backups[1].stop_lsn:
            first = self.archive.server.backups[0].start_lsn // SEGMENT
        return [
            self.archive.name(aim.branch, number) for number in range(first, (aim.end - 1) // SEGMENT + 1)
        ]

    def _prove(self, where: Mutable, aim: Aim, *, warm: bool) -> Proof:
        index = where.root / "index" / str(self.archive.system_id)
        index.mkdir(parents=True)
        if warm:
            shutil.copyfile(self._warm, index / "index.jsonl")
        return prove(
            self.archive.server.backups,
            aim.target,
            index=WalIndex(str(index)),
            source=NativeWalSource(Repository(str(where.root), "main"), self.archive.system_id),
            bin_directory=self._bin,
            now=datetime.now(timezone.utc),
        )

    # -- the judgement -------------------------------------------------------------------------------------

    def _objection(self, where: Mutable, aim: Aim, proof: Proof) -> str | None:
        """Why a recovery by this plan would not end where the target is; None when it would."""
        archive = self.archive
        branch = proof.timeline
        if branch not in archive.spans:
            return f"timeline {branch} is none"
        own = [record for record in archive.records[branch] if record.lsn == proof.lsn]
        if not own:
            return f"no record begins at {proof.lsn:X} on timeline {branch}"
        (record,) = own
        meant = next(one for one in archive.records[aim.branch] if one.lsn == aim.lsn)
        if (record.timeline, record.lsn, proof.inclusive) != (meant.timeline, aim.lsn, aim.inclusive):
            if not aim.open_ended or not self._tail_is_gone(where, aim, proof):
                return (
                    f"meant is {aim.lsn:X}, inclusive {aim.inclusive}, a record of timeline {meant.timeline}"
                )
            self.counts["open end, moved with the archive's"] += 1
        backup = next(one for one in archive.server.backups if one.label == proof.backup)
        if record.lsn < backup.stop_lsn:
            return f"backup {backup.label} ends after it"
        first, last = backup.start_lsn // SEGMENT, (record.end - 1) // SEGMENT
        wanted = [archive.name(branch, number) for number in range(first, last + 1)]
        planned = [segment.name for segment in proof.segments]
        if planned[: len(wanted)] != wanted:
            return f"segments {planned} instead of {wanted}"
        for name, number, segment in zip(wanted, range(first, last + 1), proof.segments):
            objection = self._spoilt(where, name, number, branch, record.end, segment.digest)
            if objection:
                return f"{name} {objection}"
        # The server reads the history of the timeline that it is told to follow, and no other.
        name = f"{branch:08X}.history"
        if branch > 1 and (name not in proof.histories or not self._history_is_true(where, name)):
            return f"{name} is not what it was"
        return None

    def _spoilt(
        self, where: Mutable, name: str, number: int, branch: int, end: int, digest: str
    ) -> str | None:
        packed = where.path(name)
        if (
            packed.is_symlink()
            and os.readlink(packed) != "/nonexistent/segment"
            and not packed.with_suffix("").exists()
        ):
            return None if digest in _identities(packed, self.archive.files[name]) else "has another digest"
        for path in (packed, packed.with_suffix("")):
            if not path.exists():
                continue
            try:
                content = unpacked(path)
            except (OSError, subprocess.CalledProcessError) as error:
                return f"cannot be read: {error}"
            if digest not in _identities(path, content):
                return "has another digest"
            good = self.archive.files[name]
            if content == good:
                continue
            if len(content) != len(good):
                return "has another size"
            mask = self.archive.covered(branch, number, end)
            different = [at for at, (one, other) in enumerate(zip(content, good)) if one != other]
            bad = [at for at in different if mask[at] and not _meaningless(at, content[at] ^ good[at])]
            if bad:
                return f"differs at byte {bad[0]}"
            self.counts["planned with damage that nothing reads"] += 1
        return None if packed.exists() or packed.with_suffix("").exists() else "is not there"

    def _history_is_true(self, where: Mutable, name: str) -> bool:
        """The same ancestors; a position may be a little early, where no record begins before the true one."""
        try:
            now = _ancestors((where.directory / name).read_text())
        except (OSError, ValueError):
            return False
        true = _ancestors(self.archive.files[name].decode())
        return [timeline for timeline, _dummy in now] == [timeline for timeline, _dummy in true] and all(
            0 <= right - said <= 168 and right // SEGMENT == said // SEGMENT
            for (_dummy, said), (_dummy, right) in zip(now, true)
        )

    def _tail_is_gone(self, where: Mutable, aim: Aim, proof: Proof) -> bool:
        """Whether nothing of the branch is left behind the plan's end: then nobody can know that there was more."""
        number = (proof.end_lsn - 1) // SEGMENT + 1
        last = (self.archive.records[aim.branch][-1].end - 1) // SEGMENT
        names = [self.archive.name(aim.branch, later) for later in range(number, last + 1)]
        return bool(names) and not any(
            path.exists() for name in names for path in (where.path(name), where.path(name).with_suffix(""))
        )

    # -- help ------------------------------------------------------------------------------------------------

    def _place(self) -> Path:
        self.counts["places"] += 1
        return self.sandbox.root / f"try-{self.counts['places']}"

    def _index_of_the_whole(self) -> Path:
        directory = self.sandbox.root / f"warm-{self.major}" / str(self.archive.system_id)
        source = NativeWalSource(self.archive.repository, self.archive.system_id)
        report = WalIndex(str(directory)).refresh(source, self._bin)
        assert not any(entry.fault for entry in report.entries.values())
        return directory / "index.jsonl"


def _meaningless(at: int, bits: int) -> bool:
    """A page's flag XLP_BKP_REMOVABLE, a word for archivers that no reader of WAL looks at (xlog_internal.h)."""
    return at % PAGE == 2 and bits == 4


def _ancestors(text: str) -> list[tuple[int, int]]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return [(int(fields[0]), lsn_number(fields[1])) for fields in lines]


def _identities(stored: Path, content: bytes) -> tuple[str, ...]:
    """As what a stored file may be known: by its plain bytes, and by its own where they are packed."""
    plain = hashlib.sha256(content).hexdigest()
    if stored.suffix != ".zst":
        return (plain,)
    return (plain, f"zstd:{hashlib.sha256(stored.read_bytes()).hexdigest()}")


def _foreign(archive: ForkedArchive) -> list[bytes]:
    """The same server's segments with another system identifier, and one that no server ever wrote."""
    content = archive.files[archive.segments()[2]]
    return [content[:24] + bytes(byte ^ 0x5A for byte in content[24:32]) + content[32:], os.urandom(SEGMENT)]


def run(judge: Judge, batch: str, count: int, cell: Callable[..., None]) -> None:
    """So many tries; all objections together."""
    wrong = [
        said for number in range(count) if (said := judge.try_one(f"{SEED}/{judge.major}/{batch}/{number}"))
    ]
    cell(
        major=judge.major,
        seed=SEED,
        mutations=count,
        wrong=len(wrong),
        **judge.counts,
        codes=dict(judge.codes),
    )
    assert not wrong, f"{len(wrong)} of {count}\n" + "\n".join(wrong[:12])


_JUDGES: dict[int, Judge] = {}


@pytest.fixture(scope="module")
def judges() -> Iterator[Callable[[int], Judge]]:
    """Archives are made once a process."""
    sandbox = Sandbox()

    def of(major: int) -> Judge:
        if major not in _JUDGES:
            _JUDGES[major] = Judge(sandbox, major)
        _JUDGES[major].counts.clear()
        _JUDGES[major].codes.clear()
        return _JUDGES[major]

    yield of
    _JUDGES.clear()
    sandbox.close()


@pytest.mark.slow
@pytest.mark.parametrize("major", a_major_a_day())
def test_a_slice_of_random_mutations(
    judges: Callable[[int], Judge], major: int, cell: Callable[..., None]
) -> None:
    run(judges(major), "slice", IN_SLICE, cell)


@pytest.mark.matrix
@pytest.mark.parametrize("batch", range(IN_ALL // BATCH // 5))
@pytest.mark.parametrize("major", sorted(installations()))
def test_random_mutations(
    judges: Callable[[int], Judge], major: int, batch: int, cell: Callable[..., None]
) -> None:
    run(judges(major), str(batch), BATCH, cell)
