# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The description of a cluster: read whole, or refused with the key that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused

LEAST: dict[str, Any] = {
    "format": 1,
    "cluster": "main",
    "version": "15",
    "data_directory": "/var/lib/postgresql/15/main",
    "bin_directory": "/usr/lib/postgresql/15/bin",
    "socket_directory": "/var/run/postgresql",
    "service": {"manager": "systemd", "unit": "postgresql@15-main.service"},
}
WHOLE: dict[str, Any] = {
    **LEAST,
    "config_file": "/etc/postgresql/15/main/postgresql.conf",
    "port": 5433,
    "superuser": "postgres",
    "backup_user": "copier",
    "repository": "/srv/repository",
    "state_directory": "/srv/state",
    "objectives": {
        "rpo_seconds": 60,
        "rto_seconds": 120,
        "backup_age_seconds": 3600,
        "full_backup_age_seconds": 7200,
        "dump_age_seconds": 5400,
        "verification_age_seconds": 9000,
        "trial_age_seconds": 10000,
        "free_days": 3,
    },
    "notify": {"file": "/etc/dbkeeper/notify/main.json"},
    "metrics_file": "/srv/metrics/main.prom",
    "backup": {"compression_level": 3, "max_rate_kbytes": 1000},
    "command": "/opt/dbkeeper",
    "language": "ja",
}


def test_every_key_arrives() -> None:
    config = ClusterConfig.from_dict(WHOLE, source="a test")
    assert (config.cluster, config.major, config.port) == ("main", 15, 5433)
    assert config.config_file == "/etc/postgresql/15/main/postgresql.conf"
    assert (config.service.manager, config.service.unit) == ("systemd", "postgresql@15-main.service")
    assert config.objectives.to_dict() == WHOLE["objectives"]
    assert config.notify is not None and config.notify.file == "/etc/dbkeeper/notify/main.json"
    assert config.metrics_file == "/srv/metrics/main.prom"
    assert (config.backup.compression_level, config.backup.max_rate_kbytes) == (3, 1000)
    assert (config.repository, config.state_directory) == ("/srv/repository", "/srv/state")
    assert (config.command, config.language, config.backup_user) == ("/opt/dbkeeper", "ja", "copier")
    assert config.program("psql") == "/usr/lib/postgresql/15/bin/psql"


def test_what_may_be_left_out_has_the_documented_value() -> None:
    config = ClusterConfig.from_dict(LEAST, source="a test")
    assert config.repository == "/var/lib/dbkeeper/repository"
    assert config.state_directory == "/var/lib/dbkeeper/state/main"
    assert (config.objectives.rpo_seconds, config.objectives.rto_seconds) == (900, 1800)
    assert (config.objectives.backup_age_seconds, config.objectives.free_days) == (108000, 14)
    assert (config.notify, config.metrics_file, config.objectives.trial_age_seconds) == (None, None, None)
    assert (config.backup.compression_level, config.backup.max_rate_kbytes) == (1, None)
    assert (config.port, config.superuser, config.language, config.config_file) == (
        5432,
        "postgres",
        "en",
        None,
    )


def test_null_is_left_out() -> None:
    config = ClusterConfig.from_dict(
        {**LEAST, "config_file": None, "service": {"manager": "pg_ctl", "unit": None}}, source="a test"
    )
    assert config.config_file is None and config.service.unit is None


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"format": 2}, "config-malformed", "2"),
        ({"format": None}, "config-malformed", "None"),
        ({"repositry": "/srv"}, "config-malformed", "unknown: repositry"),
        ({"objectives": {"rpo": 1}}, "config-malformed", "unknown: objectives.rpo"),
        ({"cluster": "../etc"}, "config-malformed", "cluster"),
        ({"cluster": None}, "config-malformed", "cluster is missing"),
        ({"version": "13"}, "config-malformed", "version"),
        ({"version": 15}, "config-malformed", "version"),
        ({"version": "15.18"}, "config-malformed", "version"),
        ({"data_directory": "pg/data"}, "config-malformed", "an absolute path"),
        ({"data_directory": "/"}, "config-malformed", "an absolute path"),
        ({"data_directory": "/srv/.."}, "config-malformed", "an absolute path"),
        ({"port": "5432"}, "config-malformed", "port"),
        ({"port": 0}, "config-malformed", "port"),
        ({"port": 65536}, "config-malformed", "port"),
        ({"port": True}, "config-malformed", "port"),
        ({"service": {"manager": "upstart"}}, "config-malformed", "service.manager"),
        ({"service": {"manager": "systemd"}}, "config-malformed", "service.unit is missing"),
        ({"service": "systemd"}, "config-malformed", "service is not an object"),
        ({"service": None}, "config-malformed", "service is not an object"),
        ({"backup": {"compression_level": 20}}, "config-malformed", "1 to 19"),
        ({"backup": {"max_rate_kbytes": 31}}, "config-malformed", "32 to 1048576"),
        ({"language": "de"}, "config-malformed", "en, ja"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_key(change: dict[str, Any], code: str, word: str) -> None:
    with pytest.raises(Refused) as caught:
        ClusterConfig.from_dict({**LEAST, **change}, source="/etc/dbkeeper/main.json")
    assert caught.value.code == code
    assert word in caught.value.happened
    assert "/etc/dbkeeper/main.json" in caught.value.attempted


def test_a_missing_description_names_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "main.json").write_text(json.dumps(LEAST))
    assert ClusterConfig.load(str(tmp_path / "main.json")).cluster == "main"
    with pytest.raises(Refused) as caught:
        ClusterConfig.load(str(tmp_path / "mian.json"))
    assert caught.value.code == "config-missing"
    assert "This host has: main." in caught.value.remedy


def test_nonsense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.json").write_text('{"format": 1,')
    with pytest.raises(Refused) as caught:
        ClusterConfig.load(str(tmp_path / "main.json"))
    assert caught.value.code == "file-damaged"
    with pytest.raises(Refused) as caught:
        ClusterConfig.from_dict([1], source="a test")
    assert caught.value.code == "config-malformed"
