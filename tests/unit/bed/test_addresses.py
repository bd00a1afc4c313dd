# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Free addresses, by examples and by filling everything up."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from tests.bed.addresses import POOLS, gateway, pick_address, pick_subnet
from tests.bed.process import BedError

NET = IPv4Network("10.88.1.0/24")


def test_the_first_free_subnet_is_taken() -> None:
    assert pick_subnet([]) == NET
    assert pick_subnet([NET]) == IPv4Network("10.88.2.0/24")


@pytest.mark.parametrize("other", ["10.88.1.128/25", "10.88.1.7/32", "10.88.0.0/23"])
def test_a_partial_overlap_is_an_overlap(other: str) -> None:
    assert pick_subnet([IPv4Network(other)]) == IPv4Network("10.88.2.0/24")


def test_the_second_pool_serves_when_the_first_is_held_whole() -> None:
    assert pick_subnet([POOLS[0]]) == IPv4Network("10.188.1.0/24")


def test_the_last_subnet_is_given_and_then_refused() -> None:
    # Gateways and other people's networks: the first /24 of each pool is never given.
    usable = [net for pool in POOLS for net in pool.subnets(new_prefix=24) if net.network_address != pool[0]]
    assert pick_subnet(usable[:-1]) == usable[-1]
    with pytest.raises(BedError, match="no free /24"):
        pick_subnet(usable)


def test_hosts_leave_the_gateway_alone_and_fill_gaps() -> None:
    assert str(gateway(NET)) == "10.88.1.1"
    assert str(pick_address(NET, [])) == "10.88.1.11"
    taken = [IPv4Address("10.88.1.11"), IPv4Address("10.88.1.13")]
    assert str(pick_address(NET, taken)) == "10.88.1.12"


def test_a_full_subnet_is_said_to_be_full() -> None:
    taken = [NET.network_address + octet for octet in range(256)]
    with pytest.raises(BedError, match="in use"):
        pick_address(NET, taken)
