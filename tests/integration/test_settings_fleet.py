# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A real primary and a real standby: the five settings go up on the standby first, and down on the primary first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

from .harness.cluster import Cluster
from .harness.waiting import wait_for
from .settings_help import Configured


@pytest.fixture
def pair(make_cluster: Callable[..., Cluster]) -> tuple[Configured, Configured]:
    primary = make_cluster("main")
    primary.stop()
    standby = Cluster(primary.sandbox, "main", root=primary.sandbox.root / "standby", origin=primary)
    (standby.data_directory / "standby.signal").touch()
    standby.set(primary_conninfo=f"host={primary.socket_directory} port={primary.port} user=postgres")
    primary.start()
    standby.start()
    return Configured(primary), Configured(standby)


def streaming(primary: Configured, standby: Configured) -> bool:
    """Whether all that the primary has written has been replayed."""
    here = primary.cluster.value("SELECT pg_current_wal_lsn()")
    return bool(standby.cluster.value("SELECT pg_last_wal_replay_lsn() >= %s", here))


def test_up_and_down(pair: tuple[Configured, Configured]) -> None:
    primary, standby = pair
    for side in (primary, standby):
        side.apply("max_connections = 60\n")
    # Up: the standby comes first, and goes on replaying.
    assert standby.restart()["plan"] == ["restart"]
    assert primary.restart()["plan"] == ["restart"]
    primary.cluster.sql("CREATE TABLE risen (n int)")
    wait_for(lambda: streaming(primary, standby), "the standby, after the primary was raised")
    assert (primary.show("max_connections"), standby.show("max_connections")) == ("60", "60")

    # Down: the standby keeps what its primary has, and says so.
    primary.apply("max_connections = 50\n")
    result = standby.apply("max_connections = 50\n")
    assert (result["changed"], result["held"]) == (True, {"max_connections": 60})
    assert "kept as high as the primary has it: max_connections (60)" in result["warnings"][0]
    assert "max_connections = '60'" in standby.settings.read_text()
    assert standby.apply("max_connections = 50\n")["changed"] is False
    assert standby.restart()["plan"] == []
    primary.restart()
    primary.cluster.sql("CHECKPOINT")
    wait_for(lambda: streaming(primary, standby), "the standby, after the primary was lowered")
    result = standby.apply("max_connections = 50\n")
    assert result["held"] == {}
    assert standby.restart()["plan"] == ["restart"]
    assert (primary.show("max_connections"), standby.show("max_connections")) == ("50", "50")
    primary.cluster.sql("CREATE TABLE fallen (n int)")
    wait_for(lambda: streaming(primary, standby), "the standby, at the end")


def test_less_than_the_primary_will_have_is_refused(pair: tuple[Configured, Configured]) -> None:
    _primary, standby = pair
    with pytest.raises(Refused) as caught:
        standby.apply("max_connections = 60\n", at_least={"max_connections": 80})
    assert (caught.value.code, caught.value.details["least"]) == ("standby-setting-too-low", 80)
    assert not standby.settings.exists()
