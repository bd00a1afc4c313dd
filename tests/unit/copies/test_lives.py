# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Random lives and a copy's own retention: what it promises is restorable from the copy alone. So says the life's own
truth, and so says the prover that a restore would ask; also after a death before any deed of an expiry."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.wishes_copies import CopyPolicy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.directory import DirectoryStore
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.expire import expire_copy
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.keep import plan_keep, prove_keep
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.operation import read_sheets, there
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.sheets import WHOLE
from tests.unit.copies.lives import CopyPromises, Segments, left, only_copied, proven, sheets_of
from tests.unit.retention.history import Life

CHUNK = 100


def promised(life: Life, promises: CopyPromises) -> list[int]:
    """Some commits of the present that the copy owes: the first, the last and one between."""
    line = promises.lines.get(life.timeline, [])
    owed = [
        one.lsn
        for one in line
        if (promises.wal_since is None or one.true >= promises.wal_since)
        and one.lsn in promises.reached[life.timeline]
    ]
    return sorted({owed[0], owed[len(owed) // 2], owed[-1]}) if owed else []


def judge(seeds: Iterable[int], clocks: str) -> tuple[int, int]:
    """Expire the copies of so many lives; of how many something went, and how many moments were proven."""
    changed = moments = 0
    for seed in seeds:
        life = Life(
            seed, odd=clocks in ("odd", "odd-here"), astray=clocks == "astray", undone=clocks == "undone"
        )
        only_copied(life)
        sheets = sheets_of(life, elsewhere=clocks == "odd-here")
        plan = plan_keep(life.policy, None, sheets, {})
        prove_keep(plan, sheets, {})
        labels, present = left(life, plan)
        promises = CopyPromises(life)
        try:
            promises.check(labels, present)
            for lsn in promised(life, promises):
                if proven(life, promises.labels, promises.present, lsn):
                    assert proven(life, labels, present, lsn), f"no proof for {lsn:X} any more"
                    moments += 1
        except AssertionError as error:
            raise AssertionError(f"life {seed}, {clocks}: {error}") from error
        changed += bool(plan.groups or plan.wal)
    return changed, moments


#: Clocks that go wrong by years, of all hosts or of the database's only; that are set right again; restores undone.
CLOCKS = ("sane", "odd", "odd-here", "astray", "undone")


@pytest.mark.parametrize("clocks", CLOCKS)
def test_lives(clocks: str) -> None:
    changed, moments = judge(range(CHUNK), clocks)
    assert changed > CHUNK // 4 and moments > CHUNK


@pytest.mark.matrix
@pytest.mark.parametrize("clocks", CLOCKS)
@pytest.mark.parametrize("chunk", range(24))
def test_twelve_thousand_lives(chunk: int, clocks: str) -> None:
    changed, moments = judge(range(1000 + chunk * 100, 1100 + chunk * 100), clocks)
    assert changed > 20 and moments > 100


class Flat(DirectoryStore):
    """A store that renames nothing, as one for objects: each file comes and goes by itself."""

    renames = False


class Died(BaseException):
    """Nobody catches it but the test."""


def lay_out(store: DirectoryStore, life: Life) -> None:
    """All of a life in a store; not as durable as a run would have it."""
    for sheet in sheets_of(life).values():
        files = {key: b"x" * kept.bytes for key, kept in sheet.objects.items()}
        for key, data in {**files, sheet.key: sheet.to_bytes()}.items():
            path = Path(store.where) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def listed(store: DirectoryStore, life: Life) -> tuple[set[str], Segments]:
    """What a restore from the copy would see: whole groups with all that they name, and WAL that lies there."""
    lying = there(store)
    labels = set()
    for name, sheet in read_sheets(store).items():
        if sheet.kind == "base" and sheet.state == WHOLE:
            assert {kept.name for kept in sheet.objects.values()} <= set(lying), (
                f"{name} is listed and broken"
            )
            labels.add(name.removeprefix("base/"))
    names = {key.rpartition("/")[2][:24] for key in lying if key.startswith("wal/")}
    return labels, {one for one in life.present() if life.name(*one) in names}


def expire(store: DirectoryStore, life: Life, die_at: int | None = None) -> bool:
    """One expiry; False: it died before that deed."""
    left_over = die_at

    def watch(_deed: str) -> None:
        nonlocal left_over
        if left_over == 0:
            raise Died
        left_over = None if left_over is None else left_over - 1

    try:
        expire_copy(
            store, CopyPolicy(life.policy), read_sheets(store), there(store), check=False, watch=watch
        )
    except Died:
        return False
    return True


def deaths(seed: int, kind: type[DirectoryStore], root: Path) -> int:
    """Die before each deed of an expiry, look, go on to the end; how many deaths."""
    life = Life(seed)
    only_copied(life)
    promises = CopyPromises(life)
    store = kind(str(root / "whole"))
    lay_out(store, life)
    assert expire(store, life)
    wanted = there(store), set(read_sheets(store))
    count = 0
    while True:
        shutil.rmtree(root / "dying", ignore_errors=True)
        dying = kind(str(root / "dying"))
        lay_out(dying, life)
        if expire(dying, life, count):
            return count
        promises.check(*listed(dying, life))
        # Once more, and once more dead: the deeds of a second try are others.
        if not expire(dying, life, 1):
            promises.check(*listed(dying, life))
        assert expire(dying, life)
        assert (there(dying), set(read_sheets(dying))) == wanted, f"after deed {count} something lingers"
        assert not list((root / "dying").rglob(".going-*"))
        count += 1


@pytest.mark.parametrize("kind", [DirectoryStore, Flat])
def test_a_death_before_any_deed_leaves_what_was_promised(tmp_path: Path, kind: type[DirectoryStore]) -> None:
    assert sum(deaths(seed, kind, tmp_path / str(seed)) for seed in (2, 5)) > 5


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [DirectoryStore, Flat])
@pytest.mark.parametrize("chunk", range(10))
def test_many_deaths(tmp_path: Path, kind: type[DirectoryStore], chunk: int) -> None:
    seeds = range(100 + chunk * 15, 115 + chunk * 15)
    assert sum(deaths(seed, kind, tmp_path / str(seed)) for seed in seeds) > 50
