# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The report on health: what the keeper knows of its own backups is in it, and nothing is where it is well."""

from __future__ import annotations

import shutil

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.report.words.say import finding

from .harness.cluster import Cluster
from .harness.waiting import wait_for
from .report_help import health, of_class, reporter


def test_what_the_keeper_knows_is_in_it(cluster: Cluster) -> None:
    reporter(cluster)
    cluster.archive_all()
    config = ClusterConfig.from_dict(cluster.config, source="the test")
    found = health(cluster, config=config, check=True)
    names = {item["object"]["name"]: item for item in of_class(found, "HC35")}
    checks = {check["name"]: check for check in found["facts"]["keeper"]["checks"]}
    assert {name for name, check in checks.items() if check["state"] != "ok"} >= set(names)
    # Nothing has been backed up yet.
    assert names["backup"]["severity"] == "high"
    assert checks["archiving"]["state"] == "ok"
    for language, text in (("en", "text"), ("ja", "text_ja")):
        said = finding("HC35", names["backup"]["says"]["values"], language)
        assert checks["backup"][text] in said["what"]
    assert not (cluster.state_directory / "space.json").exists()
    # The quiet half: what is backed up, verified and was once brought back is told in no word.
    cluster.set(archive_timeout="300")
    cluster.reload()
    wait_for(lambda: cluster.value("SHOW archive_timeout") == "5min", "the setting")
    for command in (
        ("backup",),
        ("verify",),
        ("dump", "--database", "postgres"),
        ("verify", "--trial", "postgres"),
    ):
        cluster.keeper(*command).expect(0)
    cluster.archive_all()
    well = health(cluster, config=config)
    states = {check["name"]: check["state"] for check in well["facts"]["keeper"]["checks"]}
    assert states.keys() >= {"backup", "verification", "archiving", "window", "rpo", "rto"}
    assert of_class(well, "HC35") == [], [one["says"]["values"] for one in of_class(well, "HC35")]
    shutil.rmtree(cluster.repository)
    blind = health(cluster, config=config)
    failed = {item["object"]["name"] for item in of_class(blind, "HC35")}
    assert "repository" in failed or any("keeper" in gap["what"] for gap in blind["not_seen"])
