# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The files beside it, for tests in Python: a schema like that of TPC-H with skewed data, and what is asked of it."""

from __future__ import annotations

from pathlib import Path

SCHEMA = Path(__file__).with_name("tpch.sql")
QUERIES = Path(__file__).with_name("tpch_queries.sql")


def schema_sql(scale: float) -> str:
    """All that makes it, in one go; ``scale`` 1 has 6 million lines."""
    return f"SET tpch.scale = '{scale:f}';\n{SCHEMA.read_text()}\nRESET tpch.scale;"


def statements() -> dict[str, str]:
    """Name -> statement: q.. reports, a.. of an application, w.. that write."""
    found = {}
    for part in ("\n" + QUERIES.read_text()).split("\n-- ")[1:]:
        title, _newline, body = part.partition("\n")
        if body.rstrip().endswith(";"):
            found[title.partition(" ")[0]] = body.strip().rstrip(";")
    return found
