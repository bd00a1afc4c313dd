# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A bridge of our own for each checkout, and address translation to the outside."""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
from pathlib import Path

from .addresses import Network, gateway, pick_subnet
from .names import Site
from .process import BedError, run
from .store import locked, read_json, write_json


def subnet(site: Site) -> Network:
    """The checkout's subnet: given once, kept as long as the checkout exists."""
    registry = site.state_root / "subnets.json"
    with locked(site.state_root / "subnets.lock"):
        known = read_json(registry) or {}
        for key, entry in list(known.items()):
            folder = site.state_root / key
            # An entry whose checkout and hosts are both gone holds nothing any more.
            if not Path(entry["checkout"]).is_dir() and not any(folder.glob("hosts/*/*")):
                del known[key]
                if folder.is_dir():
                    shutil.rmtree(folder)
        if site.key not in known:
            taken = [Network(entry["subnet"]) for entry in known.values()] + _on_this_machine()
            known[site.key] = {"checkout": str(site.checkout), "subnet": str(pick_subnet(taken))}
        write_json(registry, known)
        return Network(known[site.key]["subnet"])


def _on_this_machine() -> list[Network]:
    found: list[Network] = []
    for route in json.loads(run("ip", "-json", "-4", "route", "show")):
        if route["dst"] != "default":
            found.append(Network(route["dst"]))
    for link in json.loads(run("ip", "-json", "-4", "address", "show")):
        for entry in link.get("addr_info", []):
            found.append(ipaddress.IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network)
    return found


def exists(site: Site) -> bool:
    return Path(f"/sys/class/net/{site.bridge}").exists()


def raise_up(site: Site, net: Network) -> None:
    """Bridge and translation, in place after this call whatever was there before."""
    if not exists(site):
        run("ip", "link", "add", site.bridge, "type", "bridge")
    run("ip", "address", "replace", f"{gateway(net)}/{net.prefixlen}", "dev", site.bridge)
    run("ip", "link", "set", site.bridge, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    # Declaring the table first makes the deletion valid; the whole script is one transaction.
    rules = f"""
        table ip {site.nat_table}
        delete table ip {site.nat_table}
        table ip {site.nat_table} {{
            chain post {{
                type nat hook postrouting priority srcnat;
                ip saddr {net} ip daddr != {net} masquerade
            }}
        }}
    """
    run("nft", "-f", "-", stdin=rules)


def take_down(site: Site) -> bool:
    """Remove bridge and table; whether there was anything to remove."""
    tables = json.loads(run("nft", "--json", "list", "tables"))["nftables"]
    table = any(entry.get("table", {}).get("name") == site.nat_table for entry in tables)
    if table:
        run("nft", "delete", "table", "ip", site.nat_table)
    bridge = exists(site)
    if bridge:
        run("ip", "link", "delete", site.bridge)
    return table or bridge


def ssh_answers(address: str) -> bool:
    """Whether an ssh server greets at the address."""
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:  # refused, unreachable or slow: not yet
        return False


def require_route(site: Site) -> None:
    if not exists(site):
        raise BedError(f"bridge {site.bridge} is gone: run `up` again")
