# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""There and back with an object of every kind: the schema equal by a second dump, the rows by digest."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import unified_diff
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.rows import count_rows

from .harness.cluster import Cluster
from .harness.installation import installations
from .logical_schema import ROLES, lacking, make_every_kind

DEFAULT, OLDEST, NEWEST = 15, min(installations()), max(installations())
CASES = [
    (old, new, form)
    for old, new in (
        (OLDEST, NEWEST),
        (DEFAULT, DEFAULT),
        (OLDEST, OLDEST),
        (NEWEST, NEWEST),
        (DEFAULT, NEWEST),
    )
    for form in ("custom", "directory", "plain")
    if old in installations() and new in installations()
]
SLICE = {(OLDEST, NEWEST, "directory"), (DEFAULT, DEFAULT, "custom"), (DEFAULT, DEFAULT, "plain")}
SEQUENCES = """
SELECT format('%s: %s', c.oid::regclass, pg_sequence_last_value(c.oid)) FROM pg_class AS c WHERE relkind = 'S'
ORDER BY 1
"""


def schema(dumped: Cluster, by: Cluster, database: str) -> list[str]:
    """The definitions as ``by``'s pg_dump writes them, without what it says of itself."""
    argv = [
        "--schema-only",
        "-h",
        str(dumped.socket_directory),
        "-p",
        str(dumped.port),
        "-U",
        "postgres",
        database,
    ]
    lines = by.program("pg_dump", *argv).splitlines()
    return [line for line in lines if line and not re.match(r"--|\\(un)?restrict ", line)]


def normalised(lines: list[str], old: int, new: int) -> list[str]:
    """Without what two versions say in different words.

    Up to 14 pg_dump does not dump owner and comment of schema public, which had other privileges at first, too; up to
    15 views name the table of each column although there is only one.
    """
    if old < 15 <= new:
        lines = [line for line in lines if not re.search(r"(ALTER|COMMENT ON|ON) SCHEMA public", line)]
    if old < 16 <= new:
        lines = [
            re.sub(r"\b(parent|events|over_events|counting)\.(?=\w+[,;) ]|\w+$)", "", line) for line in lines
        ]
    return lines


@pytest.mark.parametrize(
    ("old", "new", "form"),
    [pytest.param(*case, marks=() if case in SLICE else pytest.mark.matrix) for case in CASES],
)
def test_every_kind_of_object(
    make_cluster: Callable[..., Cluster], cell: Callable[..., None], old: int, new: int, form: str
) -> None:
    source = make_cluster("main", installation=installations()[old], archiving=False)
    target = source
    if new != old:
        target = make_cluster(
            "other", installation=installations()[new], archiving=False, repository=source.repository
        )
        target.write_config(cluster="main")
    source.sql("CREATE DATABASE every")
    without = lacking(target.dsn())
    missing = make_every_kind(source.dsn("every"), without)
    options: list[Any] = [
        "--rows",
        "digest",
        "--format",
        form,
        *(["--jobs", "2"] if form == "directory" else []),
    ]
    dump = source.keeper("dump", "--database", "every", "--label", "one", *options).expect()
    warnings = dump["dumps"][0]["dump"]["warnings"]
    # pg_dump tells the names of tables in lines: of a name with a newline in it, only an archive knows which is meant.
    assert len(warnings) == (1 if form == "plain" else 0), warnings
    jobs = ["--jobs", "2"] if form != "plain" else []
    done = target.keeper("load", "one", "--database", "every", "--into", "back", "--globals", *jobs).expect()
    assert done["load"]["proof"] == "digest"
    assert sorted(done["load"]["roles"]) == (sorted(ROLES) if new != old else [])
    # By the newer one's pg_dump on both sides: what is left is a real difference.
    was, now = (
        normalised(schema(one, target, name), old, new) for one, name in ((source, "every"), (target, "back"))
    )
    changes = [line.rstrip() for line in unified_diff(was, now, n=0)]
    assert not changes, "\n".join(changes)
    before, after = (
        count_rows(ClusterConfig.load(str(one.config_path)), name)
        for one, name in ((source, "every"), (target, "back"))
    )
    assert before == after
    assert sum(item.rows for item in before.values()) > 600
    assert source.sql(SEQUENCES, database="every") == target.sql(SEQUENCES, database="back")
    cell(old=old, new=new, format=form, tables=len(before), not_in_this_build=",".join(missing) or "-")
