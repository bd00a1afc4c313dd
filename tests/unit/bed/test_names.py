# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Names are decided by the checkout's path alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bed.names import Site, check_group, check_name, parse_request
from tests.bed.process import BedError


def test_two_checkouts_share_no_name(tmp_path: Path) -> None:
    one, two = (Site(tmp_path / name / "ops", state_root=tmp_path) for name in ("a", "b"))
    for name in ("key", "bridge", "nat_table", "unit_prefix", "directory", "private_key"):
        assert getattr(one, name) != getattr(two, name), name


def test_the_same_checkout_by_another_way_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ops")
    assert Site(tmp_path / "link").key == Site(tmp_path / "ops").key


def test_the_bridge_fits_into_an_interface_name() -> None:
    assert len(Site(Path("/a/very/long" * 20)).bridge) <= 15  # IFNAMSIZ is 16 with the final zero


def test_a_unit_ends_in_the_last_octet() -> None:
    site = Site(Path("/somewhere"))
    assert site.unit("10.88.3.17") == f"dbk-{site.key}-17"


@pytest.mark.parametrize("name", ["deb12", "a", "db-1", "x" * 32])
def test_host_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "Deb12", "-a", "a-", "a_b", "a.b", "../x", "x" * 33])
def test_what_is_no_host_name(name: str) -> None:
    with pytest.raises(BedError, match="no host name"):
        check_name(name)


@pytest.mark.parametrize("group", ["default", "backup_restore", "v1.2", "Mixed-Case"])
def test_group_names(group: str) -> None:
    assert check_group(group) == group


@pytest.mark.parametrize("group", ["", ".", "..", ".hidden", "a/b", "x" * 64])
def test_what_is_no_group_name(group: str) -> None:
    with pytest.raises(BedError, match="no group name"):
        check_group(group)


def test_a_request_is_a_name_and_a_release() -> None:
    assert parse_request("deb12=bookworm") == ("deb12", "bookworm")


@pytest.mark.parametrize("word", ["deb12", "deb12=", "=bookworm"])
def test_half_a_request_is_refused(word: str) -> None:
    with pytest.raises(BedError):
        parse_request(word)
