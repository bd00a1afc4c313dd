# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that turns schedules into files for cron or systemd."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_schedules
short_description: Schedules of a cluster as files for cron or systemd
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Takes the jobs that a cluster has by default, changes them as is wanted, and gives the files that have them run.
  - A time without minutes gets those of a stable hash of host, cluster and job.
positional: facts, where, scheduler
options:
  _input:
    description:
      - Name of a job to its time, or to a mapping with V(at), V(options) (a list, for the command) and V(nice).
      - Jobs are V(backup), V(dump), V(copy), V(check), V(verify), V(verify-thorough), V(trial), V(notify), V(summary).
      - Times are C(hourly), C(daily 02), C(daily 02:30), C(sunday 04), C(every 15m), C(every 6h), C(off), or the
        scheduler's own words.
    type: dict
    required: true
  facts:
    description: What the defaults follow from.
    type: dict
    required: true
  where:
    description: The host and the cluster.
    type: dict
    required: true
  scheduler:
    description: What starts the jobs.
    type: str
    choices: [cron, systemd, none]
    required: true
"""

EXAMPLES = r"""
- name: Show the cron table
  ansible.builtin.debug:
    msg: "{{ {'backup': 'daily 03'} | dbkeeper.ops.backup_schedules(facts, where, 'cron') }}"
  vars:
    facts: {hours: [2], interval_seconds: 86400, rpo_seconds: 900}
    where:
      cluster: main
      owner: postgres
      command: /usr/local/bin/dbkeeper
      state: /var/lib/dbkeeper/state/main
      seed: db1
"""

RETURN = r"""
_value:
  description: What is to be on the host.
  type: dict
  contains:
    files:
      description: Path and content of each.
      type: list
      elements: dict
    unit:
      description: Name of the target, with systemd.
      type: str
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils._schedules import Where, files_of, jobs_of, target_name


def _filter(
    schedules: Mapping[str, Any], facts: Mapping[str, Any], where: Mapping[str, Any], scheduler: str
) -> dict[str, Any]:
    try:
        place = Where(**where)
        files = files_of(scheduler, jobs_of(schedules, facts), place)
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error
    return {"files": files, "unit": target_name(place)}


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"backup_schedules": _filter}
