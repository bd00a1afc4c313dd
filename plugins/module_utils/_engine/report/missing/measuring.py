# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What a statement reads on a restored copy, run with values that its columns really have.

A generic plan is an estimate over all values. Real columns are skewed: the commonest value may want the whole table,
a rare one an index. So each statement is run, read-only, with values from both ends of the statistics of the columns
that its parameters are compared with; one that writes, as :mod:`.writing` says. The values themselves are told to
nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..index.facts import Database
from .candidates import COLUMN, Run, aliases_of, nodes_of, number_of, unquoted

_OPERATOR = r" (?P<operator>=|<=|>=|<|>) "
_COMPARED = re.compile(
    rf'(?<![\w."])\(?{COLUMN}\)?(?:::[a-z ]+(?:\(\d+\))?)?{_OPERATOR}\(?\$(?P<parameter>\d+)'
)
_TEXTS = re.compile(r"'(?:[^']|'')*'")
_CALL = re.compile(r'(\w+|"(?:[^"]|"")+")\(')
#: Read-only is no promise of a function that may do anything: it may reset statistics, or speak to another server.
VOLATILE = """
SELECT 1 FROM pg_catalog.pg_proc WHERE proname = ANY(%s) AND provolatile = 'v'
  AND (pronamespace <> 'pg_catalog'::regnamespace
       OR proname NOT IN ('nextval', 'currval', 'random', 'gen_random_uuid', 'clock_timestamp')) LIMIT 1
"""
_LIMIT = re.compile(r"\b(?P<word>limit|offset)\s+\$(?P<parameter>\d+)", re.IGNORECASE)
_CONDITIONS = ("Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond")
_READS = re.compile(r"^\s*(?:/\*.*?\*/\s*)*(?:select|with|values|table)\b", re.IGNORECASE | re.DOTALL)
#: Which values: of what is common, of what is rare, from the low and from the high end.
SAMPLES = ("common", "rare", "low", "high")
STATISTICS = """
SELECT most_common_vals::text::text[], histogram_bounds::text::text[] FROM pg_catalog.pg_stats
WHERE schemaname = %s AND tablename = %s AND attname = %s ORDER BY inherited DESC LIMIT 1
"""


def reads_only(text: str) -> bool:
    """Whether a statement may be run at all: the transaction is read-only besides."""
    return bool(_READS.match(text))


def called(plan: Mapping[str, Any]) -> set[str]:
    """Names of the functions that a plan calls, those that views and functions in SQL brought along as well."""
    words: list[Any] = [plan]
    found = set()
    while words:
        word = words.pop()
        if isinstance(word, Mapping):
            found |= {unquoted(str(word["Function Name"]))} if "Function Name" in word else set()
            words.extend(word.values())
        elif isinstance(word, str):
            found |= {unquoted(name) for name in _CALL.findall(_TEXTS.sub("''", word))}
        elif isinstance(word, (list, tuple)):
            words.extend(word)
    return found


def compared(plan: Mapping[str, Any], database: Database) -> dict[int, tuple[int, int, str]]:
    """Parameter -> the table and column that it is compared with, and how."""
    aliases = aliases_of(plan, database)
    found: dict[int, tuple[int, int, str]] = {}
    for node, _above in nodes_of(plan, ()):
        own = aliases.get(str(node.get("Alias")))
        for name in _CONDITIONS:
            for match in _COMPARED.finditer(str(node.get(name) or "")):
                alias = match["alias"]
                table = aliases.get(unquoted(alias)) if alias else own
                number = number_of(database, table, match["column"])
                if table and number:
                    found.setdefault(int(match["parameter"]), (table.oid, number, match["operator"]))
    return found


def bounds(text: str) -> dict[int, str]:
    """Parameters that say how many rows are wanted -> a page of them."""
    return {
        int(match["parameter"]): "10" if match["word"].lower() == "limit" else "0"
        for match in _LIMIT.finditer(text)
    }


def chosen(
    sample: str, operator: str, common: Sequence[str] | None, histogram: Sequence[str] | None
) -> str | None:
    """A value of a column for one sample. Two bounds of one range get values that leave something between them."""
    common, histogram = common or (), histogram or ()
    if not common and not histogram:
        return None
    if operator == "=":
        if not histogram:
            return common[0] if sample in ("common", "low") else common[-1]
        middle = histogram[len(histogram) // 2]
        return {
            "common": common[0] if common else middle,
            "rare": middle,
            "low": histogram[0],
            "high": histogram[-1],
        }[sample]
    values = histogram or common
    last = len(values) - 1
    begin = {"common": last // 2, "rare": last // 2, "low": 0, "high": max(0, last - 1)}[sample]
    end = {"common": last * 3 // 4, "rare": min(last, last // 2 + 1), "low": min(1, last), "high": last}[
        sample
    ]
    return values[begin if operator in (">", ">=") else end]


def samples(
    parameters: int,
    places: Mapping[int, tuple[int, int, str]],
    fixed: Mapping[int, str],
    statistics: Mapping[tuple[int, int], tuple[Sequence[str] | None, Sequence[str] | None]],
) -> dict[str, tuple[str, ...]]:
    """Sample -> a value for each parameter; none where one of them is compared with no column that is known."""
    found: dict[str, tuple[str, ...]] = {}
    for sample in SAMPLES:
        values = []
        for parameter in range(1, parameters + 1):
            value = fixed.get(parameter)
            if parameter in places:
                table, column, operator = places[parameter]
                value = chosen(sample, operator, *statistics.get((table, column), (None, None)))
            if value is None:
                return {}
            values.append(value)
        if tuple(values) not in found.values():
            found[sample] = tuple(values)
    return found


def figures(plan: Mapping[str, Any]) -> Run:
    """Of what EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) says; with WAL, of what writes."""
    root = plan["Plan"]
    blocks = int(root["Shared Hit Blocks"]) + int(root["Shared Read Blocks"])
    ms = round(float(plan["Execution Time"]), 3)
    if "WAL Bytes" not in root:
        return Run(blocks, ms)
    below = root["Plans"][0]
    rows = round(float(below["Actual Rows"]) * float(below["Actual Loops"]))
    return Run(blocks, ms, int(root["WAL Bytes"]), rows)


def literal(value: str | None) -> str:
    """A value as SQL takes it, of whatever type the parameter is."""
    if value is None:
        return "NULL"
    escaped = value.replace("'", "''").replace("\\", "\\\\")
    return f"E'{escaped}'"


def parsed(said: Any) -> Mapping[str, Any]:
    """A plan in JSON, as text or read already."""
    found: Mapping[str, Any] = (json.loads(said) if isinstance(said, str) else said)[0]
    return found


def columns_of(places: Mapping[int, tuple[int, int, str]]) -> Iterator[tuple[int, int]]:
    """The columns whose statistics are wanted, each once."""
    yield from dict.fromkeys((table, column) for table, column, _operator in places.values())
