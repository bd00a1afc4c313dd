# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is known of one database's indexes: rows of the catalogs and counters, and nothing that was concluded.

Expressions and predicates are node trees in the server's own text without what the planner's ``equal()`` does not look
at (places in the query text, how a cast was written): two are the same exactly when the planner takes them as the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DESCENDING, NULLS_FIRST = 1, 2
#: ASC NULLS LAST read backwards is DESC NULLS FIRST: both bits turn.
INVERTED = DESCENDING | NULLS_FIRST
#: Fields of nodes that equal() ignores (nodes/equalfuncs: COMPARE_LOCATION_FIELD, COMPARE_COERCIONFORM_FIELD).
_IGNORED = re.compile(r" :(?:location|funcformat|relabelformat|coerceformat|convertformat|row_format) -?\d+")
#: A partial index's ``column IS NOT NULL``: the only predicate of its kind that a comparison implies by itself.
_NOT_NULL = re.compile(
    r"\{NULLTEST :arg \{VAR :varno 1 :varattno (\d+) [^{}]*\} :nulltesttype 1 :argisrow false\}"
)
_ALL_OF = re.compile(r"\{BOOLEXPR :boolop and :args (\(.*\))\}", re.DOTALL)


class Key(NamedTuple):
    """One key column: what is compared, and how. Equal keys answer the same comparisons."""

    column: int
    expression: str | None
    family: int
    type: int
    collation: int


class Index(NamedTuple):
    """One index (or a partitioned one), as the catalogs have it."""

    oid: int
    table: int
    schema: str
    name: str
    method: str
    keys: tuple[Key, ...]
    options: tuple[int, ...]
    include: tuple[int, ...]
    predicate: str | None
    unique: bool
    nulls_not_distinct: bool
    primary: bool
    exclusion: bool
    immediate: bool
    valid: bool
    ready: bool
    clustered: bool
    identity: bool
    partitioned: bool
    parent: int
    pages: int
    rows: float
    tablespace: int
    settings: tuple[str, ...]
    scans: int
    reads: int
    last_scan: float | None
    operator_options: tuple[tuple[int, str], ...]
    owned: bool
    #: Key -> how finely its expression is sampled, where that was set (ALTER INDEX ... SET STATISTICS).
    statistics: tuple[tuple[int, int], ...] = ()

    @property
    def usable(self) -> bool:
        """Whether queries may be answered by it."""
        return self.valid and self.ready

    @property
    def has_expressions(self) -> bool:
        """Whether a key is an expression: the statistics on it steer plans, even where it is never scanned."""
        return any(key.expression is not None for key in self.keys)


class Column(NamedTuple):
    """A column, with its statistics where they could be read."""

    name: str
    type: int
    not_null: bool
    collation: int
    width: int | None = None
    null_share: float | None = None
    common_share: float | None = None
    #: How far the rows lie in the order of its values: 1 in order, -1 turned round, 0 not at all.
    correlation: float | None = None


class Table(NamedTuple):
    """A table, a partitioned one, or a materialized view. Counters are since the statistics were last reset."""

    oid: int
    schema: str
    name: str
    kind: str
    pages: int
    rows: float
    identity: str
    parent: int
    inserts: int
    updates: int
    deletes: int
    hot_updates: int
    seq_scans: int
    seq_reads: int
    owned: bool

    @property
    def writes(self) -> int:
        """Rows written that an index may have had to follow."""
        return self.inserts + self.updates + self.deletes


class Constraint(NamedTuple):
    """A primary key, unique or exclusion constraint, or a foreign key (``f``)."""

    oid: int
    name: str
    kind: str
    table: int
    backing: int
    target: int
    columns: tuple[int, ...]
    target_columns: tuple[int, ...]
    operators: tuple[int, ...]
    parent: int


class Collation(NamedTuple):
    """A collation whose recorded version is not the one that the host's library has now. oid 0: the database's."""

    oid: int
    schema: str
    name: str
    recorded: str
    actual: str


@dataclass(frozen=True)
class Database:
    """All facts of one database on one node at one moment. ``taken_at`` and ``stats_reset`` in seconds since 1970."""

    name: str
    system_id: str
    node: str
    in_recovery: bool
    taken_at: float
    stats_reset: float | None
    block_bytes: int
    tables: Mapping[int, Table]
    columns: Mapping[int, Mapping[int, Column]]
    indexes: tuple[Index, ...]
    constraints: tuple[Constraint, ...]
    #: Operator -> families in which it is the equality that an index search can use.
    equality: Mapping[int, frozenset[int]]
    collations: tuple[Collation, ...] = ()
    #: Indexes that a running command builds at the moment.
    building: frozenset[int] = frozenset()
    #: (schema, table or index, column or "expression number") -> statistics of expression columns.
    widths: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    statistics_seen: bool = True
    #: Tables that were left out because they are locked: schema, name.
    left_out: frozenset[tuple[str, str]] = frozenset()

    def bytes_of(self, index: Index) -> int:
        """Its size by the catalogs (as of the last VACUUM or ANALYZE); of a partitioned one, of the whole tree."""
        if not index.partitioned:
            return index.pages * self.block_bytes
        return sum(leaf.pages for leaf in self.leaves(index)) * self.block_bytes

    def leaves(self, index: Index) -> list[Index]:
        """The indexes on the partitions that make up a partitioned one; the index itself when it is none."""
        if not index.partitioned:
            return [index]
        return [leaf for child in self.children.get(index.oid, ()) for leaf in self.leaves(child)]

    @property
    def children(self) -> Mapping[int, tuple[Index, ...]]:
        """Partitioned index -> the indexes attached to it."""
        return self._groups("_children", ((index.parent, index) for index in self.indexes if index.parent))

    @property
    def of_table(self) -> Mapping[int, tuple[Index, ...]]:
        """Table -> its indexes, oldest first."""
        return self._groups("_of_table", ((index.table, index) for index in self.indexes))

    @property
    def by_oid(self) -> Mapping[int, Index]:
        """Oid -> index."""
        kept = self.__dict__.get("_by_oid")
        if kept is None:
            kept = self.__dict__["_by_oid"] = {index.oid: index for index in self.indexes}
        found: Mapping[int, Index] = kept
        return found

    def names_in(self, schema: str) -> frozenset[str]:
        """Names of relations in a schema, as far as they were pulled."""
        kept = self.__dict__.setdefault("_names_in", {})
        if schema not in kept:
            kept[schema] = frozenset(
                [one.name for one in self.indexes if one.schema == schema]
                + [one.name for one in self.tables.values() if one.schema == schema]
            )
        found: frozenset[str] = kept[schema]
        return found

    def column_name(self, table: int, number: int) -> str:
        """A column's name."""
        column = self.columns.get(table, {}).get(number)
        return column.name if column else f"column {number}"

    def _groups(self, name: str, pairs: Iterable[tuple[int, Index]]) -> Mapping[int, tuple[Index, ...]]:
        kept = self.__dict__.get(name)
        if kept is None:
            lists: dict[int, list[Index]] = {}
            for key, index in pairs:
                lists.setdefault(key, []).append(index)
            kept = {key: tuple(sorted(group, key=lambda one: one.oid)) for key, group in lists.items()}
            self.__dict__[name] = kept
        found: Mapping[int, tuple[Index, ...]] = kept
        return found


def plain_tree(tree: str | None) -> str | None:
    """A node tree's text without what equal() ignores."""
    return None if tree is None else _IGNORED.sub("", tree)


def split_trees(trees: str) -> list[str]:
    """The members of a list of node trees, ``({...} {...})``; a backslash hides the character after it."""
    parts, depth, begun, place = [], 0, 0, 1
    while place < len(trees) - 1:
        letter = trees[place]
        if letter == "\\":
            place += 1
        elif letter in "{(":
            if depth == 0:
                begun = place
            depth += 1
        elif letter in "})":
            depth -= 1
            if depth == 0:
                parts.append(trees[begun : place + 1])
        place += 1
    return parts


def needed_not_null(predicate: str | None) -> int | None:
    """The column of a predicate that is ``column IS NOT NULL`` and nothing else."""
    match = _NOT_NULL.fullmatch(predicate or "")
    return int(match[1]) if match else None


def never_null(predicate: str | None) -> frozenset[int]:
    """The columns that are not null in any row that a predicate holds of: ``IS NOT NULL`` alone, or joined by AND."""
    whole = _ALL_OF.fullmatch(predicate or "")
    found = (_NOT_NULL.fullmatch(part) for part in (split_trees(whole[1]) if whole else [predicate or ""]))
    return frozenset(int(match[1]) for match in found if match)


def dotted(schema: str, name: str) -> str:
    """A name as people read it; not SQL."""
    return f"{schema}.{name}"


def quoted(*names: str) -> str:
    """A name as SQL takes it whatever it holds: always in quotes."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def thing(kind: str, schema: str, name: str, **more: Any) -> dict[str, Any]:
    """What a finding is about, by names only."""
    return {"kind": kind, "schema": schema, "name": name, **more}
