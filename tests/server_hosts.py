# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The scenario's hosts as its tests see them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import testinfra

from tests.playbook_runs import Run, playbook

NAMES = ("deb12", "deb13")
VERSIONS = {"deb12": "15", "deb13": "17"}


@dataclass(frozen=True)
class Server:
    """One host and its cluster."""

    name: str
    host: Any

    @property
    def settings_file(self) -> str:
        """The file that the role postgresql keeps."""
        return f"/etc/postgresql/{VERSIONS[self.name]}/main/conf.d/10-dbkeeper.conf"

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return str(self.variables()["ansible_host"])

    def variables(self) -> dict[str, Any]:
        """Its variables in the inventory."""
        return dict(self.host.ansible.get_variables())

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What the superuser is told over the socket."""
        done = self.host.run("runuser -u postgres -- psql -XAt -d %s -c %s", database, statement)
        assert done.rc == 0, done.stderr
        return str(done.stdout.strip())

    def show(self, setting: str) -> str:
        """A setting in effect."""
        return self.sql(f"SHOW {setting}")

    def started(self) -> str:
        """When the server was started: the same as long as nobody restarts it."""
        return self.sql("SELECT pg_postmaster_start_time()")

    def configuration(self) -> str:
        """Names and digests of all files that configure the cluster."""
        directory = f"/etc/postgresql/{VERSIONS[self.name]}/main"
        return str(self.host.check_output(f"find {directory} -type f -print0 | sort -z | xargs -0 sha256sum"))

    def check(self) -> dict[str, dict[str, str]]:
        """What dbkeeper check says, by name."""
        said = self.host.run("dbkeeper check --cluster main --json")
        return {item["name"]: item for item in json.loads(said.stdout)["checks"]}

    def password(self, role: str) -> str:
        """The password that was made for a role, from the controller's store."""
        return (store() / self.name / "main" / role).read_text(encoding="utf-8").strip()


def store() -> Path:
    """Where the controller keeps what it has made."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "secrets")


@lru_cache(maxsize=1)
def servers() -> list[Server]:
    """All hosts."""
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    return [
        Server(name, testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory)) for name in NAMES
    ]


def site(settings: dict[str, Any] | None = None, *arguments: str, **variables: Any) -> Run:
    """The part of the playbook site that configures servers, with other settings than the inventory's."""
    if settings is not None:
        variables["postgresql_settings"] = {**servers()[0].variables()["postgresql_settings"], **settings}
    return playbook("site", "--tags", "postgresql", "-e", json.dumps(variables), *arguments)
