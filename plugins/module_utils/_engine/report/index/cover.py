# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which index does another one's work: the exact rule, and a set of drops in which every dropped one is covered.

A is covered by B when B answers every comparison, order and index-only scan that A answers, enforces what A enforces,
and stays. Names, texts of definitions and attribute numbers as text decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .facts import INVERTED, Constraint, Database, Index, needed_not_null

#: A longer index is read instead of the shorter one; up to this many times its size that is taken as no worse.
SIZE_RATIO = 3.0
#: Where rows lie in the order of a column the planner counts on reading them in one go. It takes three quarters of
#: that order for an index with further columns (btcostestimate), and may read the table as a whole instead.
ORDERED = 0.5


class Cover(NamedTuple):
    """``gone`` may go, ``by`` stays. ``exact``: the same index twice; else ``by`` begins with it."""

    gone: Index
    by: Index
    exact: bool


def needed(database: Database) -> dict[int, str]:
    """Index -> why it must stay whatever covers it: ``constraint``, ``identity``, ``clustered``, ``extension``,
    ``partition`` (it is a part of a partitioned index, which can only go as a whole)."""
    constrained = {constraint.backing for constraint in database.constraints if constraint.backing}
    reasons: dict[int, str] = {}
    for index in database.indexes:
        reason = _reason(index, constrained)
        if reason:
            reasons[index.oid] = reason
            continue
        # What a partition's index is needed for keeps the whole tree.
        for leaf in database.leaves(index) if index.partitioned else ():
            if leaf.identity or leaf.clustered:
                reasons[index.oid] = "identity" if leaf.identity else "clustered"
    return reasons


def _reason(index: Index, constrained: set[int]) -> str | None:
    # A foreign key's row names the index of its target, so this holds for targets as well.
    if index.primary or index.exclusion or index.oid in constrained:
        return "constraint"
    if index.identity:
        return "identity"
    if index.clustered:
        return "clustered"
    if index.owned:
        return "extension"
    return "partition" if index.parent else None


def same(one: Index, other: Index) -> bool:
    """Whether both are the same index twice: either does all that the other does."""
    return covers(one, other, exactly=True) and covers(other, one, exactly=True)


def covers(by: Index, index: Index, *, exactly: bool = False) -> bool:
    """Whether ``by`` does all that ``index`` does. ``exactly``: with the same keys and nothing besides."""
    if (
        by.oid == index.oid
        or by.table != index.table
        or by.method != index.method
        or not by.usable
        or not index.usable
        or by.predicate != index.predicate
        or by.partitioned != index.partitioned
        or by.exclusion != index.exclusion
    ):
        return False
    count = len(index.keys)
    if by.keys[:count] != index.keys or not _same_order(by.options[:count], index.options):
        return False
    if index.unique and not _enforces(by, index):
        return False
    if index.method != "btree":
        return _same_otherwise(by, index)
    if exactly:
        return len(by.keys) == count and set(by.include) == set(index.include)
    return set(index.include) <= {key.column for key in by.keys if key.column} | set(by.include)


def _same_order(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """All alike, or all turned round: a B-tree is read in both directions."""
    return one == other or one == tuple(option ^ INVERTED for option in other)


def _enforces(by: Index, index: Index) -> bool:
    """Whether ``by`` refuses every row that ``index``, a unique one, refuses, and as early; keys are already equal."""
    return (
        by.unique
        and len(by.keys) == len(index.keys)
        and (by.nulls_not_distinct or not index.nulls_not_distinct)
        and (by.immediate or not index.immediate)
    )


def _same_otherwise(by: Index, index: Index) -> bool:
    """Of other access methods only the same index twice is redundant, with all that shapes what is stored."""
    return (
        len(by.keys) == len(index.keys)
        and by.options == index.options
        and by.include == index.include
        and by.operator_options == index.operator_options
        and sorted(by.settings) == sorted(index.settings)
    )


def drops(database: Database) -> list[Cover]:
    """What may go, as one set: every ``by`` stays, and none of them is covered only by one that goes."""
    stays = needed(database)
    found: list[Cover] = []
    for indexes in database.of_table.values():
        subjects = [index for index in indexes if index.oid not in stays and index.usable]
        if len(indexes) > 1 and subjects:
            found.extend(_of_table(indexes, subjects, stays))
    return found


def _of_table(indexes: tuple[Index, ...], subjects: list[Index], stays: dict[int, str]) -> Iterable[Cover]:
    gone: set[int] = set()
    beginning: dict[object, list[Index]] = {}
    for one in indexes:
        beginning.setdefault(one.keys[0], []).append(one)
    # Short ones first: whoever covers a longer one covers what that one covers as well, so its cover remains.
    for index in sorted(subjects, key=lambda one: (len(one.keys), len(one.include), -one.oid)):
        alike = beginning[index.keys[0]]
        candidates = [by for by in alike if by.oid not in gone and covers(by, index)]
        twins = [by for by in candidates if same(by, index)]
        if twins and not any(by.oid in stays for by in twins) and index.oid == _keeper([index, *twins]).oid:
            # The one that stays of a group; the longer ones may cover it all the same.
            candidates = [by for by in candidates if by not in twins]
        if not candidates:
            continue
        gone.add(index.oid)
        best = min(candidates, key=lambda by: (not same(by, index), by.oid not in stays, by.pages, by.oid))
        yield Cover(index, best, same(best, index))


def _keeper(group: list[Index]) -> Index:
    """Of the same index several times: the unique one, then the most finely sampled, then the oldest."""
    return min(
        group,
        key=lambda index: (not index.unique, -sum(target for _key, target in index.statistics), index.oid),
    )


def settled(covers_found: list[Cover]) -> list[Cover]:
    """The same, where what covers goes itself for another one: named is the one that stays in the end."""
    by = {cover.gone.oid: cover for cover in covers_found}
    result = []
    for cover in covers_found:
        last = cover
        while last.by.oid in by:
            last = by[last.by.oid]
        result.append(Cover(cover.gone, last.by, same(last.by, cover.gone)))
    return result


def backs(database: Database, index: Index, constraint: Constraint) -> bool:
    """Whether ``index`` finds the rows that refer to a key, as the checks of a foreign key look for them.

    The columns lead a B-tree in any order (or are a hash index's one column, or columns of a GiST or GIN one that knows
    their equality), compared by the constraint's operators; a predicate excludes nulls of one of the columns only.
    """
    if not index.usable or index.table != constraint.table:
        return False
    if index.predicate is not None and needed_not_null(index.predicate) not in constraint.columns:
        return False
    wanted = dict(zip(constraint.columns, constraint.operators))
    target = database.columns.get(constraint.target, {})
    # Rows are compared by the collation of the column that is referred to.
    collations = {
        column: target[number].collation
        for column, number in zip(constraint.columns, constraint.target_columns)
        if number in target
    }
    count = len(wanted)
    if index.method == "gin":
        keys = [key for key in index.keys if key.column in wanted]
    elif index.method in ("btree", "gist") or (index.method == "hash" and count == 1):
        keys = list(index.keys[:count])
    else:
        return False
    return {key.column for key in keys} == set(wanted) and all(
        key.family in database.equality.get(wanted[key.column], frozenset())
        and key.collation == collations.get(key.column, key.collation)
        for key in keys
    )
