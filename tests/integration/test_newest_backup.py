# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A role takes its first backup where this says that there is none."""

from __future__ import annotations

import json

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.backup.newest import newest_backup
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig

from .harness.cluster import Cluster
from .harness.sandbox import Sandbox
from .harness.template import Kind


def config_of(cluster: Cluster) -> ClusterConfig:
    return ClusterConfig.load(str(cluster.config_path))


def test_only_a_usable_backup_of_this_system_counts(sandbox: Sandbox) -> None:
    cluster = Cluster(sandbox).start()
    assert newest_backup(config_of(cluster)) is None
    label = cluster.keeper("backup").expect(0)["backup"]["label"]
    assert newest_backup(config_of(cluster)) == label
    place = sandbox.root / "other"
    other = Cluster(sandbox, "main", kind=Kind(variant=1), root=place, repository=cluster.repository)
    assert newest_backup(config_of(other)) is None
    entry = cluster.repository / "main" / "base" / label / "backup.json"
    record = json.loads(entry.read_text())
    entry.write_text(json.dumps({**record, "status": "failed"}))
    assert newest_backup(config_of(cluster)) is None
    entry.write_text("{")
    assert newest_backup(config_of(cluster)) is None
