#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a cluster known to the host command."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keeper_config
short_description: Make a cluster known to the host command dbkeeper
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Writes the description of a cluster, and makes its state directory and its repository.
  - Nothing that is in a repository is ever changed or removed.
  - With a repository on another host (C(ssh://)), makes the key with which this one comes there.
  - Does in one go what a host needs for it. With O(command) it says whether the host command itself is up to date, and
    with O(files) it writes the files of the system that call it, such as a cron table.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._presence
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  description:
    description:
      - All that the host command needs to know of the cluster, with the keys of C(/etc/dbkeeper/NAME.json).
      - C(copies) names the places that copies go to, see M(dbkeeper.ops.pg_backup_copy).
    type: dict
    required: true
  config:
    description:
      - Where the description is written.
      - If not set, it is C(/etc/dbkeeper/NAME.json) with the name of the cluster.
    type: path
  owner:
    description: Operating system user that owns the cluster.
    type: str
    default: postgres
  command:
    description:
      - Digest of the host command that the host should have, from P(dbkeeper.ops.engine_digest#lookup).
      - Where it does not have it, V(dbkeeper) is among RV(missing), and M(dbkeeper.ops.keeper_command) is to be run.
    type: str
  files:
    description: Files of the system that belong to root.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where.
        type: path
        required: true
      content:
        description: The text.
        type: str
        required: true
      mode:
        description: Permissions.
        type: str
        default: "0644"
seealso:
  - module: dbkeeper.ops.keeper_command
"""

EXAMPLES = r"""
- name: Make the cluster main known to the host command
  dbkeeper.ops.keeper_config:
    description:
      format: 1
      cluster: main
      version: "15"
      data_directory: /var/lib/postgresql/15/main
      bin_directory: /usr/lib/postgresql/15/bin
      config_file: /etc/postgresql/15/main/postgresql.conf
      socket_directory: /var/run/postgresql
      port: 5432
      superuser: postgres
      backup_user: dbkeeper
      service: {manager: systemd, unit: postgresql@15-main.service}
      repository: /var/lib/dbkeeper/repository
      state_directory: /var/lib/dbkeeper/state/main
      objectives:
        rpo_seconds: 900
        rto_seconds: 1800
        backup_age_seconds: 108000
        dump_age_seconds: 108000
        verification_age_seconds: 691200
        trial_age_seconds: 2678400
        free_days: 14
      notify: {file: /etc/dbkeeper/notify/main.json}
      metrics_file: /var/lib/prometheus/node-exporter/dbkeeper_main.prom
      backup: {compression_level: 1, max_rate_kbytes: null}
      command: /usr/local/bin/dbkeeper
      language: en
"""

RETURN = r"""
public_key:
  description:
    - Type and key of the public half of the key with which this host comes to a repository elsewhere. The private half
      was made here and stays here. Empty without such a repository, and in check mode when there is no key yet.
  returned: success
  type: str
  sample: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI
missing:
  description: Names of what was looked for and is not there, V(dbkeeper) for the host command.
  returned: success
  type: list
  elements: str
  sample: [zstd]
newest_backup:
  description:
    - Label of the newest usable base backup of this very system in a repository on this host. Null where there is none,
      or where it cannot be told from here.
  returned: success
  type: str
  sample: 20261121T031500Z-full
plan:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [write /etc/dbkeeper/main.json]
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.backup.newest import newest_backup
from ..module_utils._engine.cli.install import is_installed
from ..module_utils._engine.cluster.config import ClusterConfig
from ..module_utils._engine.cluster.register import register
from ..module_utils._engine.core.presence import keep_files, missing
from ..module_utils._module import CONFIG_DIRECTORY, FILE_OPTIONS, PRESENCE_OPTIONS, serve


def keep(options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The files, then the description, the latter partly as the cluster's owner."""
    absent = missing(options["look_for"])
    if options["command"] and not is_installed(options["command"]):
        absent.append("dbkeeper")
    written, differences = keep_files(options["files"], check=check)
    description = options["description"]
    path = options["config"] or f"{CONFIG_DIRECTORY}/{description.get('cluster')}.json"
    result = register(description, path, user=options["owner"], check=check)
    plan = written + result["plan"]
    return {
        **result,
        "changed": bool(plan),
        "executed": bool(plan) and not check,
        "plan": plan,
        "missing": absent,
        "newest_backup": None if plan else newest_backup(ClusterConfig.load(path)),
        "diff": [*differences, result["diff"]],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "description": {"type": "dict", "required": True},
            "config": {"type": "path"},
            "owner": {"type": "str", "default": "postgres"},
            "command": {"type": "str"},
            "files": {"type": "list", "elements": "dict", "default": [], "options": FILE_OPTIONS},
            "look_for": {"type": "list", "elements": "dict", "default": [], "options": PRESENCE_OPTIONS},
        },
        supports_check_mode=True,
    )
    serve(module, lambda: keep(module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
