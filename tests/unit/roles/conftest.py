# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Before anything is rendered: plugins of collections are found as in a playbook."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
