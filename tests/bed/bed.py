# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""All hosts of one checkout. One lock orders what two callers do at the same time."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, image, machine, network
from .addresses import pick_address
from .host import Host, destroy_directory, make_key, mounts_below
from .names import Site, check_group
from .process import BedError, ProcessId, run
from .store import locked


@dataclass(frozen=True)
class Bed:
    site: Site
    say: Callable[[str], None]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.site.lock):
            yield

    # -- reading -----------------------------------------------------------------

    def hosts(self, group: str | None = None) -> list[Host]:
        found = (Host.load(self.site, directory) for directory in self._directories())
        return [host for host in found if host is not None and group in (None, host.group)]

    def _directories(self) -> list[Path]:
        return sorted(path for path in self.site.hosts.glob("*/*") if path.is_dir())

    def select(self, group: str, names: Sequence[str]) -> list[Host]:
        """The named hosts of a group, or all of them when none is named."""
        hosts = {host.name: host for host in self.hosts(group)}
        missing = [name for name in names if name not in hosts]
        if missing or not hosts:
            known = ", ".join(hosts) or "no hosts at all"
            raise BedError(f"group {group!r} has no {', '.join(missing) or 'hosts'}: it has {known}")
        return [hosts[name] for name in names] if names else list(hosts.values())

    # -- up and down -----------------------------------------------------------------

    def up(
        self, group: str, wanted: Sequence[tuple[str, str]], owner: ProcessId | None
    ) -> tuple[list[Host], bool]:
        """Make the hosts and wait for ssh; hosts that are there already stay as they are."""
        check_group(group)
        machine.prepare()
        roots = self._images(dict.fromkeys(release for _dummy, release in wanted))
        self.sweep()
        with self._locked():
            self._make_key()
            net = network.subnet(self.site)
            network.raise_up(self.site, net)
            present = {host.name: host for host in self.hosts(group)}
            changed = False
            for name, release in wanted:
                if name in present:
                    if present[name].release != release:
                        raise BedError(f"{group}/{name} runs {present[name].release}: take it down first")
                    continue
                taken = [ipaddress.IPv4Address(host.address) for host in self.hosts()]
                address = str(pick_address(net, taken))
                groups = tuple(cgroups.own_groups(self.site.unit(address)))
                host = Host(self.site, group, name, release, address, str(roots[release]), owner, groups)
                host.create(roots[release], net)
                present[name] = host
                changed = True
            for host in present.values():
                host.introduce(present.values())
            hosts = [present[name] for name, _dummy in wanted]
            for host in hosts:
                if not host.is_on():
                    changed = True
                    host.power_on()
        for host in hosts:
            host.wait_ready()
        return hosts, changed

    def _images(self, releases: Iterable[str]) -> dict[str, Path]:
        # At once: more than half of the time of one is waiting for the mirror and the disk.
        with ThreadPoolExecutor() as pool:
            building = {release: pool.submit(image.ensure, release, self.say) for release in releases}
        return {release: built.result() for release, built in building.items()}

    def _make_key(self) -> None:
        key = self.site.private_key
        if not key.exists():
            make_key(key, self.site.bridge)

    def down(self, group: str, names: Sequence[str] = ()) -> list[str]:
        """Destroy hosts; those that are not there are fine."""
        with self._locked():
            gone = [host for host in self.hosts(group) if not names or host.name in names]
            for host in gone:
                host.destroy()
            self._tidy()
        return [host.name for host in gone]

    def sweep(self, everything: bool = False) -> list[str]:
        """Remove what dead runs of this checkout left behind, or all that it has."""
        removed: list[str] = []
        with self._locked():
            for directory in self._directories():
                host = Host.load(self.site, directory)
                # Under the lock nobody is making a host, so one without a state was cut off half-way.
                if host is None:
                    destroy_directory(directory, ())
                elif everything or host.is_leftover():
                    host.destroy()
                else:
                    continue
                removed.append(f"host {directory.parent.name}/{directory.name}")
            removed += self._tidy()
        return removed

    def _tidy(self) -> list[str]:
        """Network, control groups, mounts and empty folders that no host uses any more."""
        removed: list[str] = []
        hosts = self.hosts()
        for folder in self.site.hosts.glob("*"):
            with contextlib.suppress(OSError):  # not empty: in use
                folder.rmdir()
        used = {group for host in hosts for group in host.groups}
        strays = [group for group in cgroups.strays(self.site.unit_prefix) if group not in used]
        cgroups.empty(strays)
        cgroups.remove(strays)
        removed += [f"control group {group}" for group in strays]
        if hosts:
            return removed
        for mount in mounts_below(self.site.directory):
            run("umount", mount)
            removed.append(f"mount {mount}")
        if network.take_down(self.site):
            removed.append(f"network {self.site.bridge}")
        return removed

    # -- power -----------------------------------------------------------------------

    def power_off(self, hosts: Iterable[Host], clean: bool) -> None:
        for host in hosts:
            host.shut_down() if clean else host.cut_power()

    def power_on(self, hosts: Sequence[Host]) -> None:
        # Locked, or somebody else's sweep could meet a host that is neither off nor on.
        with self._locked():
            for host in hosts:
                host.power_on()
        for host in hosts:
            host.wait_ready()

    def reboot(self, hosts: Sequence[Host], hard: bool) -> None:
        if hard:
            self.power_off(hosts, clean=False)
            self.power_on(hosts)
            return
        for host in hosts:
            host.reboot()
        for host in hosts:
            host.wait_ready()
