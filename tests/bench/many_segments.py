# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The plan over a long archive whose index is warm: the whole command, from the shell to the card."""

from __future__ import annotations

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.archive import push
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.repository.layout import Repository
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.sandbox import Sandbox
from tests.integration.harness.template import Kind

from .record import Row, say, spent

_BUDGET_SECONDS = 2.0
_AT_ONCE = 500


def measure(sandbox: Sandbox, *, segments: int, repeat: int) -> list[Row]:
    """Segments of 1 MB, each with a commit in it; their number is what counts."""
    cluster = Cluster(
        sandbox,
        "long",
        kind=Kind(segment_mb=1),
        archiving=False,
        settings={"archive_mode": "on", "archive_command": "true", "wal_keep_size": f"{2 * _AT_ONCE}MB"},
    ).start()
    repository = Repository(str(cluster.repository), cluster.name)
    cluster.sql("CREATE TABLE marks (at timestamptz)")
    cluster.set(archive_command=f"{cluster.command} archive-push --config {cluster.config_path} %p")
    cluster.reload()
    cluster.keeper("backup").expect()
    cluster.set(archive_command="true")
    cluster.reload()
    done = cluster.current_segment()
    say(f"an archive of {segments} segments")
    moment = ""
    for begun in range(0, segments, _AT_ONCE):
        for _number in range(_AT_ONCE):
            cluster.sql("INSERT INTO marks VALUES (now()); SELECT pg_switch_wal()")
        if begun + _AT_ONCE >= segments:
            moment = str(cluster.value("SELECT clock_timestamp()::text"))
            cluster.sql("INSERT INTO marks VALUES (now())")
            cluster.switch_wal()
        current = cluster.current_segment()
        for path in sorted((cluster.data_directory / "pg_wal").iterdir()):
            if len(path.name) == 24 and done <= path.name < current:
                push(repository, str(path))
        done = current
        cluster.sql("CHECKPOINT")
    say("its index")
    cold: list[float] = []
    with spent(cold):
        cluster.keeper("index", timeout=1800).expect()
    runs: list[float] = []
    for _number in range(max(3, repeat)):
        with spent(runs):
            cluster.keeper("plan", "--target-time", moment, timeout=600).expect()
    cluster.stop()
    median = sorted(runs)[len(runs) // 2]
    say(f"  plan: {runs}, index from nothing: {cold}")
    return [
        Row(
            f"plan over {segments} segments, warm index",
            median,
            "index made from nothing",
            cold[0],
            None,
            f"<= {_BUDGET_SECONDS:g} s",
            median <= _BUDGET_SECONDS,
            {"ours": runs, "index": cold},
        )
    ]
