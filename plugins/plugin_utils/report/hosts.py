# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the controller holds of each host after it was read, and which hosts are one cluster.

A cluster is what has one system identifier. A host that could not be read is put where the inventory says it
belongs, so that its absence is seen in the right place. Controller only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What is read of a host, in the order of the page.
REPORTS = ("index", "query", "health")
SEEN, PARTLY, UNREACHABLE, FAILED = "seen", "partly", "unreachable", "failed"


@dataclass(frozen=True)
class Host:
    """One host of the inventory and what its modules answered: a result, or one with ``msg`` and without ``node``."""

    name: str
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: The inventory's name of the host that it follows; empty for one that leads.
    primary: str = ""
    #: What the cluster is called, where the inventory says so.
    label: str = ""
    #: What it is for, where several clusters are for the same (shards, stages).
    role: str = ""

    def answered(self) -> dict[str, Mapping[str, Any]]:
        """The results that hold something."""
        return {name: result for name, result in self.results.items() if result.get("node")}

    @property
    def node(self) -> Mapping[str, Any] | None:
        """What the server says it is."""
        return next((result["node"] for result in self.answered().values()), None)

    @property
    def system_id(self) -> str | None:
        """The identity of its cluster; None where it could not be read."""
        return str(self.node["system_id"]) if self.node and self.node.get("system_id") else None

    @property
    def state(self) -> str:
        """How much of it was seen."""
        answered = self.answered()
        if answered:
            return SEEN if len(answered) == len(self.results) else PARTLY
        gone = [result for result in self.results.values() if result.get("unreachable")]
        return UNREACHABLE if gone else FAILED

    @property
    def leads(self) -> bool:
        """Whether it is the primary of its cluster."""
        return bool(self.node) and not (self.node or {}).get("in_recovery")

    def why(self, report: str) -> str | None:
        """Why a report of it is missing; None where it is there."""
        result = self.results.get(report)
        if result is None:
            return "It was not asked."
        if result.get("node"):
            return None
        return str(result.get("msg") or result.get("module_stderr") or "It gave no answer.").strip()

    def error(self, report: str) -> Mapping[str, Any] | None:
        """The engine's error of a report that failed, in its parts; None where it is Ansible that said something."""
        found = (self.results.get(report) or {}).get("error")
        return found if isinstance(found, Mapping) and "code" in found else None


@dataclass(frozen=True)
class Group:
    """The hosts of one cluster, its primary first."""

    name: str
    system_id: str | None
    hosts: tuple[Host, ...]

    def expected(self) -> list[str]:
        """The nodes that there should be: those of the inventory, and the standbys that a primary knows besides them.

        A standby is known by its application name, which is its host's name where the inventory is followed.
        """
        names = [host.name for host in self.hosts]
        return [*names, *(name for name in self.strangers() if name not in names)]

    def strangers(self) -> list[str]:
        """Standbys that stream from a primary and are no hosts of the inventory."""
        known = {_plain(host.name) for host in self.hosts}
        addresses = {str((host.node or {}).get("host") or "") for host in self.hosts}
        found: list[str] = []
        for host in self.hosts:
            for standby in _standbys(host):
                name = str(standby.get("name") or "")
                address = str(standby.get("address") or "")
                if not name or _plain(name) in known or (address and address in addresses):
                    continue
                # walreceiver is what libpq calls itself when nobody named it: as many of them as hosts is no stranger.
                if name == "walreceiver" and len(self.hosts) > 1:
                    continue
                found.append(name)
        return sorted(set(found))


def _standbys(host: Host) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for result in host.answered().values():
        found += [
            one for one in (result.get("facts") or {}).get("standbys") or [] if isinstance(one, Mapping)
        ]
    return found


def _plain(name: str) -> str:
    """How a host's name is written as an application name or a slot: only what both allow."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def grouped(hosts: Iterable[Host]) -> list[Group]:
    """Hosts by cluster, sorted by the cluster's name."""
    everyone = sorted(hosts, key=lambda host: host.name)
    by_name = {host.name: host for host in everyone}
    members: dict[str, list[Host]] = {}
    for host in everyone:
        members.setdefault(_key(host, everyone, by_name), []).append(host)
    groups = []
    taken: dict[str, int] = {}
    for hosts_of in members.values():
        ordered = sorted(hosts_of, key=lambda host: (not host.leads, bool(host.primary), host.name))
        name = _name(ordered)
        taken[name] = taken.get(name, 0) + 1
        # Two clusters of one name stay two: a copy beside its original is the usual reason.
        shown = name if taken[name] == 1 else f"{name} ({taken[name]})"
        identity = next((host.system_id for host in ordered if host.system_id), None)
        groups.append(Group(shown, identity, tuple(ordered)))
    return sorted(groups, key=lambda group: group.name)


def _key(host: Host, everyone: list[Host], by_name: Mapping[str, Host]) -> str:
    if host.system_id:
        return f"id {host.system_id}"
    leader = by_name.get(host.primary)
    if leader is not None and leader.system_id:
        return f"id {leader.system_id}"
    near = [other for other in everyone if other.system_id and _near(host, other)]
    if near:
        return f"id {near[0].system_id}"
    return f"name {host.label or host.primary or host.name}"


def _near(host: Host, other: Host) -> bool:
    """Whether the inventory puts both into one cluster."""
    if other.primary == host.name or (host.primary and host.primary == other.primary):
        return True
    return bool(host.label) and host.label == other.label


def _name(ordered: list[Host]) -> str:
    labels = [host.label for host in ordered if host.label]
    if labels:
        return labels[0]
    first = ordered[0]
    return first.name if first.leads or not first.primary else first.primary
