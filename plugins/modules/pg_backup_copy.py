#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the copies of a repository up to date, or brings one back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_copy
short_description: Copy backups, dumps and WAL to other places, and bring them back
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Sends what is new in the repository to the copies in the cluster's description (C(copies)), such as directories,
    other hosts and S3-compatible storage. What is there with the right digest is not sent again.
  - Each object is verified after it was stored. A backup or dump is listed in a copy when all of it is there.
  - What fails at one copy does not keep the others from theirs. The task fails then, and says what failed where.
  - Runs on the host of the repository.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  names:
    description:
      - Which copies.
      - If not set, all that are described.
    type: list
    elements: str
    default: []
  prepare:
    description:
      - Make the places ready instead of copying. A marker is written that tells the place from an empty mount point.
      - A place that was ready before and has lost its marker is refused, for it is probably not mounted.
    type: bool
    default: false
  check_all:
    description:
      - Take the digests of everything that lies in the copies again, and send what is damaged there.
      - Encrypted objects are held against their lists only.
    type: bool
    default: false
  back:
    description:
      - Bring the copy back into this directory instead, which is a repository then.
      - Needs exactly one of O(names). What is there already is kept, and nothing is overwritten.
    type: path
  identity_file:
    description:
      - With O(back), the private key of an encrypted copy. Remove it from the host afterwards.
    type: path
  target_time:
    description:
      - With O(back), only what a restore to this moment needs, with offset or zone.
    type: str
  target_lsn:
    description:
      - With O(back), only what a restore to this position needs.
    type: str
  latest:
    description:
      - With O(back), only the newest backup and the WAL after it.
    type: bool
    default: false
  wait_seconds:
    description: How long to wait for another run that works on the same copy.
    type: int
    default: 600
seealso:
  - module: dbkeeper.ops.keeper_config
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: Make the places of the copies ready, once
  dbkeeper.ops.pg_backup_copy:
    cluster: main
    prepare: true

- name: Bring all copies up to date
  dbkeeper.ops.pg_backup_copy:
    cluster: main

- name: The repository is lost, bring it back from the cloud
  dbkeeper.ops.pg_backup_copy:
    cluster: main
    names: [cloud]
    back: /var/lib/dbkeeper/repository
    identity_file: /root/age-key.txt
"""

RETURN = r"""
copies:
  description:
    - Of each copy what was sent, what was removed by its own retention, and what failed.
  returned: when copying
  type: dict
  sample:
    cloud:
      to: s3://vault/pg
      changed: true
      sent: {objects: 14, bytes: 104857600, checked: {store: 14}}
      failures: []
      error:
prepared:
  description: The copies whose places were made ready.
  returned: with O(prepare)
  type: list
  elements: str
  sample: [cloud]
fetched:
  description: What was brought back. Empty in check mode.
  returned: with O(back)
  type: dict
  sample: {objects: 14, bytes: 104857600, present: 0, unlisted: 0, backups: [20261121T031500Z-full]}
executed:
  description: Whether anything was sent, made or fetched. False in check mode.
  returned: success
  type: bool
  sample: true
"""

from argparse import Namespace

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.copies.back import back_to, bring_back
from ..module_utils._engine.copies.operation import copy, prepare_copies, raise_failure
from ..module_utils._module import CLUSTER_OPTIONS, become_owner, load_config, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "names": {"type": "list", "elements": "str", "default": []},
            "prepare": {"type": "bool", "default": False},
            "check_all": {"type": "bool", "default": False},
            "back": {"type": "path"},
            "identity_file": {"type": "path"},
            "target_time": {"type": "str"},
            "target_lsn": {"type": "str"},
            "latest": {"type": "bool", "default": False},
            "wait_seconds": {"type": "int", "default": 600},
        },
        mutually_exclusive=[("prepare", "back"), ("target_time", "target_lsn")],
        required_by={"identity_file": ("back",), "target_time": ("back",), "target_lsn": ("back",)},
        supports_check_mode=True,
    )
    asked, check = Namespace(**module.params), module.check_mode

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        if asked.back:
            target = back_to(asked.target_time, asked.target_lsn, asked.latest)
            identity = asked.identity_file
            return bring_back(
                config, asked.names, asked.back, identity_file=identity, target=target, check=check
            )
        if asked.prepare:
            return prepare_copies(config, asked.names, check=check)
        return raise_failure(copy(config, asked.names, check=check, check_all=asked.check_all))

    serve(module, operation, wait_seconds=0 if check else asked.wait_seconds)


if __name__ == "__main__":
    main()
