# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What killed trials have left is swept, whoever tries settings beside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.locks import owner_record
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.trial import sweep

PREFIX = "dbkeeper-trial-"


def test_a_trial_that_ends_while_it_is_looked_at_is_passed_by() -> None:
    """Its directory is listed and gone: a link to nothing holds that moment still."""
    left = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    with subprocess.Popen(["true"]) as dead:
        pass
    (left / "owner.json").write_text(json.dumps({**owner_record("a trial"), "pid": dead.pid}))
    gone = [Path(f"{place}/{PREFIX}{os.getpid()}-gone") for place in ("/tmp", "/var/tmp")]
    try:
        for link in gone:
            link.symlink_to("/nonexistent")
        sweep()
        assert not left.exists()
    finally:
        for link in gone:
            link.unlink()
        shutil.rmtree(left, ignore_errors=True)
