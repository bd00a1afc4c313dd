#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which of several things a host does not have."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keeper_presence_info
short_description: What of a list is missing on a host
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Looks for programs, libraries, users and files, all at once, so that a role need not have a task for each of them.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.info
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._presence
seealso:
  - module: dbkeeper.ops.pg_host_info
"""

EXAMPLES = r"""
- name: See what is to be installed
  dbkeeper.ops.keeper_presence_info:
    look_for:
      - {name: zstd, program: zstd}
      - {name: python3-psycopg, library: psycopg}
  register: host

- name: Install it
  ansible.builtin.package:
    name: "{{ host.missing }}"
  when: host.missing | length > 0
"""

RETURN = r"""
missing:
  description: Names of what was looked for and is not there.
  returned: success
  type: list
  elements: str
  sample: [zstd]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.core.presence import missing
from ..module_utils._module import PRESENCE_OPTIONS, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "look_for": {"type": "list", "elements": "dict", "default": [], "options": PRESENCE_OPTIONS},
        },
        supports_check_mode=True,
    )
    serve(module, lambda: {"changed": False, "missing": missing(module.params["look_for"])})


if __name__ == "__main__":
    main()
