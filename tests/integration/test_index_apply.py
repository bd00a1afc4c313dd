# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Acting on findings: approved, looked at again, recorded, done, watched, undone; and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Failed, KeeperError
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.apply import (
    operation as apply_operation,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.apply.operation import (
    ApplyRequest,
    apply,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.fleet import across
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.limits import Limits
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.template import SUPERUSER
from .harness.waiting import wait_for
from .test_index_info import PROPERTIES

QUERY = "SELECT count(*) FROM sales WHERE customer = 77"
SHORT = Limits(unused_seconds=0.0, drop_bytes=0)


class Bench:
    """A server with a table whose indexes are good for something, or not."""

    def __init__(self, place: Sandbox) -> None:
        self.cluster = Cluster(
            place, archiving=False, settings={"shared_preload_libraries": "pg_stat_statements"}
        )
        self.cluster.start()
        self.cluster.sql("CREATE EXTENSION pg_stat_statements")
        self.cluster.sql("CREATE TABLE sales (id int PRIMARY KEY, customer int, day int, note text)")
        self.cluster.sql(
            "INSERT INTO sales SELECT g, g % 5000, g % 365, repeat('x', 50) FROM generate_series(1, 50000) g"
        )
        for number in range(8):
            self.cluster.sql(f"CREATE INDEX twin_{number} ON sales (day, note)")
        self.cluster.sql("CREATE INDEX by_customer ON sales (customer)")
        self.cluster.sql("CREATE TABLE lines (id int, sale int REFERENCES sales)")
        self.cluster.sql("VACUUM ANALYZE")
        self.request = ApplyRequest(
            login={
                "login_unix_socket": str(self.cluster.socket_directory),
                "login_port": self.cluster.port,
                "login_user": SUPERUSER,
                "login_db": "postgres",
            },
            state_directory=str(self.cluster.root / "report"),
            lock_seconds=0.2,
            attempts=2,
            watch_seconds=0,
        )

    def look(self) -> dict[str, Any]:
        request = Request(self.request.login, self.request.state_directory, ("postgres",), SHORT)
        return json.loads(json.dumps(look_at(request)))  # type: ignore[no-any-return]

    def finding(self, name: str) -> dict[str, Any]:
        return next(one for one in self.look()["findings"] if one["object"]["name"] == name)

    def apply(self, *findings: dict[str, Any], **options: Any) -> dict[str, Any]:
        ids = tuple(finding["id"] for finding in findings)
        return apply(replace(self.request, **{"findings": findings, "approved": ids, **options}))

    def properties(self) -> list[tuple[Any, ...]]:
        return self.cluster.sql(PROPERTIES)

    def record(self) -> dict[str, Any]:
        path = Path(self.request.state_directory) / self.cluster.system_id / "applied.json"
        return json.loads(path.read_text())["steps"] if path.exists() else {}  # type: ignore[no-any-return]

    def is_there(self, index: str) -> bool:
        return bool(self.cluster.sql("SELECT 1 FROM pg_class WHERE relname = %s", index))


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    place = Sandbox()
    try:
        yield Bench(place)
    finally:
        place.close()


def test_check_mode_prints_all_and_does_nothing(bench: Bench) -> None:
    finding, before, record = bench.finding("twin_1"), bench.properties(), bench.record()
    result = bench.apply(finding, check=True)
    assert (result["changed"], result["executed"]) == (True, False)
    (step,) = result["steps"]
    assert step["result"] == "would-be-done"
    assert step["action"] == ['DROP INDEX CONCURRENTLY "public"."twin_1";']
    assert step["undo"] == finding["undo"]
    assert bench.properties() == before and bench.record() == record


def test_done_once_and_taken_back_exactly(bench: Bench) -> None:
    before = bench.properties()
    finding = bench.finding("twin_2")
    assert [step["result"] for step in bench.apply(finding)["steps"]] == ["done"]
    assert not bench.is_there("twin_2")
    kept = bench.record()[finding["id"]]
    assert (kept["status"], kept["undo"]) == ("done", finding["undo"])
    again = bench.apply(finding)
    assert (again["changed"], again["steps"][0]["result"]) == (False, "already-done")
    back = bench.apply(finding, undo=True)
    assert (back["changed"], back["steps"][0]["result"]) == (True, "undone")
    assert bench.properties() == before
    assert bench.apply(finding, undo=True)["steps"][0]["result"] == "already-undone"


def test_an_index_that_is_missing_is_built_and_taken_back(bench: Bench) -> None:
    before = bench.properties()
    finding = bench.finding("lines")
    assert finding["class"] == "IX07"
    assert bench.apply(finding)["steps"][0]["result"] == "done"
    assert bench.is_there("lines_sale_idx")
    again = bench.apply(finding)
    assert (again["changed"], again["steps"][0]["result"]) == (False, "already-done")
    bench.apply(finding, undo=True)
    assert bench.properties() == before


@pytest.mark.parametrize(
    ("code", "change", "options"),
    [
        ("finding-unknown", {}, {"approved": ("ix02-000000000000",)}),
        ("finding-other-cluster", {"system_id": "1"}, {}),
        ("finding-without-action", {"action": [], "grade": "insufficient"}, {}),
        ("finding-grade", {"grade": "heuristic"}, {}),
        ("finding-without-undo", {"undo": []}, {}),
        ("finding-unknown", {}, {"undo": True, "approved": ("ix02-000000000000",)}),
    ],
)
def test_what_is_refused(bench: Bench, code: str, change: dict[str, Any], options: dict[str, Any]) -> None:
    before = bench.properties()
    finding = {**bench.finding("twin_3"), **change}
    with pytest.raises(KeeperError) as caught:
        bench.apply(finding, **options)
    assert caught.value.code == code
    assert caught.value.exit_status == 2
    assert bench.properties() == before
    assert finding["id"] not in bench.record()


def test_less_than_validated_is_done_when_it_is_forced_by_its_id(bench: Bench) -> None:
    finding = {**bench.finding("twin_3"), "grade": "heuristic"}
    result = bench.apply(finding, approved=(), forced=(finding["id"],))
    assert (result["steps"][0]["result"], result["steps"][0]["forced"]) == ("done", True)
    bench.apply(finding, undo=True)


def test_a_standby_takes_no_changes(bench: Bench) -> None:
    """Asked of the pure plan: the server that the tests have is a primary."""
    from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.apply.plan import steps

    finding = bench.finding("twin_3")
    with pytest.raises(KeeperError) as caught:
        steps([finding], [finding["id"]], [], system_id=finding["system_id"], in_recovery=True)
    assert caught.value.code == "finding-on-standby"


def test_without_the_extension_nothing_is_watched_and_nothing_done(bench: Bench) -> None:
    finding = bench.finding("twin_3")
    bench.cluster.sql("DROP EXTENSION pg_stat_statements")
    try:
        with pytest.raises(KeeperError) as caught:
            bench.apply(finding, watch_seconds=5)
        assert caught.value.code == "watch-impossible"
        assert bench.is_there("twin_3")
    finally:
        bench.cluster.sql("CREATE EXTENSION pg_stat_statements")


def test_what_would_not_be_watched_is_refused_in_check_mode_too(bench: Bench) -> None:
    finding = bench.finding("twin_3")
    bench.cluster.sql("CREATE DATABASE aside TEMPLATE template0")
    bench.cluster.sql("CREATE TABLE here (a int)", database="aside")
    for name in ("one", "two"):
        bench.cluster.sql(f"CREATE INDEX {name} ON here (a)", database="aside")
    bench.cluster.sql("DROP EXTENSION pg_stat_statements")
    try:
        with pytest.raises(KeeperError) as caught:
            bench.apply(finding, watch_seconds=5, check=True)
        assert caught.value.code == "watch-impossible"
    finally:
        bench.cluster.sql("CREATE EXTENSION pg_stat_statements")
    # The view in the database of the login shows the statements of all others, too.
    request = Request(bench.request.login, bench.request.state_directory, ("aside",), SHORT)
    found = next(one for one in look_at(request)["findings"] if one["class"] == "IX02")
    bench.cluster.sql("SELECT count(a) FROM here", database="aside")
    with apply_operation._watching(bench.request, "aside") as watch:
        assert watch is not None
        assert [count.calls for count in watch.counts("here").values()] == [1]
    result = bench.apply(found, watch_seconds=0.1)
    assert (result["steps"][0]["result"], result["steps"][0]["watched_seconds"]) == ("done", 0.1)


def test_what_is_no_longer_true_is_not_done(bench: Bench) -> None:
    """Approved as the twin of an index that has gone since: it is the only one of its kind now."""
    findings = [bench.finding(f"twin_{number}") for number in range(1, 8)]
    for number in range(7):
        bench.cluster.sql(f"DROP INDEX twin_{number}")
    try:
        result = bench.apply(findings[-1])
        assert (result["changed"], result["steps"][0]["result"]) == (False, "stale")
        assert bench.is_there("twin_7")
    finally:
        for number in range(7):
            bench.cluster.sql(f"CREATE INDEX twin_{number} ON sales (day, note)")


def test_a_lock_is_waited_for_a_little_and_the_index_stays_whole(bench: Bench) -> None:
    finding, before = bench.finding("twin_4"), bench.properties()
    with psycopg.connect(bench.cluster.dsn()) as other:
        other.execute("SELECT count(*) FROM sales")
        with pytest.raises(Failed) as caught:
            bench.apply(finding)
    assert caught.value.code == "index-apply-failed"
    assert str(other.info.backend_pid) in caught.value.happened if not other.closed else True
    assert bench.properties() == before
    assert bench.record()[finding["id"]]["status"] == "undone"
    assert bench.apply(finding)["steps"][0]["result"] == "done"


def test_a_drop_that_was_killed_by_half_is_ended(bench: Bench) -> None:
    """The record says begun; the index is gone, or invalid."""
    gone, half = bench.finding("twin_5"), bench.finding("twin_6")
    for finding in (gone, half):
        bench.apply(finding)
    path = Path(bench.request.state_directory) / bench.cluster.system_id / "applied.json"
    kept = json.loads(path.read_text())
    for finding in (gone, half):
        kept["steps"][finding["id"]]["status"] = "begun"
    path.write_text(json.dumps(kept))
    bench.cluster.sql("CREATE INDEX twin_6 ON sales (day, note)")
    bench.cluster.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'twin_6'::regclass")
    assert bench.apply(gone)["steps"][0]["result"] == "already-done"
    assert bench.apply(half)["steps"][0]["result"] == "done"
    assert not bench.is_there("twin_6")


def test_a_regression_undoes_the_step_by_itself(bench: Bench) -> None:
    """Nobody scanned it until it was dropped; then its query comes, and reads the whole table, all the time."""
    with bench.cluster.connect() as connection:
        for _call in range(30):
            connection.execute(QUERY.encode()).fetchall()
    wait_for(
        lambda: bench.cluster.value(
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'by_customer'"
        ),
        "",
    )
    bench.cluster.sql("SELECT pg_stat_reset()")
    bench.look()
    findings = {one.thing["name"]: one for one in across([bench.look()], limits=SHORT)}
    finding = json.loads(json.dumps(findings["by_customer"].to_dict()))
    assert finding["grade"] == "measured"
    before = bench.properties()
    result: dict[str, Any] = {}

    def act() -> None:
        result.update(bench.apply(finding, watch_seconds=60))

    actor = threading.Thread(target=act)
    actor.start()
    try:
        wait_for(lambda: bench.record().get(finding["id"], {}).get("status") == "done", "the drop")
        assert not bench.is_there("by_customer")
        with psycopg.connect(bench.cluster.dsn()) as reader, bench.cluster.connect() as connection:
            # The table is never free again: somebody's transaction has read it and goes on.
            reader.execute("SELECT count(*) FROM sales")
            while actor.is_alive() and bench.record()[finding["id"]]["status"] == "done":
                connection.execute(QUERY.encode()).fetchall()
            assert reader.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    finally:
        actor.join(240)
    (step,) = result["steps"]
    assert step["result"] == "undone-by-itself"
    assert "sales" in step["regressions"][0]["text"]
    assert step["regressions"][0]["blocks_after"] > 10 * step["regressions"][0]["blocks_before"]
    assert bench.properties() == before
    assert bench.record()[finding["id"]]["why"] == "regression"


def test_what_came_back_is_done_again(bench: Bench) -> None:
    """The record says that it was dropped; somebody has made it again since, by the same name."""
    for _round in range(2):
        bench.cluster.sql("CREATE INDEX back_again ON sales (day, note)")
        assert bench.apply(bench.finding("back_again"))["steps"][0]["result"] == "done"
        assert not bench.is_there("back_again")


def test_a_step_that_hurts_nobody_stays(bench: Bench) -> None:
    bench.cluster.sql("CREATE INDEX harmless ON sales (day, note)")
    finding = bench.finding("harmless")
    done = bench.apply(finding, watch_seconds=0.5)["steps"][0]
    assert (done["result"], done["watched_seconds"]) == ("done", 0.5)
    assert not bench.is_there("harmless")
