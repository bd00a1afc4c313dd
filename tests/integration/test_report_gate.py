# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""report_fail_on over a real server: each kind of rule fails by what was made for it, and passes when that is gone; the
files are read by parsers of their formats, none of them ours."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import psycopg
import pytest
from markdown_it import MarkdownIt

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.index.look import Request, look_at
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.hosts import Host
from ansible_collections.dbkeeper.ops.plugins.plugin_utils.report.operation import make

from .harness.cluster import Cluster
from .harness.template import SUPERUSER
from .report_help import health, login_options, queries, reporter
from .test_report_playbook import SCHEMA

CLOSED = "closed '<b>'"
#: Rule -> the class of what fails it, or None for what is no finding.
RULES: dict[str, str | None] = {
    "invalid_index": "IX01",
    "duplicate_index": "IX02",
    "redundant_index": "IX03",
    "unindexed_fk": "IX07",
    "missing_index": "IX08",
    "collation_mismatch": "IX15",
    "regression": "QY02",
    "HC24": "HC24",
    "new_HC22": "HC22",
    "critical": "HC22",
    "not_seen": None,
    "unreachable": None,
    "new": "HC22",
    "expired": "HC24",
}
_BAD = """
CREATE TABLE parent (id int PRIMARY KEY);
INSERT INTO parent SELECT g FROM generate_series(1, 500) g;
CREATE TABLE item (id int, kind int, parent int REFERENCES parent, note text COLLATE "und-x-icu");
INSERT INTO item SELECT g, g % 50, 1 + g % 500, repeat('x', 80) FROM generate_series(1, 30000) g;
CREATE INDEX item_id ON item (id);
CREATE INDEX one ON item (kind); CREATE INDEX two ON item (kind);
CREATE INDEX long ON item (id, kind);
CREATE INDEX noted ON item (note);
ALTER TABLE item ADD CONSTRAINT late CHECK (kind >= 0) NOT VALID;
"""
_OURS = re.compile(r"</?details>|<details><summary>[^<]*</summary>|<summary>[^<]*</summary>|")
#: What somebody does about all of it.
_GOOD = """
DROP INDEX left_over; DROP INDEX two; DROP INDEX item_id; CREATE INDEX parented ON item (parent);
ALTER TABLE item VALIDATE CONSTRAINT late; ALTER COLLATION "und-x-icu" REFRESH VERSION; DROP SEQUENCE s;
"""


class Looked:
    """A server, and what all modules say of it, as one host."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def host(self) -> Host:
        login = login_options(self.cluster, SUPERUSER)
        directory = str(self.cluster.root / "report")
        results = {
            "index": look_at(Request(login, directory, ("postgres",), missing="plans")),
            "query": queries(self.cluster, top=500),
            "health": health(self.cluster),
        }
        return Host("db1", json.loads(json.dumps(results)))

    def work(self) -> None:
        with self.cluster.connect() as connection:
            for number in range(40):
                connection.execute(b"SELECT note FROM item WHERE id = %s", (number,))
                connection.execute(b"SELECT count(*) FROM item WHERE parent = %s", (number,))


@pytest.fixture
def looked(make_cluster: Callable[..., Cluster]) -> Looked:
    cluster = make_cluster(archiving=False, settings={"shared_preload_libraries": "pg_stat_statements"})
    reporter(cluster)
    cluster.sql("CREATE EXTENSION pg_stat_statements")
    cluster.sql(_BAD)
    with pytest.raises(psycopg.errors.UniqueViolation):
        cluster.sql("CREATE UNIQUE INDEX CONCURRENTLY left_over ON item (kind)")
    cluster.sql("VACUUM ANALYZE")
    return Looked(cluster)


@pytest.mark.matrix
def test_each_kind_of_rule_fails_and_passes(looked: Looked, tmp_path: Path) -> None:
    cluster = looked.cluster
    looked.host()
    looked.work()
    looked.host()
    # What is new from here on: an older collation, a slower statement, a sequence near its end, a closed database.
    cluster.sql("UPDATE pg_collation SET collversion = '0' WHERE collname = 'und-x-icu'")
    cluster.sql("DROP INDEX item_id; DROP INDEX long")
    looked.work()
    cluster.sql("CREATE INDEX item_id ON item (id); CREATE INDEX long ON item (id, kind)")
    cluster.sql("CREATE SEQUENCE s MAXVALUE 100; SELECT setval('s', 99); GRANT SELECT ON s TO reporter")
    cluster.sql(f'CREATE DATABASE "{CLOSED}" ALLOW_CONNECTIONS false')
    cluster.sql(f'REVOKE CONNECT ON DATABASE "{CLOSED}" FROM PUBLIC')
    bad = looked.host()
    down = Host("db2", {"index": {"unreachable": True, "msg": "ssh: <connect> | refused"}}, primary="db1")
    (late,) = [one for one in bad.results["health"]["findings"] if one["class"] == "HC24"]
    risk = {"id": late["id"], "owner": "ops", "reason": "later", "until": "2020-01-01"}
    for rule, name in RULES.items():
        made = make(
            [bad, down], tmp_path, now=datetime.now(timezone.utc), fail_on=[rule], accepted=[risk], keep=False
        )
        failed = [str(one["id"] or "") for one in made["gate"]["failures"]]
        assert made["gate"]["passed"] is False, rule
        # Each finding's id begins with its class.
        assert [one for one in failed if one.startswith((name or "").lower())], (rule, failed)
    everything = make(
        [bad, down], tmp_path, now=datetime.now(timezone.utc), fail_on=list(RULES), accepted=[risk]
    )
    _read_by_others(tmp_path, everything)

    cluster.sql(_GOOD)
    cluster.sql(f'DROP DATABASE "{CLOSED}"')
    looked.work()
    good = looked.host()
    accepted = {**risk, "until": "2999-12-31"}
    # What is still told of (unused for too short a time, wanted by no plan) breaks no other rule.
    rules = [rule for rule in RULES if rule not in ("missing_index", "new")]
    made = make([good], tmp_path, now=datetime.now(timezone.utc), fail_on=rules, accepted=[accepted])
    assert made["gate"]["passed"] is True, made["gate"]["failures"]


def _read_by_others(folder: Path, made: dict[str, Any]) -> None:
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    _as_ci_reads(ElementTree.parse(folder / "report.junit.xml").getroot(), made)
    text = (folder / "report.md").read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inside = [child for token in tokens for child in token.children or ()]
    # Markup in names and messages is text; a table has a row for each line of it.
    markup = {one.content.strip() for one in (*tokens, *inside) if one.type in ("html_block", "html_inline")}
    # Nothing but our own, which folds long lists.
    assert {line for piece in markup for line in piece.splitlines() if not _OURS.fullmatch(line)} == set()
    assert {"heading_open", "table_open", "fence"} <= {one.type for one in tokens}
    said = "".join(one.content for one in (*tokens, *inside))
    assert "ssh: <connect> | refused" in said
    for cluster in document["clusters"]:
        for one in cluster["findings"]:
            if one["severity"] in ("critical", "high"):
                assert one["texts"]["en"]["title"] in said


def _as_ci_reads(suite: ElementTree.Element, made: dict[str, Any]) -> None:
    """What Jenkins' and GitLab's readers hold to: a named suite whose counts are right, cases that are told apart by
    class and name, with one outcome at most."""
    assert suite.tag == "testsuite" and suite.get("name")
    cases = list(suite)
    assert {case.tag for case in cases} == {"testcase"}
    names = Counter((case.get("classname"), case.get("name")) for case in cases)
    assert all(place and name for place, name in names) and max(names.values()) == 1
    assert all(len(case) <= 1 for case in cases)
    outcomes = Counter(part.tag for case in cases for part in case)
    assert set(outcomes) <= {"failure", "error", "skipped"}
    counts = {word: int(suite.get(word, "-1")) for word in ("tests", "failures", "skipped", "errors")}
    assert counts == {
        "tests": len(cases),
        "failures": outcomes["failure"],
        "skipped": outcomes["skipped"],
        "errors": 0,
    }
    assert all(part.get("message") for case in cases for part in case)
    broken = {one["rule"] for one in made["gate"]["failures"]}
    assert {case.get("name") for case in cases if case.find("failure") is not None} == broken == set(RULES)
