#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a host in at the door of a repository on another one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keeper_door
short_description: Let a host in at the door of a repository on another one
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Runs on the host that keeps the repository. Makes its directory and its marker, and keeps one line in
    C(authorized_keys) for each host and cluster.
  - The line allows one command only, C(dbkeeper door), and no terminal, no forwarding. With O(access=append) nothing
    that is finished can be overwritten, renamed or deleted by it.
  - C(authorized_keys) belongs to root, so that the user of the door cannot change it.
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
  root:
    description: The directory of the repository. It is made for O(user) alone.
    type: path
    required: true
  cluster:
    description: Name of the cluster, which is its directory in the repository.
    type: str
    default: main
  user:
    description: The operating system user that the repository belongs to. It has to be there.
    type: str
    default: dbkeeper
  host:
    description: Name of the host that is let in.
    type: str
    required: true
  public_key:
    description: Its public key, as M(dbkeeper.ops.keeper_config) returns it. May be empty in check mode.
    type: str
    default: ""
  access:
    description:
      - V(append) is for a database host, V(read) for one that only restores.
      - V(none) takes the line out.
    type: str
    default: append
    choices: [append, read, none]
  authorized_keys:
    description:
      - Where sshd looks for the keys of O(user).
      - If not set, it is C(.ssh/authorized_keys) in the user's home directory.
    type: path
  command:
    description: The host command on the host of the repository.
    type: path
    default: /usr/local/bin/dbkeeper
  install:
    description: Whether the host command is installed or updated first, as M(dbkeeper.ops.keeper_command) does it.
    type: bool
    default: false
  files:
    description: Files of the system that belong to root, such as a cron table.
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
  - module: dbkeeper.ops.keeper_config
"""

EXAMPLES = r"""
- name: Let the database host in
  dbkeeper.ops.keeper_door:
    root: /srv/dbkeeper
    host: db1
    public_key: "{{ described.public_key }}"
  delegate_to: backup1

- name: Keep out a host that was given up
  dbkeeper.ops.keeper_door:
    root: /srv/dbkeeper
    host: db1
    access: none
  delegate_to: backup1
"""

RETURN = r"""
missing:
  description: Names of what was looked for and is not there.
  returned: success
  type: list
  elements: str
  sample: [zstd]
plan:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: ["let in db1: /var/lib/dbkeeper/.ssh/authorized_keys"]
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
host_keys:
  description: Type and key of each host key of this host, as known_hosts wants them.
  returned: success
  type: list
  elements: str
  sample: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cli.install import ARCHIVE, INTERPRETER, LINK, install
from ..module_utils._engine.cli.main import main as command
from ..module_utils._engine.cluster.admission import ACCESS, Admission, admit
from ..module_utils._engine.core.errors import Refused
from ..module_utils._engine.core.presence import keep_files, missing
from ..module_utils._module import FILE_OPTIONS, PRESENCE_OPTIONS, serve


def keep(options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The command, the files, the admission: in this order, the last one as the repository's owner."""
    names = ("root", "cluster", "host", "public_key", "access", "command")
    admission = Admission(**{name: options[name] for name in names})
    if not admission.public_key and admission.access != "none" and not check:
        raise Refused(
            "admission-malformed",
            attempted=f"let {admission.host} in at the door of {admission.root}",
            happened="there is no public key",
            remedy="Make the host's key first: keeper_config does, and returns public_key.",
        )
    absent = missing(options["look_for"])
    plan: list[str] = []
    diff: list[dict[str, Any]] = []
    if options["install"]:
        installed = install(ARCHIVE, LINK, INTERPRETER, check=check)
        plan += installed["plan"]
        diff.append(installed["diff"])
    written, differences = keep_files(options["files"], check=check)
    result = admit(admission, user=options["user"], check=check, authorized_keys=options["authorized_keys"])
    plan += written + result["plan"]
    return {
        **result,
        "changed": bool(plan),
        "executed": bool(plan) and not check,
        "plan": plan,
        "missing": absent,
        "diff": [*diff, *differences, result["diff"]],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "cluster": {"type": "str", "default": "main"},
            "user": {"type": "str", "default": "dbkeeper"},
            "host": {"type": "str", "required": True},
            # A public key is none of the secrets that Ansible suspects behind the word.
            "public_key": {"type": "str", "default": "", "no_log": False},
            "access": {"type": "str", "default": "append", "choices": list(ACCESS)},
            "authorized_keys": {"type": "path"},
            "command": {"type": "path", "default": "/usr/local/bin/dbkeeper"},
            "install": {"type": "bool", "default": False},
            "files": {"type": "list", "elements": "dict", "default": [], "options": FILE_OPTIONS},
            "look_for": {"type": "list", "elements": "dict", "default": [], "options": PRESENCE_OPTIONS},
        },
        supports_check_mode=True,
    )
    # Imported for what it brings along: everything that the command consists of.
    module.debug(f"builds {command.__name__}")
    serve(module, lambda: keep(module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
