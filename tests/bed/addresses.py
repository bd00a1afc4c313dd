# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Which addresses are free. Pure: what is taken is an argument."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from .process import BedError

Network = ipaddress.IPv4Network
Address = ipaddress.IPv4Address

# The second pool is for machines where a container engine holds the whole first one.
POOLS = (Network("10.88.0.0/16"), Network("10.188.0.0/16"))
FIRST_HOST, LAST_HOST = 11, 250


def _candidates() -> Iterator[Network]:
    for pool in POOLS:
        # The first /24 is where others put their gateways.
        yield from list(pool.subnets(new_prefix=24))[1:]


def pick_subnet(taken: Iterable[Network]) -> Network:
    """The first /24 that overlaps nothing in ``taken``."""
    busy = list(taken)
    for candidate in _candidates():
        if not any(candidate.overlaps(other) for other in busy):
            return candidate
    raise BedError("no free /24 is left in " + ", ".join(str(pool) for pool in POOLS))


def gateway(subnet: Network) -> Address:
    return subnet.network_address + 1


def pick_address(subnet: Network, taken: Iterable[Address]) -> Address:
    """The first host address of the subnet that is not in ``taken``."""
    busy = set(taken)
    for octet in range(FIRST_HOST, LAST_HOST + 1):
        address = subnet.network_address + octet
        if address not in busy:
            return address
    raise BedError(f"all addresses of {subnet} are in use: take some hosts down")
