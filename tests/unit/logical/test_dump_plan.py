# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What is asked of a dump and what is there -> what is done: cases, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.disks import FileSystem
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError, Refused
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_copy import Talk, failure
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_plan import make_dump_plan
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_request import DumpRequest
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.logical.dump_state import (
    DatabaseFacts,
    DumpState,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.dumps import (
    Dump,
    Shelf,
    encode_name,
    read_shelf,
    write_dump_entry,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.selection import Selection

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=timezone.utc)
GB = 1 << 30


def state(major: int = 17, *dumps: Dump, **changes: Any) -> DumpState:
    """A running server with the database app of 1 GB, 10 GB free."""
    config = ClusterConfig.from_dict(
        {
            "format": 1,
            "cluster": "main",
            "version": str(major),
            "data_directory": "/data",
            "bin_directory": "/bin",
            "socket_directory": "/run/pg",
            "service": {"manager": "pg_ctl"},
        },
        source="test",
    )
    return replace(
        DumpState(
            now=NOW,
            config=config,
            shelf=Shelf(dumps),
            disk=FileSystem("/r", 1, 10 * GB, 20 * GB, None),
            repository_path="/r/main",
            repository_writable=True,
            server_running=True,
            database=DatabaseFacts("app", True, "UTF8", GB),
            known=("app", "postgres"),
        ),
        **changes,
    )


@pytest.mark.parametrize(
    ("rows", "processors", "jobs", "content", "known"),
    [
        ("auto", 2, 1, "all", "count"),
        ("auto", 3, 1, "all", "digest"),
        ("auto", 4, 2, "data", "count"),
        ("auto", 5, 2, "all", "digest"),
        ("auto", 64, 1, "schema", "none"),
        ("digest", 1, 8, "all", "digest"),
        ("digest", 64, 1, "schema", "none"),
        ("count", 64, 1, "all", "count"),
        ("none", 64, 1, "all", "none"),
    ],
)
def test_rows_are_digested_where_it_costs_nobody_time(
    rows: str, processors: int, jobs: int, content: str, known: str
) -> None:
    request = DumpRequest("app", format="directory", rows=rows, jobs=jobs, selection=Selection(content))
    plan = make_dump_plan(request, state(processors=processors))
    assert (plan.rows, plan.to_dict()["rows"]) == (known, known)
    words = {"none": 0, "count": 1, "digest": 1}[known]
    assert len([step for step in plan.steps() if "the rows of its tables" in step]) == words


def test_rows_that_nobody_knows() -> None:
    with pytest.raises(Refused) as caught:
        DumpRequest("app", rows="yes")
    assert caught.value.code == "dump-rows-unknown"


def made(hours: float, **values: Any) -> Dump:
    """A verified dump that ended so many hours ago."""
    ended = NOW - timedelta(hours=hours)
    common = {
        "database": "app",
        "series": "dump",
        "format": "custom",
        "selection": Selection(),
        "globals": True,
    }
    return Dump(
        **{
            **common,
            "label": f"d{hours}",
            "sequence": int(1000 - hours),
            "status": "verified",
            "started_at": ended,
            "stopped_at": ended,
            "stored_bytes": GB // 10,
            "database_bytes": GB // 2,
            **values,
        }
    )


@pytest.mark.parametrize(
    ("dump", "satisfied"),
    [
        (made(1), True),
        (made(25), False),
        (made(-1), False),
        (made(1, status="failed"), False),
        (made(1, unsound={"code": "dump-file-damaged"}), False),
        (made(1, selection=Selection(tables=("one",))), False),
        (made(1, globals=False), False),
        (made(1, series="other"), False),
        (made(1, database="other"), False),
        # The format is how, not what.
        (made(1, format="plain"), True),
    ],
)
def test_max_age(dump: Dump, satisfied: bool) -> None:
    plan = make_dump_plan(DumpRequest("app", max_age_seconds=86400), state(17, dump))
    assert plan.changes is not satisfied
    assert (plan.dump == dump) is satisfied


@pytest.mark.parametrize(
    ("major", "form", "asked", "compression", "option", "pipe"),
    [
        (15, "custom", "auto", "gzip:1", "--compress=1", ""),
        (16, "custom", "auto", "zstd:3", "--compress=zstd:3", ""),
        (14, "directory", "none", "none", "--compress=0", ""),
        (14, "plain", "auto", "zstd:3", "--compress=0", "zstd"),
        (18, "plain", "zstd:19", "zstd:19", "--compress=0", "zstd"),
        (18, "plain", "gzip:4", "gzip:4", "--compress=gzip:4", ""),
        (16, "directory", "lz4", "lz4:1", "--compress=lz4:1", ""),
    ],
)
def test_compression(major: int, form: str, asked: str, compression: str, option: str, pipe: str) -> None:
    plan = make_dump_plan(DumpRequest("app", format=form, compression=asked), state(major))
    assert plan.compression == compression and option in plan.argv
    assert (plan.pipe[:1] == ((pipe,) if pipe else ())) and plan.data.startswith("dump.")


def test_zstd_before_16_is_refused_where_pg_dump_would_write_it() -> None:
    with pytest.raises(Refused) as caught:
        make_dump_plan(DumpRequest("app", compression="zstd:3"), state(15))
    assert caught.value.code == "compression-unknown" and "pg_dump 15" in caught.value.happened


def test_names_are_quoted_by_libpqs_means_and_patterns_are_pg_dumps() -> None:
    name = "it's \\ =odd"
    facts = DatabaseFacts(name, True, "UTF8", 1)
    chosen = Selection(tables=('"Odd"."t*"',), exclude_tables=("log_*",))
    plan = make_dump_plan(DumpRequest(name, selection=chosen), state(database=facts))
    assert plan.argv[-1] == "--dbname=dbname='it\\'s \\\\ =odd'"
    assert '--table="Odd"."t*"' in plan.argv and "--exclude-table=log_*" in plan.argv
    assert plan.key.startswith("dump/it%27s%20%5C%20%3Dodd/20261121T031500Z-dump-")


def test_two_in_one_second_have_two_labels() -> None:
    first = make_dump_plan(DumpRequest("app"), state())
    taken = made(1, label=first.label)
    second = make_dump_plan(DumpRequest("app"), state(17, taken))
    assert (first.label, second.label) == ("20261121T031500Z-dump", "20261121T031500Z-dump.2")
    assert second.sequence == taken.sequence + 1


@pytest.mark.parametrize(
    ("request_", "changes", "code"),
    [
        (DumpRequest("app"), {"server_running": False}, "server-not-running"),
        (DumpRequest("ap"), {"database": None}, "database-unknown"),
        (DumpRequest("app"), {"database": DatabaseFacts("app", False, "UTF8", 1)}, "database-closed"),
        (DumpRequest("app"), {"repository_writable": False}, "repository-not-writable"),
        (DumpRequest("app"), {"disk": FileSystem("/r", 1, GB // 4, GB, None)}, "space-too-little"),
        (
            DumpRequest("app", compression="none"),
            {"disk": FileSystem("/r", 1, GB, GB, None)},
            "space-too-little",
        ),
    ],
)
def test_refusals(request_: DumpRequest, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        make_dump_plan(request_, state(**changes))
    assert caught.value.code == code and caught.value.remedy


def test_space_is_reckoned_from_the_last_and_how_the_database_has_grown() -> None:
    plan = make_dump_plan(DumpRequest("app"), state(17, made(30)))
    # 0.1 GB of half a GB; it is 1 GB now.
    assert plan.needed_bytes == pytest.approx(2 * (GB // 10) * 1.2, rel=0.2)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"label": "../up"}, "label-malformed"),
        ({"label": "a", "max_age_seconds": 1}, "request-contradictory"),
        ({"max_age_seconds": 0}, "max-age-malformed"),
        ({"jobs": 2}, "request-contradictory"),
        ({"format": "tar"}, "dump-format-unknown"),
        ({"compression": "zip"}, "compression-unknown"),
        ({"compression": "gzip:10"}, "compression-unknown"),
        ({"selection": Selection(schemas=("a",), tables=("b",))}, "request-contradictory"),
        ({"selection": Selection(tables=("",))}, "request-contradictory"),
        ({"database": ""}, "database-name-unfit"),
        ({"database": "字" * 40}, "database-name-unfit"),
    ],
)
def test_what_cannot_be_meant(values: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        DumpRequest(**{"database": "app", **values})
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["app", ".", "..", ".hidden", "a/b", "字" * 21, "a\nb", "%41", "x" * 63])
def test_a_database_is_one_visible_directory(name: str, tmp_path: Path) -> None:
    encoded = encode_name(name)
    assert "/" not in encoded and not encoded.startswith(".") and len(encoded) <= 255
    repository = Repository(str(tmp_path), "main")
    repository.create()
    dump = made(1, database=name)
    write_dump_entry(repository, dump)
    assert read_shelf(repository).dumps == (dump,)


def test_a_directory_without_entry_was_never_begun_unless_it_holds_something(tmp_path: Path) -> None:
    repository = Repository(str(tmp_path), "main")
    repository.create()
    place = Path(repository.path, "dump", "app", "d1")
    place.mkdir(parents=True)
    (place / ".tmp-x").write_text("{")
    assert read_shelf(repository) == Shelf(())
    (place / "dump.custom").write_text("rows")
    assert [one.key for one in read_shelf(repository).damaged] == ["dump/app/d1"]
    (place / "dump.json").write_text('{"format_version": 1}')
    assert read_shelf(repository).damaged[0].error.code == "dump-entry-damaged"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (
            "pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout",
            "dump-lock-timeout",
        ),
        ('pg_dump: error: could not obtain lock on relation "a"', "dump-lock-timeout"),
        ("pg_dump: error: query failed: server closed the connection unexpectedly", "dump-connection-lost"),
        ('pg_dump: error: query failed: ERROR:  relation "a" does not exist', "dump-object-gone"),
        ("pg_dump: error: could not write to file: No space left on device", "repository-full"),
        ("pg_dump: error: permission denied for table a", "dump-failed"),
    ],
)
def test_what_pg_dump_says(words: str, code: str) -> None:
    talk = Talk()
    talk.feed(b'pg_dump: dumping contents of table "public.a\nb"\n')
    talk.feed(f'pg_dump: dumping contents of table "x.y"\n{words}\n'.encode())
    assert (talk.tables, talk.names) == (2, ["public.a\nb", "x.y"])
    error: KeeperError = failure("/bin/pg_dump", [1], talk.lines(), "test")
    assert error.code == code and words.split(": ", 1)[1] in error.happened
