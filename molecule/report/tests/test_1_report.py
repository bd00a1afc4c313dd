# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report of a primary and two standbys that are worked on, from the first run to an index that is gone and back."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from tests.fleet_hosts import (
    NAMES,
    PROJECT,
    Report,
    age,
    ask,
    caught_up,
    host,
    kept,
    report,
    scratch,
    state,
)
from tests.playbook_runs import Run

FILES = Path(__file__).resolve().parents[1] / "files"
SCHEMA = json.loads((PROJECT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
READING = "SELECT sum(l_quantity) FROM lineitem WHERE l_shipdate = '2021-02-03' AND l_partkey < 100"


def work() -> None:
    """Everything that the report is about."""
    for name in ("shop.sql", "shop.pgbench"):
        copied = host("primary").ansible(
            "copy", f"src={FILES / name} dest=/tmp/{name} mode=0644", check=False
        )
        assert "failed" not in copied, copied
    run = "cd /tmp && runuser -u postgres -- "
    host("primary").check_output(run + "psql -qX -v ON_ERROR_STOP=1 -d shop -f /tmp/shop.sql")
    failed = host("primary").run(
        run + "psql -X -d shop -c 'CREATE UNIQUE INDEX CONCURRENTLY lineitem_part ON lineitem (l_partkey)'"
    )
    assert failed.rc != 0 and "could not create unique index" in failed.stderr
    host("primary").check_output(run + "pgbench -q -i -s 2 bank && " + run + "pgbench -c 2 -t 200 bank")
    host("primary").check_output(run + "pgbench -n -c 2 -t 200 -f /tmp/shop.pgbench shop")
    caught_up()


@dataclass(frozen=True)
class Told:
    """The runs, in their order."""

    first: Report
    first_page: str
    untouched: bool
    checked: Report
    check_stored: bool
    second: Report
    later: Report


@pytest.fixture(scope="module")
def told() -> Told:
    work()
    before = state()
    first = report()
    page = first.text("report.html") if first.run.status == 0 else ""
    untouched = state() == before
    readings = {name: kept(name) for name in NAMES}
    checked = report("--check", report_fail_on=["new_unindexed_fk"])
    stored = {name: kept(name) for name in NAMES} != readings or first.text("report.html") != page
    second = report()
    # Five weeks later; and only now reports are read on a standby.
    for name in NAMES:
        age(name, 40)
    for _round in range(3):
        ask("reader", READING)
    later = report(report_fail_on=["invalid_index"])
    return Told(first, page, untouched, checked, stored, second, later)
