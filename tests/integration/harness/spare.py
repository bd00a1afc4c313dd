# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Another host, as far as one machine can be one: own directories, own port, own state, the same repository."""

from __future__ import annotations

import shutil
from typing import Any

from .cluster import Cluster
from .sandbox import Sandbox


def spare_for(origin: Cluster, sandbox: Sandbox, *, keep_data: bool = False, **options: Any) -> Cluster:
    """A host that has PostgreSQL and the repository of ``origin``, and has never seen its data.

    Its configuration is its own, outside the data directory (as on Debian). ``keep_data``: it has a cluster of its
    own, just made, in the place where the restored one is to be.
    """
    options.setdefault("external_config", True)
    spare = Cluster(
        sandbox, origin.name, root=sandbox.root / "spare", repository=origin.repository, **options
    )
    if not keep_data:
        shutil.rmtree(spare.data_directory)
    return spare
