# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""How modules are told which cluster is meant."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that name a cluster."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - Name of the cluster, as the role P(dbkeeper.ops.backup#role) has registered it on the host.
    type: str
    default: main
  config:
    description:
      - File that describes the cluster.
      - If not set, it is C(/etc/dbkeeper/NAME.json) with the name given as O(cluster).
    type: path
notes:
  - Run it as root. It works as the owner of the data directory, and as root only to control the service.
"""

    INSTANCE = r"""
options:
  instance:
    description:
      - Where the cluster is, as the fact C(postgresql_location) of the role P(dbkeeper.ops.postgresql#role)
        says it.
    type: dict
    required: true
    suboptions:
      cluster:
        description: Name of the cluster.
        type: str
        required: true
      version:
        description: Major version.
        type: str
        required: true
      data_directory:
        description: The data directory.
        type: path
        required: true
      bin_directory:
        description: Where the programs of this major version are.
        type: path
        required: true
      config_file:
        description: The C(postgresql.conf), where it is not in the data directory.
        type: path
      socket_directory:
        description: Where the server's socket is.
        type: path
        required: true
      port:
        description: Port of the server.
        type: int
        default: 5432
      superuser:
        description: Superuser that the owner of the data directory may connect as.
        type: str
        default: postgres
      backup_user:
        description: Role that base backups connect as. If not set, V(dbkeeper).
        type: str
      state_directory:
        description: Where locks and journals are. If not set, C(/var/lib/dbkeeper/state/NAME) with its name.
        type: path
      service:
        description: What starts and stops the server.
        type: dict
        required: true
        suboptions:
          manager:
            description: The service manager.
            type: str
            required: true
            choices: [systemd, pg_ctlcluster, pg_ctl]
          unit:
            description: Name of the unit, for V(systemd).
            type: str
notes:
  - Run it as root. It works as the owner of the data directory, and as root only to control the service.
"""
