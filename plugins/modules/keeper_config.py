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
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
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
      objectives: {rpo_seconds: 900, rto_seconds: 1800}
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

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.register import register
from ..module_utils._module import CONFIG_DIRECTORY, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "description": {"type": "dict", "required": True},
            "config": {"type": "path"},
            "owner": {"type": "str", "default": "postgres"},
        },
        supports_check_mode=True,
    )
    description = module.params["description"]
    path = module.params["config"] or f"{CONFIG_DIRECTORY}/{description.get('cluster')}.json"
    serve(
        module,
        lambda: register(description, path, user=module.params["owner"], check=module.check_mode),
    )


if __name__ == "__main__":
    main()
