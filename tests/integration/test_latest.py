# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The newest state: an archive that lost its end looks like one that ends there, but the live cluster knows better."""

from __future__ import annotations

from .harness.world import World, lsn_number, utc


def test_an_archive_that_lost_its_end_is_seen(world: World) -> None:
    """The whole command, warm and cold index alike: the names that are gone are not remembered anywhere."""
    cluster = world.cluster
    cluster.archive_all()
    cluster.sql("CHECKPOINT")
    cluster.keeper("plan", "--latest").expect(0)
    moment = utc(cluster.value("SELECT clock_timestamp()"))
    gone = [(path, path.read_bytes()) for path in cluster.archived_segments()[-2:]]
    for path, _dummy in gone:
        path.unlink()
    idle = ("--target-time", moment, "--allow-idle-gap")
    with cluster.unchanged():
        for target in (("--latest",), idle):
            error = cluster.keeper("plan", *target).refused("live-wal-not-archived", "lost its end")
            ends, live = (lsn_number(error["details"][name]) for name in ("archive_end_lsn", "live_lsn"))
            assert ends == live - 2 * (1 << 20)
    cluster.keeper("plan", "--latest", "--accept-unarchived").expect(0)
    cluster.keeper("plan", "--target-name", "beta").expect(0)
    for path, content in gone:
        path.write_bytes(content)
    cluster.keeper("plan", "--latest").expect(0)
