#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the host command, built from the engine that this very module carries."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keeper_command
short_description: Install the host command dbkeeper
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Builds the command C(dbkeeper) from the engine of this collection and installs it on the host.
  - The command needs Python 3.9 or later and nothing else of Ansible. The server calls it to archive WAL,
    and a person without a control node restores with it.
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
  path:
    description: Where the command is written.
    type: path
    default: /usr/local/lib/dbkeeper/dbkeeper.pyz
  link:
    description: The name on the search path that leads to it.
    type: path
    default: /usr/local/bin/dbkeeper
  interpreter:
    description: The Python that runs it, on the host.
    type: path
    default: /usr/bin/python3
"""

EXAMPLES = r"""
- name: Install the host command
  dbkeeper.ops.keeper_command:
"""

RETURN = r"""
plan:
  description: What was done, or would be done in check mode. Empty when the same command is there.
  returned: success
  type: list
  elements: str
  sample: [write /usr/local/lib/dbkeeper/dbkeeper.pyz]
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
path:
  description: Where the command is.
  returned: success
  type: str
  sample: /usr/local/lib/dbkeeper/dbkeeper.pyz
stamp:
  description: What the command is made of, the SHA-256 of its sources first.
  returned: success
  type: str
  sample: 0a1b2c-3.11.2-/usr/bin/python3
"""

from ansible.module_utils.basic import AnsibleModule

# Imported for what it brings along: everything that the command consists of.
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli import main as command
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cli.install import install
from ansible_collections.dbkeeper.ops.plugins.module_utils._module import serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/usr/local/lib/dbkeeper/dbkeeper.pyz"},
            "link": {"type": "path", "default": "/usr/local/bin/dbkeeper"},
            "interpreter": {"type": "path", "default": "/usr/bin/python3"},
        },
        supports_check_mode=True,
    )
    options = module.params
    module.debug(f"builds {command.__name__}")
    serve(
        module,
        lambda: install(options["path"], options["link"], options["interpreter"], check=module.check_mode),
    )


if __name__ == "__main__":
    main()
