#!/usr/bin/python
# Copyright: dbkeeper.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a cluster back to a moment, and undoes that."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_pitr
short_description: Bring a cluster back to a moment in its past
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Proves that the target can be reached before anything is touched, restores beside the live data directory,
    replays there, verifies, and swaps the two by renaming. The old data directory is kept.
  - Check mode returns the plan and the decision card, and needs no O(confirm).
  - A run that was killed is finished by running the same again. A restore that has been done is not repeated.
  - Runs on the host by itself while the controller shows its progress, and goes on when the connection is
    lost.
extends_documentation_fragment:
  - dbkeeper.ops._attributes
  - dbkeeper.ops._attributes.action_group
  - dbkeeper.ops._cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(restored) brings the cluster to the target.
      - V(undone) puts back the data directory that the last restore has replaced.
    type: str
    default: restored
    choices: [restored, undone]
  confirm:
    description:
      - The name of the cluster once more. Without it nothing is touched. Not needed in check mode.
    type: str
  target_time:
    description:
      - The last moment to keep, with an offset or the name of a zone, such as C(2026-11-21 03:04:05
        Asia/Tokyo).
    type: str
  target_lsn:
    description: The position in the WAL to stop at.
    type: str
  target_xid:
    description: The last transaction to keep.
    type: str
  target_name:
    description: A restore point, as made by M(dbkeeper.ops.pg_restore_point).
    type: str
  target:
    description:
      - V(latest) is the end of the archive, V(immediate) is the end of the backup.
      - With V(latest) the cluster is stopped first and its last WAL is archived.
    type: str
    choices: [latest, immediate]
  inclusive:
    description: Whether what happened exactly at the target is kept.
    type: bool
    default: true
  timeline:
    description: The timeline to follow. If not set, it is found, and refused where more than one fits.
    type: int
  allow_idle_gap:
    description: Whether a time after the last archived commit may mean the end of the archive.
    type: bool
    default: false
  backup:
    description: Label of the backup to start from. If not set, it is the newest that fits.
    type: str
  tablespace_map:
    description: New directories for tablespaces, by the directories that they had in the backup.
    type: dict
    default: {}
  accept_unarchived:
    description: Whether V(latest), or a time in an idle gap, may go on although the live cluster, a backup or a
      timeline tells of WAL behind the end of the archive. What is in it is lost then.
    type: bool
    default: false
  accept_collation_change:
    description:
      - Whether to restore onto a host whose libraries order text otherwise than when the backup was taken.
      - The card then names the databases and indexes that need REINDEX.
    type: bool
    default: false
  accept_missing_libraries:
    description: Whether to restore onto a host that lacks libraries of extensions. What calls them fails
      until they are installed.
    type: bool
    default: false
  accept_other_system:
    description:
      - Whether another cluster that lies in the place (one that was just made on a new host) may be put aside.
        It is kept, not removed.
    type: bool
    default: false
  again:
    description: Whether a restore that has been done already is done once more.
    type: bool
    default: false
  accept_page_faults:
    description:
      - Whether a backup in which the server found damaged pages may be started from. What lies on those pages is
        lost. Without it such a backup is passed over, and refused where O(backup) names it.
    type: bool
    default: false
  verify_amcheck:
    description:
      - Whether every table and index of the restored copy is checked by C(pg_amcheck) before it takes the live
        cluster's place. What is found stops the restore, and nothing is swapped.
    type: bool
    default: false
  skip_backup:
    description: Whether the new base backup at the end is left out.
    type: bool
    default: false
  use_partial:
    description:
      - Whether unfinished segments, of which the archive holds only C(.partial), are taken in up to their last
        sound record. The plan says what they add.
    type: bool
    default: false
  wait_seconds:
    description: How long to wait for a restore that runs already, before this one looks whether it is still
      needed.
    type: int
    default: 86400
seealso:
  - module: dbkeeper.ops.pg_backup_info
  - module: dbkeeper.ops.pg_restore_point
"""

EXAMPLES = r"""
- name: Bring the cluster back to the minute before
  dbkeeper.ops.pg_pitr:
    cluster: main
    target_time: 2026-11-21 03:04:05 Asia/Tokyo
    confirm: main

- name: Put back what was there before
  dbkeeper.ops.pg_pitr:
    cluster: main
    state: undone
    confirm: main
"""

RETURN = r"""
plan:
  description: Every path, size, estimate and loss, decided before anything was touched.
  returned: success
  type: dict
  sample:
    backup: 20261121T031500Z-full
    data_directory: /var/lib/postgresql/15/main
executed:
  description: Whether the plan was executed. False in check mode.
  returned: success
  type: bool
  sample: true
resumes:
  description: Whether a restore that was interrupted is being finished.
  returned: when O(state=restored)
  type: bool
  sample: false
given_up:
  description: The timeline that was given up, which expires when its window is over. Empty where that is not certain.
  returned: when O(state=undone)
  type: dict
  sample: {timeline: 2, end_lsn: 0/5000028, resumed_timeline: 1, resumed_lsn: 0/6000028}
card:
  description: The decision card, the outcome or the failure, as lines for people.
  returned: when O(state=restored), and on failure
  type: list
  elements: str
  sample: ["Restore of cluster main"]
evidence:
  description: The file that says what was asked, planned and reached.
  returned: after a restore
  type: str
  sample: /var/lib/dbkeeper/repository/main/evidence/20261121T031500Z-4f2a.json
record:
  description: The content of RV(evidence).
  returned: after a restore
  type: dict
  sample:
    downtime_seconds: 0.4
    kept_directory: /var/lib/postgresql/15/main.before-20261121T031500Z
error:
  description: What went wrong, as data.
  returned: on failure
  type: dict
  sample:
    code: target-in-future
    attempted: prove that the target can be reached
    happened: the target is in the future
    remedy: Choose a moment that has passed.
    details: {}
    touched: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.cluster.config import ClusterConfig
from ..module_utils._engine.recovery.card import done_card, error_card, plan_card
from ..module_utils._engine.recovery.operation import restore, show_plan, undo
from ..module_utils._engine.recovery.request import RestoreRequest, target_from
from ..module_utils._module import (
    CLUSTER_OPTIONS,
    become_owner,
    load_config,
    serve,
)

ACCEPTS = ("collation_change", "missing_libraries", "other_system", "page_faults", "unarchived")
FLAGS = ("again", "skip_backup", "use_partial", "verify_amcheck", *(f"accept_{name}" for name in ACCEPTS))
PLAIN = ("backup", "tablespace_map", *FLAGS)
TARGETS = ("target_time", "target_lsn", "target_xid", "target_name", "target")


def request_from(params: dict[str, object]) -> RestoreRequest:
    target, asked = target_from(
        **{name.replace("target_", ""): params[name] for name in TARGETS[:-1]},
        latest=params["target"] == "latest",
        immediate=params["target"] == "immediate",
        **{name: params[name] for name in ("inclusive", "timeline", "allow_idle_gap")},
    )
    return RestoreRequest(target, asked, **{name: params[name] for name in PLAIN})


def restored(config: ClusterConfig, params: dict[str, object], check: bool) -> dict[str, object]:
    request = request_from(params)
    result = show_plan(config, request) if check else restore(config, request, confirm=params["confirm"])
    card = done_card if result["executed"] else plan_card
    diff = {"before": {}, "after": {}}
    if result["changed"]:
        plan = result["plan"]
        diff["before"] = {plan["data_directory"]: plan["live"]}
        diff["after"] = {
            plan["data_directory"]: {"backup": plan["backup"], "until": plan["proof"]["lsn"]},
            plan["kept_directory"]: plan["live"],
        }
    return {**result, "card": card(result, config.language), "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER_OPTIONS,
            "state": {"type": "str", "default": "restored", "choices": ["restored", "undone"]},
            "confirm": {"type": "str"},
            "target_time": {"type": "str"},
            "target_lsn": {"type": "str"},
            "target_xid": {"type": "str"},
            "target_name": {"type": "str"},
            "target": {"type": "str", "choices": ["latest", "immediate"]},
            "inclusive": {"type": "bool", "default": True},
            "timeline": {"type": "int"},
            "allow_idle_gap": {"type": "bool", "default": False},
            "backup": {"type": "str"},
            "tablespace_map": {"type": "dict", "default": {}},
            **{name: {"type": "bool", "default": False} for name in FLAGS},
            "wait_seconds": {"type": "int", "default": 86400},
        },
        mutually_exclusive=[TARGETS],
        required_if=[("state", "restored", TARGETS, True)],
        supports_check_mode=True,
    )

    def operation() -> dict[str, object]:
        config = load_config(module.params)
        become_owner(config)
        if module.params["state"] == "undone":
            return undo(config, confirm=module.params["confirm"], check=module.check_mode)
        return restored(config, module.params, module.check_mode)

    serve(
        module,
        operation,
        wait_seconds=0 if module.check_mode else module.params["wait_seconds"],
        explain=lambda error: {"card": error_card(error, module.params["cluster"])},
    )


if __name__ == "__main__":
    main()
