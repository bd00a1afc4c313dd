# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The harness itself: what it says about a server is what the server says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .harness import damage
from .harness.cluster import Cluster
from .harness.installation import Installation, an_installation_a_day
from .harness.template import Kind


@pytest.mark.parametrize("installation", an_installation_a_day())
@pytest.mark.parametrize("segment_mb", [1, 16])
def test_a_cluster_of_every_major_starts_and_survives_a_crash(
    make_cluster: Callable[..., Cluster], installation: Installation, segment_mb: int
) -> None:
    cluster = make_cluster(installation=installation, kind=Kind(segment_mb=segment_mb), archiving=False)
    assert cluster.value("SHOW wal_segment_size") == f"{segment_mb}MB"
    assert int(cluster.value("SHOW server_version_num")) // 10000 == installation.major
    cluster.sql("CREATE TABLE kept AS SELECT 1 AS one")
    cluster.crash()
    assert not cluster.running
    cluster.start()
    assert cluster.sql("SELECT * FROM kept") == [(1,)]


def test_clusters_of_one_kind_share_their_system_and_variants_do_not(
    make_cluster: Callable[..., Cluster],
) -> None:
    first, second = make_cluster("first", archiving=False), make_cluster("second", archiving=False)
    other = make_cluster("other", archiving=False, kind=Kind(variant=1))
    assert first.system_id == second.system_id != other.system_id
    assert first.port != second.port


def test_a_change_in_a_data_file_is_seen(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(archiving=False)
    with cluster.unchanged():
        cluster.sql("SELECT 1")
    with pytest.raises(AssertionError, match="something changed"), cluster.unchanged():
        cluster.sql("CREATE TABLE added AS SELECT 1 AS one")
        cluster.sql("CHECKPOINT")


def test_a_change_in_a_tablespace_or_beside_it_is_seen(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(archiving=False)
    place = cluster.add_tablespace("fast")
    cluster.sql("CREATE TABLE there TABLESPACE fast AS SELECT 1 AS one")
    with cluster.unchanged():
        cluster.sql("SELECT * FROM there")
    with pytest.raises(AssertionError, match=r"\+ tablespace: \d+/stray"), cluster.unchanged():
        (place / "stray").touch()
    with pytest.raises(AssertionError, match=r"beside: .*/fast\.restored"), cluster.unchanged():
        place.with_name("fast.restored-1").mkdir()
    with pytest.raises(AssertionError, match="tablespace: "), cluster.unchanged():
        cluster.sql("UPDATE there SET one = 2")
        cluster.sql("CHECKPOINT")


def test_closing_a_sandbox_ends_its_processes(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(archiving=False)
    pid = cluster.pid
    assert pid in cluster.sandbox.processes()
    cluster.sandbox.stop_all()
    assert cluster.pid is None


def test_what_the_server_finishes_arrives_in_the_repository(cluster: Cluster) -> None:
    name = cluster.archive_all()
    assert [path.name for path in cluster.archived_segments()][-1] == f"{name}.zst"
    assert len(damage.plain(cluster.archived_segments()[-1])) == 1 << 20
    assert cluster.value("SELECT failed_count FROM pg_stat_archiver") == 0
