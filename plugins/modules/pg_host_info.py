#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what a host has to offer to one PostgreSQL cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_host_info
short_description: What a host has to offer to a PostgreSQL cluster
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Gathers the facts that P(dbkeeper.ops.pg_tune#filter) chooses settings from.
  - Memory and CPUs are what the server may really use, limits of control groups and of affinity included.
  - Answers on a host without PostgreSQL as well. What is not known there is empty.
  - Looks for programs, libraries, users and files at the same time, so that a role need not ask for each of them.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.info
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster.instance
  - dbkeeper.ops._presence
options:
  settings_file:
    description:
      - The settings file that was made from the facts of an earlier run.
      - It says in a comment line what it was made from. That is returned as RV(previous).
    type: path
seealso:
  - plugin: dbkeeper.ops.pg_tune
    plugin_type: filter
  - module: dbkeeper.ops.keeper_presence_info
"""

EXAMPLES = r"""
- name: Look at the host
  dbkeeper.ops.pg_host_info:
    instance: "{{ postgresql_location }}"
    settings_file: /etc/postgresql/17/main/conf.d/10-dbkeeper.conf
    look_for:
      - {name: python3-psycopg, library: psycopg}
  register: host

- name: Show what suits it
  ansible.builtin.debug:
    msg: "{{ host.facts | dbkeeper.ops.pg_tune('oltp', previous=host.previous) }}"
"""

RETURN = r"""
missing:
  description: Names of what was looked for and is not there.
  returned: success
  type: list
  elements: str
  sample: [zstd]
facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    memory_bytes:
      description: The smaller of the host's memory and the limit of the control group.
      returned: always
      type: int
      sample: 33500744909
    cpus:
      description: CPUs that affinity and the quota of the control group allow.
      returned: always
      type: int
      sample: 8
    version:
      description: Major version of the cluster.
      returned: always
      type: int
      sample: 17
    disk:
      description: What the data lies on, one of C(hdd), C(ssd), C(nvme), C(san) and C(unknown).
      returned: always
      type: str
      sample: nvme
    data_filesystem_bytes:
      description: Size of the data directory's file system.
      returned: always
      type: int
      sample: 536870912000
    wal_filesystem_bytes:
      description: Size of the file system of C(pg_wal).
      returned: always
      type: int
      sample: 536870912000
    wal_separate:
      description: Whether C(pg_wal) is on a file system of its own.
      returned: always
      type: bool
      sample: false
    wal_segment_bytes:
      description: Size of a WAL segment.
      returned: always
      type: int
      sample: 16777216
    data_bytes:
      description: What the databases take. Null where there is no cluster yet, or counting takes too long.
      returned: always
      type: int
      sample: 31457280
    wal_compression_methods:
      description: What this build of the server knows. Empty where it cannot be asked.
      returned: always
      type: list
      elements: str
      sample: [lz4, zstd]
    io_methods:
      description: The same for C(io_method), from version 18 on.
      returned: always
      type: list
      elements: str
      sample: []
    io_uring_usable:
      description: Whether a server could use io_uring here.
      returned: always
      type: bool
      sample: false
    io_uring_obstacle:
      description: What stands against it. Null when nothing does.
      returned: always
      type: str
      sample: containers commonly forbid it
    container:
      description: Whether this is a container.
      returned: always
      type: bool
      sample: false
    other_clusters_memory_bytes:
      description: What of it other clusters of the host have been promised by their settings.
      returned: always
      type: int
      sample: 0
    huge_page_bytes:
      description: Size of a huge page. Null where the kernel has none.
      returned: always
      type: int
      sample: 2097152
    huge_pages_total:
      description: How many huge pages are reserved.
      returned: always
      type: int
      sample: 0
previous:
  description: What the present settings file was made from. Null where there is none, or it does not say so.
  returned: success
  type: dict
  sample: {format: 1, facts: {cpus: 8}, request: {intent: oltp}}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.host import host_facts
from ..module_utils._engine.core.presence import missing
from ..module_utils._engine.tuning.facts import HostFacts
from ..module_utils._engine.tuning.inputs import inputs_of
from ..module_utils._module import (
    INSTANCE_OPTIONS,
    PRESENCE_OPTIONS,
    become_owner,
    load_config,
    serve,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "dict", "required": True, "options": INSTANCE_OPTIONS},
            "settings_file": {"type": "path"},
            "look_for": {"type": "list", "elements": "dict", "default": [], "options": PRESENCE_OPTIONS},
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        absent = missing(module.params["look_for"])
        config = load_config(module.params)
        become_owner(config)
        path = module.params["settings_file"]
        return {
            "changed": False,
            "missing": absent,
            "facts": HostFacts.from_dict(host_facts(config)).to_dict(),
            "previous": inputs_of(path) if path else None,
        }

    serve(module, operation)


if __name__ == "__main__":
    main()
