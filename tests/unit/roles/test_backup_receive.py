# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Who streams from whom, and by which addresses: rendered by Ansible, nothing is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).resolve().parents[3] / "roles/backup"
LOADER = DataLoader()


def rendered(name: str, **chosen: Any) -> Any:
    """A variable of the role for a database host with a repository elsewhere."""
    variables: dict[str, Any] = {"inventory_hostname": "db1", "postgresql_location": {"port": 5432}}
    for path in ("defaults/main.yml", "vars/main.yml"):
        variables |= LOADER.load_from_file(str(ROLE / path), trusted_as_template=True)
    variables |= {"backup_repository_host": "vault", "backup_receive": True, **chosen}
    return Templar(loader=LOADER, variables=variables).template(variables[name])


PLACES = [
    ("db1", "db1", 5432),
    ("db1:5433", "db1", 5433),
    ("10.0.0.1", "10.0.0.1", 5432),
    ("10.0.0.1:5433", "10.0.0.1", 5433),
    ("fd00::1", "fd00::1", 5432),
    ("[fd00::1]", "fd00::1", 5432),
    ("[fd00::1]:5433", "fd00::1", 5433),
]


@pytest.mark.parametrize(("given", "address", "port"), PLACES)
def test_the_server_is_reached_at_every_form_of_an_address(given: str, address: str, port: int) -> None:
    assert rendered("__backup_receive_host", backup_receive_address=given) == address
    assert int(rendered("__backup_receive_port", backup_receive_address=given)) == port
    # As without an address of its own.
    assert rendered("__backup_receive_host", ansible_host=address) == address


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("vault", "vault"),
        ("vault:2222", "vault"),
        ("10.0.0.9", "10.0.0.9/32"),
        ("10.0.0.9:2222", "10.0.0.9/32"),
        ("fd00::9", "fd00::9/128"),
    ],
)
def test_the_host_that_streams_is_let_in_by_its_address(given: str, written: str) -> None:
    rule = rendered("__backup_receive_rule", __backup_address=given)
    assert rule == f"hostssl replication dbkeeper_receive {written} scram-sha-256"


@pytest.mark.parametrize(
    ("chosen", "let_in", "streams"),
    [
        ({}, True, True),
        # A standby, for the day on which it takes over; one stream only, of the primary.
        ({"postgresql_primary": "db0"}, True, False),
        ({"postgresql_primary": "db1"}, True, True),
        # A spare without data, and with it.
        ({"postgresql_spare_of": "db0", "__backup_data": {"stat": {"exists": False}}}, False, False),
        ({"postgresql_spare_of": "db0", "__backup_data": {"stat": {"exists": True}}}, True, True),
        ({"backup_repository_host": ""}, False, False),
        ({"backup_receive": False}, False, False),
    ],
)
def test_one_stream_of_a_primary(chosen: dict[str, Any], let_in: bool, streams: bool) -> None:
    assert rendered("__backup_streamable", **chosen) is let_in
    assert rendered("__backup_receives", **chosen) is streams


@pytest.mark.parametrize(
    ("chosen", "missing", "ends"),
    [
        ({"backup_receive": False}, [], True),
        # Never was one, or it has been ended.
        ({"backup_receive": False}, ["streaming"], False),
        ({"backup_receive": True}, [], False),
        # It is somebody else's.
        ({"backup_receive": False, "postgresql_primary": "db0"}, [], False),
    ],
)
def test_a_stream_is_ended_where_there_is_one_and_none_is_wanted(
    chosen: dict[str, Any], missing: list[str], ends: bool
) -> None:
    assert rendered("__backup_receives_no_more", __backup_door={"missing": missing}, **chosen) is ends


def test_without_a_look_at_the_other_host_nothing_is_ended() -> None:
    """A run of a part of the role, by tags."""
    assert rendered("__backup_receives_no_more", backup_receive=False) is False
