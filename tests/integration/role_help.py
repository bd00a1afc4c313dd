# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The role postgresql, from its variables to a configured server, on a throw-away cluster of an ordinary user.

What only root can do, installing packages, is left out; all else is the role's own tasks and templates.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.host import host_facts
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.tuning.facts import HostFacts

from .harness.cluster import Cluster
from .harness.keeper import CHECKOUT

_PLAY = """
- name: Configure a throw-away cluster
  hosts: all
  gather_facts: false
  tasks:
    - name: Say where it is
      ansible.builtin.include_role:
        name: dbkeeper.ops.postgresql
        tasks_from: locate
        rolespec_validate: false
        public: true

    - name: Configure it
      ansible.builtin.include_role:
        name: dbkeeper.ops.postgresql
        tasks_from: configure
        rolespec_validate: false
"""


class RoleRun:
    """What a run of the role said."""

    def __init__(self, status: int, out: str) -> None:
        self.status = status
        self.out = out

    @property
    def changed(self) -> int:
        """How many tasks changed something. Raises AssertionError with all that was said when the run failed."""
        assert self.status == 0, self.out
        match = re.search(r"changed=(\d+)", self.out)
        assert match, self.out
        return int(match[1])


class RoleHost:
    """A cluster that the role finds where it looks for one."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.user = getpass.getuser()
        self.directory = cluster.root / "conf.d"
        self.directory.mkdir()
        cluster.sql(f'CREATE ROLE "{self.user}" SUPERUSER LOGIN')
        with open(cluster.data_directory / "postgresql.conf", "a") as handle:
            handle.write(f"include_dir '{self.directory}'\n")
        # As the module gathers them, but for the servers of other tests, which come and go.
        facts = HostFacts.from_dict(host_facts(ClusterConfig.from_dict(cluster.config, source="the test")))
        self.facts = {**facts.to_dict(), "other_clusters_memory_bytes": 0}
        self.play = cluster.root / "configure.yml"
        self.play.write_text(_PLAY)

    @property
    def settings(self) -> Path:
        """The settings file that the role writes."""
        return self.directory / "10-dbkeeper.conf"

    @property
    def log(self) -> str:
        """What the server wrote into its own log."""
        files = sorted(self.cluster.log_directory.glob("server-*.log"))
        assert files, list(self.cluster.log_directory.iterdir())
        return "".join(path.read_text() for path in files)

    def run(self, *arguments: str, **variables: Any) -> RoleRun:
        """Run the role with these variables."""
        cluster = self.cluster
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "postgresql_version": str(cluster.installation.major),
            "postgresql_cluster": cluster.name,
            "postgresql_port": cluster.port,
            "postgresql_listen_addresses": "",
            "postgresql_data_directory": str(cluster.data_directory),
            "postgresql_tls": "off",
            "postgresql_hba": [{"method": "trust", "accept_weak": True}],
            "backup_state_directory": str(cluster.root / "role-state"),
            "__postgresql_owner": self.user,
            "__postgresql_bin_directory": str(cluster.installation.bin_directory),
            "__postgresql_config_directory": str(cluster.data_directory),
            "__postgresql_settings_directory": str(self.directory),
            "__postgresql_socket_directory": str(cluster.socket_directory),
            "__postgresql_service_manager": "pg_ctl",
            "__postgresql_unit": "none",
            "__postgresql_log_directory": str(cluster.log_directory),
            "__postgresql_log_name": "server",
            "__postgresql_host": {"facts": self.facts, "previous": None},
            **variables,
        }
        done = subprocess.run(
            [
                "ansible-playbook",
                "-i",
                "throwaway,",
                "-e",
                json.dumps(given),
                *arguments,
                str(self.play),
            ],
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")},
            cwd=cluster.root,
            check=False,
            text=True,
            capture_output=True,
            timeout=240,
        )
        return RoleRun(done.returncode, done.stdout + done.stderr)
