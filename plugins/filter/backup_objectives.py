# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The filter that turns objectives into settings."""

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_objectives
short_description: What follows from a recovery point and a recovery time objective
version_added: 0.1.0
author:
  - dbkeeper.ops contributors (@dbkeeper)
description:
  - Turns objectives such as C(15m) and C(30m) into the settings that meet them.
  - A value given by hand wins and is listed as pinned.
positional: rto, archive_timeout, interval
options:
  _input:
    description: Recovery point objective, a duration. At most this much work may be lost.
    type: str
    required: true
  rto:
    description: Recovery time objective, a duration. A restore may take this long.
    type: str
    required: true
  archive_timeout:
    description: Archive timeout given by hand. Empty means a third of the recovery point objective, an hour
      at most.
    type: str
    default: ""
  interval:
    description: Time between base backups given by hand. Empty means what the recovery time objective allows.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what follows from the objectives
  ansible.builtin.debug:
    msg: "{{ '15m' | dbkeeper.ops.backup_objectives('30m') }}"
"""

RETURN = r"""
_value:
  description: Objectives and settings. Durations are in seconds, C(hours) are those at which a base backup
    starts.
  type: dict
  sample:
    rpo_seconds: 900
    rto_seconds: 1800
    archive_timeout_seconds: 300
    interval_seconds: 86400
    hours: [2]
    pinned: []
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ..module_utils._engine.core.errors import KeeperError
from ..plugin_utils._objectives import backup_objectives


def _filter(rpo: str, rto: str, archive_timeout: str = "", interval: str = "") -> dict[str, Any]:
    try:
        return backup_objectives(str(rpo), str(rto), str(archive_timeout), str(interval))
    except KeeperError as error:
        raise AnsibleFilterError(f"{error.attempted}: {error.happened}. {error.remedy}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"backup_objectives": _filter}
