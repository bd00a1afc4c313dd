# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Follows the module pg_restore on its host and shows its progress."""

from __future__ import annotations

from ..plugin_utils._follow import FollowedAction


class ActionModule(FollowedAction):
    """See the module's documentation."""

    asks_first = True
