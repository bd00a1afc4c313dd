# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Follows the module pg_pitr on its host and shows its progress."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ..plugin_utils._follow import FollowedAction


class ActionModule(FollowedAction):
    """See the module's documentation."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The card of a plan or an outcome is shown as it is, whatever formats results; a failure carries its own."""
        result = super().run(tmp, task_vars)
        if not result.get("failed"):
            host = (task_vars or {}).get("inventory_hostname", "host")
            for line in result.get("card") or []:
                Display().display(f"{host} | {line}")
        return result
