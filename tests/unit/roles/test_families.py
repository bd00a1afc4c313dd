# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Where things are on each family, and which tasks would run there: rendered by Ansible, nothing is executed.

Paths, packages and units are those of the packages' own documentation: README.rpm-dist of Fedora and RHEL,
https://www.postgresql.org/download/linux/redhat/, README.Debian of postgresql-common.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).resolve().parents[3] / "roles/postgresql"
LOADER = DataLoader()


def load(path: str) -> Any:
    return LOADER.load_from_file(str(ROLE / path), trusted_as_template=True)


class Host:
    """A host of some distribution, as the role sees it."""

    def __init__(self, family: str, distribution: str, release: str, **given: Any) -> None:
        self.variables: dict[str, Any] = {
            "ansible_facts": {
                "os_family": family,
                "distribution": distribution,
                "distribution_major_version": release,
                "service_mgr": "systemd",
            },
            "ansible_managed": "Ansible managed",
            "ansible_check_mode": False,
            "inventory_hostname": "db1",
            "playbook_dir": "/play",
            **load("defaults/main.yml"),
            **load("vars/main.yml"),
        }
        self.variables |= given
        locate = load("tasks/locate.yml")
        for name in self.render(locate[1]["loop"]):
            if (ROLE / f"vars/{name}.yml").is_file():
                self.variables |= load(f"vars/{name}.yml")
        self.variables |= self.render(locate[2]["ansible.builtin.set_fact"])

    def render(self, value: Any, **more: Any) -> Any:
        return Templar(loader=LOADER, variables={**self.variables, **more}).template(value)

    def holds(self, condition: Any) -> bool:
        conditions = condition if isinstance(condition, list) else [condition]
        templar = Templar(loader=LOADER, variables=self.variables)
        return all(one is True or templar.evaluate_conditional(one) for one in conditions)

    def tasks(self, path: str, **results: Any) -> Iterator[dict[str, Any]]:
        """The tasks of a file that would run, given what earlier ones have found."""
        self.variables |= results
        yield from self._chosen(load(path))

    def _chosen(self, tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for task in tasks:
            if not self.holds(task.get("when", True)):
                continue
            if "block" in task:
                yield from self._chosen(task["block"])
            else:
                yield task


FOUND = {"stat": {"exists": True}}
MISSING = {"stat": {"exists": False}}
ROCKY = ("RedHat", "Rocky", "9")


@pytest.mark.parametrize(
    ("host", "version", "programs", "data", "config", "unit", "package"),
    [
        (
            Host("Debian", "Debian", "13"),
            "17",
            "/usr/lib/postgresql/17/bin",
            "/var/lib/postgresql/17/main",
            "/etc/postgresql/17/main/postgresql.conf",
            "postgresql@17-main.service",
            "postgresql-17",
        ),
        (
            Host("Debian", "Debian", "12", postgresql_packages="pgdg"),
            "18",
            "/usr/lib/postgresql/18/bin",
            "/var/lib/postgresql/18/main",
            "/etc/postgresql/18/main/postgresql.conf",
            "postgresql@18-main.service",
            "postgresql-18",
        ),
        (
            Host("Debian", "Ubuntu", "24", postgresql_cluster="shop"),
            "16",
            "/usr/lib/postgresql/16/bin",
            "/var/lib/postgresql/16/shop",
            "/etc/postgresql/16/shop/postgresql.conf",
            "postgresql@16-shop.service",
            "postgresql-16",
        ),
        (
            Host("RedHat", "AlmaLinux", "10"),
            "16",
            "/usr/bin",
            "/var/lib/pgsql/data",
            None,
            "postgresql.service",
            "postgresql-server",
        ),
        (
            Host(*ROCKY, postgresql_packages="pgdg", postgresql_version="15"),
            "15",
            "/usr/pgsql-15/bin",
            "/var/lib/pgsql/15/data",
            None,
            "postgresql-15.service",
            "postgresql15-server",
        ),
        (
            Host(*ROCKY, postgresql_packages="pgdg", postgresql_data_directory="/srv/pg/data"),
            "18",
            "/usr/pgsql-18/bin",
            "/srv/pg/data",
            None,
            "postgresql-18.service",
            "postgresql18-server",
        ),
    ],
)
def test_where_things_are(
    host: Host,
    version: str,
    programs: str,
    data: str,
    config: str | None,
    unit: str,
    package: str,
) -> None:
    location = host.variables["postgresql_location"]
    assert location["version"] == version
    assert location["bin_directory"] == programs
    assert location["data_directory"] == data
    assert location["config_file"] == config
    assert location["service"] == {"manager": "systemd", "unit": unit}
    assert location["socket_directory"] == "/var/run/postgresql"
    assert host.render(host.variables["__postgresql_package"]) == package
    files = host.variables["postgresql_location_files"]
    place = Path(config).parent if config else Path(data)
    assert (files["settings"], files["hba"]) == (f"{place}/conf.d", f"{place}/pg_hba.conf")
    assert all(
        host.holds(condition) for condition in load("tasks/assert.yml")[0]["ansible.builtin.assert"]["that"]
    )


@pytest.mark.parametrize(
    "host",
    [
        Host("RedHat", "Rocky", "9", postgresql_cluster="shop"),
        Host("Suse", "openSUSE Leap", "15", **load("vars/RedHat.yml")),
        Host("Debian", "Debian", "12", postgresql_version="13"),
        Host("Debian", "Debian", "12", postgresql_cluster="my-shop"),
    ],
    ids=["second cluster", "family", "version", "dash"],
)
def test_what_cannot_be_served_is_refused(host: Host) -> None:
    conditions = load("tasks/assert.yml")[0]["ansible.builtin.assert"]["that"]
    assert not all(host.holds(condition) for condition in conditions)


def names(host: Host, path: str, **results: Any) -> list[str]:
    return [task["name"].partition("| ")[2] for task in host.tasks(path, **results)]


def test_a_new_host_of_the_red_hat_family() -> None:
    host = Host(*ROCKY, postgresql_packages="pgdg", postgresql_version="15")
    changed = {"changed": True}
    assert names(
        host, "tasks/install_RedHat.yml", __postgresql_server=MISSING, __postgresql_initdb=changed
    ) == [
        "See whether the server of this version is here",
        "Install the packages",
        "Make the directory above the data directory",
        "Make the cluster",
        "Make the directory of our settings",
        "Include our settings",
        "Start the service with the host",
    ]


def test_a_host_of_the_red_hat_family_with_data_elsewhere() -> None:
    host = Host(*ROCKY, postgresql_data_directory="/srv/pg/data")
    unchanged = {"changed": False}
    found = names(host, "tasks/install_RedHat.yml", __postgresql_server=FOUND, __postgresql_initdb=unchanged)
    assert "Install the packages" not in found
    assert "Give the service the data directory" in found
    tasks = {task["name"]: task for task in host.tasks("tasks/install_RedHat.yml")}
    unit = tasks["Install | Give the service the data directory"]["ansible.builtin.copy"]
    assert host.render(unit["dest"]) == "/etc/systemd/system/postgresql.service.d/dbkeeper.conf"
    assert "Environment=PGDATA=/srv/pg/data" in host.render(unit["content"])


def test_check_mode_on_a_new_host_touches_nothing_that_is_not_there() -> None:
    host = Host(*ROCKY, ansible_check_mode=True)
    changed = {"changed": True}
    assert names(
        host, "tasks/install_RedHat.yml", __postgresql_server=MISSING, __postgresql_initdb=changed
    ) == [
        "See whether the server of this version is here",
        "Install the packages",
        "Make the directory above the data directory",
        "Make the cluster",
    ]


def test_the_cluster_is_made_by_initdb_there() -> None:
    host = Host(
        *ROCKY,
        postgresql_packages="pgdg",
        postgresql_version="17",
        postgresql_initdb_options=["--wal-segsize=64"],
    )
    tasks = {
        task["name"]: task for task in host.tasks("tasks/install_RedHat.yml", __postgresql_server=MISSING)
    }
    made = tasks["Install | Make the cluster"]
    argv = host.render(made["ansible.builtin.command"]["argv"])
    assert argv[:3] == ["/usr/pgsql-17/bin/initdb", "--pgdata", "/var/lib/pgsql/17/data"]
    assert argv[-2:] == ["--data-checksums", "--wal-segsize=64"]
    assert host.render(made["become_user"]) == "postgres"
    assert host.render(made["ansible.builtin.command"]["creates"]) == "/var/lib/pgsql/17/data/PG_VERSION"
    packages = host.render(tasks["Install | Install the packages"]["ansible.builtin.package"]["name"])
    assert packages == ["postgresql17-server", "postgresql17-contrib", "openssl"]


def test_keys_are_not_kept_with_the_data_there() -> None:
    host = Host(*ROCKY)
    assert host.render(host.variables["__postgresql_tls_directory"]) == "/etc/dbkeeper/tls/16-main"


@pytest.mark.parametrize(
    ("path", "refused"), [("shop", []), ("shop, public", ["app"]), (["shop", "public"], ["app"]), (None, [])]
)
def test_a_search_path_of_several_schemas_is_refused(path: Any, refused: list[str]) -> None:
    settings = {"jit": False, **({"search_path": path} if path else {})}
    host = Host(*ROCKY, postgresql_roles=[{"name": "app", "settings": settings}, {"name": "other"}])
    assert list(host.render(host.variables["__postgresql_roles_with_lists"])) == refused
