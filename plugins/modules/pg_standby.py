#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has a standby stream from its primary, also after the primary was restored."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_standby
short_description: Have a standby stream from its primary
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Does nothing when the standby streams the primary's timeline already.
  - A standby that can follow by itself is started, and told where its primary is.
  - One that has WAL which the primary no longer has, as after a restore to an earlier moment, is made anew. A base
    backup of the primary is taken and verified beside the old data directory, and takes its place by a rename. The old
    one is kept until somebody removes it.
  - Success means proven. It receives the primary's timeline, up to where the primary was when the module was started.
  - The primary is asked in the replication protocol only, so a role with C(REPLICATION) is enough.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster.instance
attributes:
  check_mode:
    support: full
    details:
      - The primary is asked in check mode, too. Whether a standby that could follow does so is seen only by doing it.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  primary:
    description:
      - Connection parameters of the primary by their names in libpq, such as C(host), C(port), C(user), C(sslmode),
        C(sslcert), C(sslkey) and C(passfile). They are written into the standby's configuration.
      - Passwords are refused. They belong into a passfile. Without one, C(.pgpass) of the cluster's owner is used.
    type: dict
    required: true
  slot:
    description: Physical replication slot on the primary. It is made where it is missing.
    type: str
  tablespace_map:
    description: Where tablespaces go on this host, by their paths on the primary.
    type: dict
    default: {}
  confirm:
    description:
      - The name of the cluster, if what is on this host may be put aside although it is no standby.
    type: str
  patience_seconds:
    description: How long a standby that could follow by itself may take, before it is made anew.
    type: int
    default: 30
  timeout_seconds:
    description: How long starting, and catching up after it was made anew, may take.
    type: int
    default: 3600
seealso:
  - module: dbkeeper.ops.pg_pitr
"""

EXAMPLES = r"""
- name: Have the standby follow its primary
  dbkeeper.ops.pg_standby:
    instance: "{{ postgresql_location }}"
    primary:
      host: db1.example.org
      user: dbkeeper
      sslmode: verify-full
    slot: db2
"""

RETURN = r"""
plan:
  description: C(action) is one of V(none), V(follow) and V(rebuild). C(reason) says why.
  returned: success
  type: dict
  sample: {action: rebuild, reason: there is no data here}
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
primary:
  description: What the primary says of itself.
  returned: success
  type: dict
  sample: {system_id: "7300000000000000000", timeline: 2, lsn: 0/5000060}
standby:
  description: What the standby is like now.
  returned: success
  type: dict
  sample:
    exists: true
    running: true
    standby: true
    system_id: "7300000000000000000"
    timeline: 2
    end_lsn: 0/5000060
    streaming: 2
kept_directory:
  description: Where the old data directory is kept. Null when there was none, or it is still in use.
  returned: success
  type: str
  sample: /var/lib/postgresql/17/main.replaced-20261121T031500Z
seconds:
  description: How long it took.
  returned: when not in check mode
  type: float
  sample: 12.5
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.standby.execute import make_standby
from ..module_utils._engine.standby.request import StandbyRequest
from ..module_utils._module import INSTANCE_OPTIONS, become_owner, load_config, serve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instance": {"type": "dict", "required": True, "options": INSTANCE_OPTIONS},
            "primary": {"type": "dict", "required": True},
            "slot": {"type": "str"},
            "tablespace_map": {"type": "dict", "default": {}},
            "confirm": {"type": "str"},
            "patience_seconds": {"type": "int", "default": 30},
            "timeout_seconds": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        given = module.params
        request = StandbyRequest(
            primary={name: str(value) for name, value in given["primary"].items()},
            slot=given["slot"],
            tablespace_map=given["tablespace_map"],
            patience_seconds=given["patience_seconds"],
            timeout_seconds=given["timeout_seconds"],
        )
        config = load_config(given)
        become_owner(config)
        result = make_standby(config, request, confirm=given["confirm"], check=module.check_mode)
        after = {"standby": result["plan"]["action"]} if result["changed"] else {}
        return {**result, "diff": {"before": {}, "after": after}}

    serve(module, operation)


if __name__ == "__main__":
    main()
