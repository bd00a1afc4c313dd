# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Before anything of the collection is imported: Ansible finds it as in a playbook, so that roles can be rendered."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader()
