# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a statement writes on a restored copy: run in a transaction that is rolled back, without triggers.

An index is paid for by every write, and no plan says how much. So on the copy INSERT, UPDATE, DELETE and MERGE are run
for real, with rows and values that the table has: what is inserted is a row that was taken out before, in the same
transaction. ``session_replication_role = replica`` keeps triggers, rules and foreign keys from doing more than the
statement itself does; what it does not keep away is not run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..index.facts import Database, Table
from ..query.text import Token, tokens
from .candidates import nodes_of, number_of

#: Rows that one execution may change: more leaves so many dead ones that the next index is tried on another table.
MOST_ROWS = 10_000
#: Executions, of which the one that wrote least counts: the first after a checkpoint writes whole pages.
TIMES = 2
#: What a table must not have: parts on other servers, rules, triggers that replicas have, checks that may do anything.
UNFIT = """
WITH RECURSIVE tree AS (
  SELECT %s::oid AS oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t ON t.oid = i.inhparent
)
SELECT 1 FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid
WHERE c.relkind NOT IN ('r', 'p') OR c.relhasrules
   OR EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.oid AND g.tgenabled IN ('A', 'R'))
   OR EXISTS (SELECT FROM pg_catalog.pg_constraint k
              JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = k.oid
              JOIN pg_catalog.pg_proc p ON d.refclassid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.refobjid
              WHERE k.conrelid = t.oid AND p.provolatile = 'v')
LIMIT 1
"""
#: Parts of tables that are on other servers: a plan need not show them.
DISTANT = """
SELECT 1 FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind = 'f' LIMIT 1
"""
#: Of what type each parameter is, for those that are compared with no column.
TYPES = """
SELECT t.typcategory, t.typname, (SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid LIMIT 1)
FROM pg_catalog.pg_prepared_statements s, unnest(s.parameter_types) WITH ORDINALITY AS p (type, place)
     JOIN pg_catalog.pg_type t ON t.oid = p.type
WHERE s.name = 'dbkeeper_trial' ORDER BY p.place
"""
_OF_CATEGORY = {
    "N": "1",
    "S": "x",
    "B": "true",
    "D": "2026-01-01",
    "T": "1 day",
    "A": "{}",
    "I": "192.0.2.1",
}
_OF_TYPE = {"uuid": "00000000-0000-4000-8000-000000000000", "json": "{}", "jsonb": "{}", "bytea": "\\x00"}
_OUTPUT = re.compile(r"\(*\$(\d+)\)*(?:::.*)?")
_DISTANT_NODES = frozenset(("Foreign Scan", "Foreign Insert", "Foreign Update", "Foreign Delete"))


def target(plan: Mapping[str, Any], database: Database) -> Table | None:
    """The table that a statement changes; None where it changes none, or what is not known."""
    if plan.get("Node Type") != "ModifyTable":
        return None
    schema, name = str(plan.get("Schema")), str(plan.get("Relation Name"))
    return next((one for one in database.tables.values() if (one.schema, one.name) == (schema, name)), None)


def reaches_out(plan: Mapping[str, Any], *, distant: bool) -> bool:
    """Whether it may ask another server; ``distant``: some partition lies there, and pruned ones are not shown."""
    return any(
        node.get("Node Type") in _DISTANT_NODES or (distant and node.get("Subplans Removed"))
        for node, _above in nodes_of(plan, ())
    )


def is_insert(plan: Mapping[str, Any]) -> bool:
    """Whether rows are made, and none is looked for."""
    return plan.get("Operation") == "Insert"


def inserted(plan: Mapping[str, Any]) -> dict[int, int]:
    """Parameter -> the number of the column that it becomes, of an INSERT of one row: a plan has them in their order,
    dropped ones among them."""
    if not is_insert(plan) or not plan.get("Plans"):
        return {}
    found = {}
    for place, said in enumerate(plan["Plans"][0].get("Output", ()), 1):
        match = _OUTPUT.fullmatch(str(said))
        if match:
            found[int(match[1])] = place
    return found


def assigned(text: str, table: Table, database: Database) -> dict[int, int]:
    """Parameter -> the number of the column that it is assigned to, of ``SET column = $1``; not within parentheses."""
    parts = tokens(text)
    begin = next((at for at, part in enumerate(parts) if _is(part, "SET")), len(parts))
    found: dict[int, int] = {}
    depth = 0
    for at in range(begin + 1, len(parts) - 2):
        depth += {"(": 1, ")": -1}.get(parts[at].text, 0)
        if depth == 0 and any(_is(parts[at], word) for word in ("WHERE", "FROM", "RETURNING")):
            break
        before, column, sign, value = parts[at - 1], parts[at], parts[at + 1], parts[at + 2]
        if (
            depth == 0
            and (before.text == "," or at == begin + 1)
            and sign.text == "="
            and value.text[:1] == "$"
        ):
            number = number_of(database, table, column.text)
            ends = at + 3 >= len(parts) or parts[at + 3].text == "," or parts[at + 3].kind == "word"
            if number and ends and value.text[1:].isdigit():
                found[int(value.text[1:])] = number
    return found


def _is(part: Token, word: str) -> bool:
    return part.kind == "word" and part.text.upper() == word


def of_types(rows: Sequence[Sequence[Any]]) -> dict[int, str]:
    """A value for each parameter by its type, as :data:`TYPES` tells them; none for a type that is not known."""
    found = {}
    for place, (category, name, label) in enumerate(rows, 1):
        value = label if category == "E" else _OF_TYPE.get(str(name), _OF_CATEGORY.get(str(category)))
        if value is not None:
            found[place] = str(value)
    return found
