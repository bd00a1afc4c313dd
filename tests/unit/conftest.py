# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Before anything of the collection is imported: Ansible finds it as in a playbook, so that roles can be rendered."""

from __future__ import annotations

from ansible.plugins.loader import init_plugin_loader
from hypothesis import HealthCheck, settings

init_plugin_loader()
# How long an example takes says something of the machine, not of the code.
settings.register_profile(
    "dbkeeper", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("dbkeeper")
