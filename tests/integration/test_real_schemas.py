# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Schemas that others published, with skewed rows and statements as their programs send them: what the report says of
them was judged by hand, and is held here. They are fetched for the test, and are their authors' (see the packages)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at

from .harness.cluster import Cluster
from .harness.template import SUPERUSER
from .published import debian, filled, loaded, pypi
from .report_help import login_options, reporter

#: The rule of IX03 done another way: by text, in SQL, over plain keys only.
_PREFIXES = """
SELECT ca.relname, cb.relname
FROM pg_index a JOIN pg_index b ON a.indrelid = b.indrelid AND a.indexrelid <> b.indexrelid
     JOIN pg_class ca ON ca.oid = a.indexrelid AND ca.relam = 403
     JOIN pg_class cb ON cb.oid = b.indexrelid AND cb.relam = 403
WHERE a.indpred IS NULL AND b.indpred IS NULL AND a.indexprs IS NULL AND b.indexprs IS NULL AND NOT a.indisunique
  AND (b.indkey::text || ' ') LIKE (a.indkey::text || ' %')
  AND (b.indclass::text || ' ') LIKE (a.indclass::text || ' %')
  AND (b.indcollation::text || ' ') LIKE (a.indcollation::text || ' %')
  AND (b.indoption::text || ' ') LIKE (a.indoption::text || ' %')
  AND ca.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
"""
#: And that of IX07: foreign keys whose columns are no index's first ones.
_UNBACKED = """
SELECT k.conname FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT EXISTS (
  SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL AND i.indisvalid
  AND (SELECT array_agg(c ORDER BY c) FROM unnest((i.indkey::int2[])[0:cardinality(k.conkey) - 1]) AS c)
    = (SELECT array_agg(c ORDER BY c) FROM unnest(k.conkey) AS c))
"""


@pytest.fixture
def server(make_cluster: Callable[..., Cluster]) -> Cluster:
    cluster = make_cluster(
        archiving=False,
        settings={"shared_preload_libraries": "pg_stat_statements", "max_wal_size": "2GB"},
    )
    reporter(cluster)
    cluster.sql("CREATE EXTENSION pg_stat_statements")
    cluster.sql("CREATE DATABASE real")
    for extension in ("pg_stat_statements", "hypopg"):
        cluster.sql(f"CREATE EXTENSION {extension}", database="real")
    return cluster


def look(cluster: Cluster) -> dict[str, list[dict[str, Any]]]:
    """Findings about indexes by class."""
    login = login_options(cluster, SUPERUSER)
    request = Request(login, str(cluster.root / "report"), ("real",), missing="hypopg", budget_seconds=300.0)
    result = json.loads(json.dumps(look_at(request)))
    assert result["not_seen"] == []
    found: dict[str, list[dict[str, Any]]] = {}
    for one in result["findings"]:
        found.setdefault(one["class"], []).append(one)
    return found


def named(found: list[dict[str, Any]]) -> set[str]:
    return {str(one["object"]["name"]) for one in found}


def worked(cluster: Cluster, statements: tuple[tuple[str, int], ...]) -> None:
    """Statements with a number for each ``%s``, each so often."""
    with cluster.connect("real") as connection:
        for statement, times in statements:
            for number in range(times):
                values = [100001 + number * 17] * statement.count("%s")
                connection.execute(statement.encode(), values)


def costs(cluster: Cluster, statements: tuple[tuple[str, int], ...]) -> Iterator[float]:
    """What the planner thinks of each."""
    with cluster.connect("real") as connection:
        for statement, _times in statements:
            text = statement.replace("%s", "100035")
            plan = connection.execute(f"EXPLAIN (FORMAT JSON) {text}".encode()).fetchall()[0][0]
            yield float(plan[0]["Plan"]["Total Cost"])


def done(cluster: Cluster, proposed: list[dict[str, Any]]) -> None:
    with cluster.connect("real") as connection:
        for one in sorted(proposed, key=lambda one: one["order"]):
            for action in one["action"]:
                connection.execute(action.encode())
        connection.execute(b"ANALYZE")


ZABBIX = (
    ("SELECT clock, ns, value FROM history WHERE itemid = %s AND clock > %s", 100),
    ("SELECT i.itemid, h.host FROM items i JOIN hosts h ON i.hostid = h.hostid WHERE i.itemid = %s", 100),
    ("SELECT eventid FROM events WHERE source = 0 AND object = 0 AND objectid = %s ORDER BY clock DESC LIMIT 9", 60),
    ("SELECT tag, value FROM event_tag WHERE eventid = %s", 60),
    ("SELECT auditid, details FROM auditlog WHERE recordsetid = %s::text", 40),
    ("SELECT auditid FROM auditlog WHERE userid = %s AND clock >= %s ORDER BY clock DESC LIMIT 50", 40),
    ("SELECT sessionid FROM sessions WHERE userid = %s AND status = 0 AND lastaccess > %s LIMIT 10", 40),
    ("SELECT triggerid FROM triggers WHERE value = 1 AND status = 0 ORDER BY triggerid LIMIT 10", 20),
    ("UPDATE triggers SET lastchange = %s WHERE triggerid = %s", 30),
    ("DELETE FROM history WHERE itemid = %s AND clock < %s", 20),
)  # fmt: skip
_ZABBIX_ROWS = """
INSERT INTO hosts (hostid, host, name) SELECT 500000 + g, 'host' || g, 'Host ' || g FROM generate_series(1, 200) g;
INSERT INTO items (itemid, hostid, name, key_)
SELECT 100000 + g, 500001 + floor(199 * power(random(), 3)), 'Item ' || g, 'k' || g FROM generate_series(1, 20000) g;
INSERT INTO history (itemid, clock, ns, value)
SELECT 100001 + floor(19999 * power(random(), 3)), 1700000000 + g, g, random() FROM generate_series(1, 200000) g;
INSERT INTO triggers (triggerid, expression, description)
SELECT 100000 + g, g, 'T' FROM generate_series(1, 5000) g;
INSERT INTO events (eventid, source, object, objectid, clock, value, name)
SELECT 100000 + g, CASE WHEN g % 12 = 0 THEN 3 ELSE 0 END, 0, 100001 + floor(4999 * power(random(), 4)),
    1700000000 + g, g % 2, 'P' FROM generate_series(1, 120000) g;
INSERT INTO event_tag (eventtagid, eventid, tag, value)
SELECT g, 100000 + g, 'class', 'os' FROM generate_series(1, 100000) g;
INSERT INTO auditlog (auditid, userid, clock, recordsetid, details)
SELECT lpad(g::text, 25, 'c'), 1, 1700000000 + g, lpad((g / 3)::text, 25, 'r'), repeat('x', 200)
FROM generate_series(1, 40000) g;
VACUUM ANALYZE
"""


@pytest.mark.matrix
def test_zabbix(server: Cluster, tmp_path: Path) -> None:
    """173 tables, some 400 indexes, 226 foreign keys, with its own images and templates: GPL-2+, of Debian."""
    folder = debian("zabbix-server-pgsql", tmp_path / "zabbix") / "usr/share/zabbix-server-pgsql"
    for script in ("schema", "images", "data"):
        loaded(server, folder / f"{script}.sql.gz", database="real")
    for statement in _ZABBIX_ROWS.split(";"):
        server.sql(statement, database="real")
    server.sql("SELECT pg_stat_statements_reset()")
    worked(server, ZABBIX)
    found = look(server)
    print(Counter({name: len(many) for name, many in found.items()}))
    # Nothing is there twice, and the prefixes by hand are none either.
    assert server.sql(_PREFIXES, database="real") == []
    assert not {"IX02", "IX03"} & set(found)
    # Each foreign key without an index, and no other; all of small tables, where it is a hint.
    unbacked = {str(row[0]) for row in server.sql(_UNBACKED, database="real")}
    assert {one["object"]["constraint"] for one in found["IX07"]} == unbacked and len(unbacked) >= 20
    assert {one["severity"] for one in found["IX07"]} == {"low"}
    # What the front end asks by a record set reads all of the log; later releases of Zabbix have this index.
    assert {(one["object"]["name"], *one["object"]["columns"]) for one in found["IX08"]} == {
        ("auditlog", "recordsetid")
    }
    # Nine of ten events are of one source, and the index on (source, object, objectid, clock) is what finds them.
    assert "IX09" not in found
    before = list(costs(server, ZABBIX))
    done(server, [one for many in found.values() for one in many if one["class"] in ("IX07", "IX08")])
    after = list(costs(server, ZABBIX))
    # Rows were sampled anew in between.
    assert [pair for pair in zip(before, after) if pair[1] > 1.25 * pair[0] + 8] == []


MUSICBRAINZ = (
    ("SELECT id, name FROM musicbrainz.artist WHERE id = %s", 40),
    ("SELECT release FROM musicbrainz.release_label WHERE release = %s", 30),
    ("SELECT recording FROM musicbrainz.isrc WHERE isrc = %s::text", 30),
    ("SELECT medium FROM musicbrainz.medium_cdtoc WHERE medium = %s", 30),
    ("SELECT id, name FROM musicbrainz.release WHERE release_group = %s ORDER BY name LIMIT 25", 30),
    ("SELECT r.id FROM musicbrainz.release r JOIN musicbrainz.release_group g ON g.id = r.release_group "
     "WHERE g.artist_credit = %s", 20),
)  # fmt: skip
_SCRIPTS = (
    "Extensions CreateCollations CreateSearchConfiguration CreateTypes CreateTables CreatePrimaryKeys CreateFunctions "
    "CreateIndexes CreateFKConstraints CreateConstraints"
)


@pytest.mark.matrix
def test_musicbrainz(server: Cluster, tmp_path: Path) -> None:
    """375 tables, 528 indexes beside their keys, partitions, collations of ICU, expressions: MIT, of PyPI."""
    folder = pypi("mbdata", tmp_path / "mbdata") / "mbdata" / "sql"
    server.sql("CREATE SCHEMA musicbrainz", database="real")
    for script in _SCRIPTS.split():
        loaded(server, folder / f"{script}.sql", schema="musicbrainz", database="real")
    many = dict.fromkeys(
        ("artist", "artist_credit", "release", "release_group", "recording", "track"), 10_000
    )
    refused = filled(server, "real", "musicbrainz", 100, many)
    print(len(refused), "tables took no rows")
    server.sql("SELECT pg_stat_statements_reset()")
    worked(server, MUSICBRAINZ)
    found = look(server)
    print(Counter({name: len(many) for name, many in found.items()}))
    by_hand = {(str(short), str(long)) for short, long in server.sql(_PREFIXES, database="real")}
    assert len(by_hand) == 8
    assert {
        (one["object"]["name"], str(one["says"]["values"]["cover"]).rpartition(".")[2])
        for one in found["IX03"]
    } == by_hand
    # Unique where it is the primary one of a locale that is not null: nothing slips through.
    nullable = {one["object"]["name"] for one in found["IX14"] if one["says"]["key"] == "IX14_nullable"}
    assert not {name for name in nullable if name.endswith("_alias_idx_primary")}
    assert "iswc_idx_iswc" in nullable or "language_idx_iso_code_3" in nullable
    # For rows where a comment is not null, which a comment never is.
    assert named(found["IX12"]) == {"artist_idx_uniq_name_comment", "label_idx_uniq_name_comment"}
    before = list(costs(server, MUSICBRAINZ))
    keys = "SELECT count(*) FROM pg_constraint"
    constraints = server.value(keys, database="real")
    done(server, [one for one in found["IX03"] if one["action"]])
    assert server.value(keys, database="real") == constraints
    after = list(costs(server, MUSICBRAINZ))
    assert [pair for pair in zip(before, after) if pair[1] > 1.25 * pair[0] + 8] == []
    assert "IX03" not in look(server)
