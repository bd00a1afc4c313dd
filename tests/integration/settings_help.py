# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Configuring throw-away clusters as the module does, in this process or in one that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.operation import (
    bring_into_effect,
    configure,
)
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.settings.request import (
    ConfigurationRequest,
    FileRequest,
)

from .harness.cluster import Cluster
from .harness.keeper import ENGINE_PARENT

HBA = "local all all trust\nlocal replication dbkeeper trust\nhost all all 127.0.0.1/32 scram-sha-256\n"

_KILLED = """
import json, os, signal, sys
sys.path.insert(0, {engine_parent!r})
from _engine.cluster.config import ClusterConfig
from _engine.core import journal
from _engine.settings import operation
from _engine.settings.request import ConfigurationRequest, FileRequest
wish = json.loads({wish!r})

def hook(step, status):
    if wish["kill_at"] == step + ":" + status:
        os.kill(os.getpid(), signal.SIGKILL)

journal.add_hook(hook)
files = tuple(FileRequest(**file) for file in wish["files"])
request = ConfigurationRequest(files=files, restart=wish["restart"], timeout_seconds=60)
act = getattr(operation, wish["operation"])
act(ClusterConfig.from_dict(wish["config"], source="the test"), request, check=False)
"""


@dataclass
class Configured:
    """A cluster whose postgresql.conf includes a directory of ours."""

    cluster: Cluster
    request: ConfigurationRequest = field(default_factory=lambda: ConfigurationRequest(timeout_seconds=60))

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        main = self.cluster.config_file or self.cluster.data_directory / "postgresql.conf"
        with open(main, "a") as handle:
            handle.write(f"include_dir '{self.directory}'\n")

    @property
    def directory(self) -> Path:
        return self.cluster.root / "conf.d"

    @property
    def settings(self) -> Path:
        return self.directory / "10-dbkeeper.conf"

    @property
    def hba(self) -> Path:
        home = self.cluster.config_file.parent if self.cluster.config_file else self.cluster.data_directory
        return home / "pg_hba.conf"

    @property
    def config(self) -> ClusterConfig:
        return ClusterConfig.from_dict(self.cluster.config, source="the test")

    def wish(
        self, settings: str | None = None, hba: str | None = None, **options: Any
    ) -> ConfigurationRequest:
        """Both files, or one of them."""
        files = []
        if settings is not None:
            files.append(FileRequest("settings", str(self.settings), settings))
        if hba is not None:
            files.append(FileRequest("hba", str(self.hba), hba))
        return replace(self.request, files=tuple(files), **options)

    def apply(
        self, settings: str | None = None, hba: str | None = None, *, check: bool = False, **options: Any
    ) -> dict[str, Any]:
        """As the task that configures."""
        return configure(self.config, self.wish(settings, hba, **options), check=check)

    def restart(self, policy: str = "allowed", *, check: bool = False, **options: Any) -> dict[str, Any]:
        """As the handler."""
        return bring_into_effect(self.config, self.wish(restart=policy, **options), check=check)

    def killed_at(
        self, step: str, settings: str | None = None, hba: str | None = None, operation: str = "configure"
    ) -> None:
        """The same in another process, which kills itself at a step of its journal."""
        process = self.start(settings, hba, kill_at=step, operation=operation)
        said, _nothing = process.communicate(timeout=240)
        assert process.returncode == -signal.SIGKILL, said

    def start(
        self, settings: str | None, hba: str | None, *, kill_at: str = "", operation: str = "configure"
    ) -> subprocess.Popen[str]:
        """The same in another process, which is not waited for."""
        wish = {
            "kill_at": kill_at,
            "operation": operation,
            "restart": "allowed",
            "config": self.cluster.config,
            "files": [vars(file) for file in self.wish(settings, hba).files],
        }
        code = _KILLED.format(engine_parent=str(ENGINE_PARENT), wish=json.dumps(wish))
        return subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", code],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )

    def tree(self) -> dict[str, str]:
        """All files of the configuration with their texts."""
        return {str(path): path.read_text() for path in [*sorted(self.directory.iterdir()), self.hba]}

    def show(self, name: str) -> str:
        return str(self.cluster.value(f"SELECT current_setting('{name}')"))

    def started_at(self) -> Any:
        return self.cluster.value("SELECT pg_postmaster_start_time()")
