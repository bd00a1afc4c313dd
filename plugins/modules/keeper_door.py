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

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.admission import ACCESS, Admission, admit
from ..module_utils._engine.core.errors import Refused
from ..module_utils._module import serve


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
        },
        supports_check_mode=True,
    )
    options = module.params

    def operation() -> dict[str, object]:
        names = ("root", "cluster", "host", "public_key", "access", "command")
        admission = Admission(**{name: options[name] for name in names})
        if not admission.public_key and admission.access != "none" and not module.check_mode:
            raise Refused(
                "admission-malformed",
                attempted=f"let {admission.host} in at the door of {admission.root}",
                happened="there is no public key",
                remedy="Make the host's key first: keeper_config does, and returns public_key.",
            )
        keys = options["authorized_keys"]
        return admit(admission, user=options["user"], check=module.check_mode, authorized_keys=keys)

    serve(module, operation)


if __name__ == "__main__":
    main()
