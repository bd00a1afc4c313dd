# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What comes between a finding and its act: a run that is killed, two at once, an index that was changed or used."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import KeeperError
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.fleet import across

from .harness.sandbox import Sandbox
from .harness.waiting import wait_for
from .test_index_apply import SHORT, Bench


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    place = Sandbox()
    try:
        yield Bench(place)
    finally:
        place.close()


@pytest.mark.parametrize(
    "server_ends_it",
    [
        pytest.param(True, id="by-the-server-alone", marks=pytest.mark.matrix),
        pytest.param(False, id="by-nobody"),
    ],
)
def test_a_build_whose_run_was_killed_is_finished(bench: Bench, server_ends_it: bool) -> None:
    """kill -9 in the middle: the server goes on building without us, or an invalid index is left."""
    bench.cluster.sql("CREATE TABLE killed (id int, sale int REFERENCES sales)")
    bench.cluster.sql("INSERT INTO killed SELECT g, g FROM generate_series(1, 1000) g")
    state = (
        "SELECT indisvalid, indexrelid::int FROM pg_index WHERE indexrelid = to_regclass('killed_sale_idx')"
    )
    waiting = "SELECT pid FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots'"
    finding = bench.finding("killed")
    try:
        with psycopg.connect(bench.cluster.dsn()) as other:
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT 1")
            actor = multiprocessing.get_context("fork").Process(
                target=bench.apply, args=(finding,), kwargs={"lock_seconds": 60.0}, daemon=True
            )
            actor.start()
            ((backend,),) = wait_for(lambda: bench.cluster.sql(waiting), "the build to wait")
            actor.kill()
            actor.join()
            assert bench.record()[finding["id"]]["status"] == "begun"
            if not server_ends_it:
                bench.cluster.sql("SELECT pg_terminate_backend(%s)", backend)
                wait_for(lambda: not bench.cluster.sql(waiting), "the build to end")
        wait_for(
            lambda: not bench.cluster.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", backend), "its end"
        )
        ((valid, made),) = bench.cluster.sql(state)
        assert valid is server_ends_it
        assert bench.apply(finding)["steps"][0]["result"] == "done"
        ((valid, now),) = bench.cluster.sql(state)
        assert valid and (now == made) is server_ends_it
        assert bench.record()[finding["id"]]["status"] == "done"
        bench.apply(finding, undo=True)
        assert not bench.is_there("killed_sale_idx")
    finally:
        bench.cluster.sql("DROP TABLE killed")


def test_the_index_that_keeps_updates_from_being_hot_is_named(bench: Bench) -> None:
    """IX11: by what statements set, in keys as well as in expressions; the index of another column is not blamed."""
    for statement in (
        "CREATE TABLE counters (id int PRIMARY KEY, hits int, note text) WITH (fillfactor = 40)",
        "INSERT INTO counters SELECT g, g, md5(g::text) FROM generate_series(1, 3000) g",
        "CREATE INDEX by_hits ON counters ((hits % 10))",
        "CREATE INDEX by_note ON counters (note)",
        "VACUUM ANALYZE counters",
    ):
        bench.cluster.sql(statement)
    try:
        bench.look()
        with bench.cluster.connect() as connection:
            for number in range(250):
                connection.execute(b"UPDATE counters SET hits = hits + 1 WHERE id = %s", [number])
        updated = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'counters'"
        wait_for(lambda: int(bench.cluster.value(updated) or 0) >= 249, "the updates to be counted")
        (found,) = [one for one in bench.look()["findings"] if one["class"] == "IX11"]
        assert (found["object"]["name"], found["says"]["key"]) == ("counters", "IX11_hot_named")
        assert found["value"]["blockers"] == [{"index": "public.by_hits", "columns": ["hits"], "calls": 250}]
    finally:
        bench.cluster.sql("DROP TABLE counters")


def test_what_an_old_collation_sorted_is_built_again(bench: Bench) -> None:
    """IX15: every index of the collation, one of an exclusion constraint as well, and then its version is noted."""
    for statement in (
        'CREATE TABLE words (word text COLLATE "und-x-icu", EXCLUDE USING btree (word WITH =))',
        "CREATE INDEX words_word ON words (word, length(word))",
        "UPDATE pg_collation SET collversion = '0.1' WHERE collname = 'und-x-icu'",
    ):
        bench.cluster.sql(statement)
    try:
        finding = next(one for one in bench.look()["findings"] if one["class"] == "IX15")
        assert len(finding["action"]) == 3 and "CONCURRENTLY" in "".join(finding["action"])
        assert bench.apply(finding)["steps"][0]["result"] == "done"
        assert not [one for one in bench.look()["findings"] if one["class"] == "IX15"]
        assert bench.apply(finding)["steps"][0]["result"] == "already-done"
    finally:
        bench.cluster.sql("DROP TABLE words")
        bench.cluster.sql('ALTER COLLATION pg_catalog."und-x-icu" REFRESH VERSION')


def test_two_at_once_take_turns(bench: Bench) -> None:
    bench.cluster.sql("CREATE INDEX slowly ON sales (day, note)")
    bench.cluster.sql("CREATE INDEX meanwhile ON sales (day, note)")
    first, second = bench.finding("slowly"), bench.finding("meanwhile")
    actor = threading.Thread(target=lambda: bench.apply(first, watch_seconds=3))
    actor.start()
    try:
        wait_for(lambda: bench.record().get(first["id"], {}).get("status") == "done", "the first drop")
        with pytest.raises(KeeperError) as caught:
            bench.apply(second)
        assert (caught.value.code, caught.value.exit_status) == ("busy", 2)
        assert "index-apply" in caught.value.happened
        assert bench.is_there("meanwhile") and second["id"] not in bench.record()
    finally:
        actor.join(60)
    assert bench.apply(second)["steps"][0]["result"] == "done"


def test_an_index_that_was_changed_since_is_left_alone(bench: Bench) -> None:
    bench.cluster.sql("CREATE INDEX changed ON sales (day, note)")
    finding = bench.finding("changed")
    bench.cluster.sql("ALTER INDEX changed SET (fillfactor = 55)")
    try:
        (step,) = bench.apply(finding)["steps"]
        assert (step["result"], step["why"]) == (
            "stale",
            "the index or its table is not as it was when the report was made",
        )
        assert bench.is_there("changed") and finding["id"] not in bench.record()
    finally:
        bench.cluster.sql("DROP INDEX changed")


def test_an_index_that_was_used_since_is_left_alone(bench: Bench) -> None:
    bench.cluster.sql("CREATE INDEX sleeping ON sales (note, customer)")
    bench.cluster.sql("SELECT pg_stat_reset()")
    try:
        bench.look()
        findings = {one.thing["name"]: one for one in across([bench.look()], limits=SHORT)}
        finding = json.loads(json.dumps(findings["sleeping"].to_dict()))
        assert finding["grade"] == "measured"
        assert bench.apply(finding, check=True)["steps"][0]["result"] == "would-be-done"
        with bench.cluster.connect() as connection:
            connection.execute(b"SET enable_seqscan = off")
            connection.execute(b"SELECT customer FROM sales WHERE note = 'x' AND customer = 3")
        scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'sleeping'"
        wait_for(lambda: bench.cluster.value(scans), "the scan to be counted")
        (step,) = bench.apply(finding)["steps"]
        assert step["result"] == "stale" and "1 times, 0 then" in step["why"]
        assert bench.is_there("sleeping")
    finally:
        bench.cluster.sql("DROP INDEX sleeping")
