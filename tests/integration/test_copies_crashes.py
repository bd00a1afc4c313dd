# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A copy that is cut off before any of its deeds: more than is listed may lie there, never less."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.cluster.config import ClusterConfig
from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.copies.operation import copy
from tests.integration.harness.cluster import Cluster
from tests.integration.harness.sandbox import Sandbox


class PowerCut(BaseException):
    """Nobody catches it but the test."""


def cut_at(config: ClusterConfig, number: int) -> bool:
    """Run until before the deed of that number; False when there were fewer."""
    left = number

    def watch(_deed: str) -> None:
        nonlocal left
        if left == 0:
            raise PowerCut
        left -= 1

    try:
        copy(config, watch=watch)
    except PowerCut:
        return True
    return False


def listed_is_whole(place: Path) -> int:
    """Every backup that a restore would see there has its files, by the digests of its entry; how many."""
    entries = list(place.glob("base/[!.]*/backup.json"))
    for directory in place.glob("base/[!.]*"):
        assert (directory / "backup.json").exists(), f"{directory} is seen and has no entry"
    for entry in entries:
        for file in json.loads(entry.read_text())["files"]:
            data = (entry.parent / file["name"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file["digest"]
    for sheet in place.glob("sheets/**/*.json"):
        value = json.loads(sheet.read_text())
        if value["state"] != "whole":
            continue
        for one in value["objects"].values():
            assert hashlib.sha256((place / one["name"]).read_bytes()).hexdigest() == one["digest"]
    return len(entries)


def test_cut_off_before_every_deed_of_sending_and_of_its_own_retention(
    cluster: Cluster, sandbox: Sandbox
) -> None:
    cluster.keeper("backup").expect(0)
    cluster.archive_all()
    place = sandbox.root / "disk"
    place.mkdir()
    cluster.write_config(copies={"disk": {"to": str(place)}})
    cluster.keeper("copy", "--prepare").expect(0)
    config = ClusterConfig.load(str(cluster.config_path))
    cuts = 0
    while cut_at(config, cuts):
        listed_is_whole(place / "main")
        cuts += 1
        shutil.rmtree(place / "main" / "base", ignore_errors=True)
        shutil.rmtree(place / "main" / "wal", ignore_errors=True)
        shutil.rmtree(place / "main" / "sheets", ignore_errors=True)
    assert cuts > 8
    assert listed_is_whole(place / "main") == 1
    # Once more, and not from the beginning each time: what an earlier run sent is found.
    shutil.rmtree(place / "main" / "base")
    shutil.rmtree(place / "main" / "sheets")
    rounds = 0
    while cut_at(config, 3) and rounds < 50:
        listed_is_whole(place / "main")
        rounds += 1
    assert rounds < 50 and listed_is_whole(place / "main") == 1
    cluster.keeper("backup", "--kind", "full").expect(0)
    cluster.archive_all()
    cluster.keeper("copy").expect(0)
    assert listed_is_whole(place / "main") == 2
    cluster.write_config(copies={"disk": {"to": str(place), "retention": {"full_count": 1}}})
    config = ClusterConfig.load(str(cluster.config_path))
    rounds = 0
    while cut_at(config, rounds % 7) and rounds < 60:
        assert listed_is_whole(place / "main") >= 1
        rounds += 1
    assert 3 < rounds < 60
    assert listed_is_whole(place / "main") == 1
    assert not list(place.glob("main/base/.*")), "nothing lingers"
    assert copy(config)["changed"] is False


def gnupg_keys(sandbox: Sandbox) -> tuple[str, Path]:
    """The files of a public and of a private key, made in a home that is gone again."""
    home = sandbox.root / "gpg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
    make = ["--passphrase", "", "--quick-generate-key", "keeper@example.org", "rsa3072", "encr", "never"]
    subprocess.run([*gpg, *make], check=True, capture_output=True)
    public, private = sandbox.root / "public.gpg", sandbox.root / "private.gpg"
    public.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    export = [*gpg, "--passphrase", "", "--export-secret-keys"]
    private.write_bytes(subprocess.run(export, check=True, capture_output=True).stdout)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    shutil.rmtree(home)
    return str(public), private


def age_keys(sandbox: Sandbox) -> tuple[str, Path]:
    """A public key, and the file of the private one."""
    path = sandbox.root / "private.txt"
    run = subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True, text=True)
    return run.stderr.split(":", 1)[1].strip(), path


@pytest.mark.parametrize("tool", ["gpg", pytest.param("age", marks=pytest.mark.matrix)])
def test_backups_and_dumps_with_the_public_key_here_and_the_private_one_for_the_moment(
    cluster: Cluster, sandbox: Sandbox, tool: str
) -> None:
    """The repository is lost; a base backup comes back byte by byte, and a dump is loaded, its rows proven."""
    cluster.sql("CREATE TABLE kept AS SELECT i, md5(i::text) AS word FROM generate_series(1, 3000) i")
    digest = "SELECT count(*) || md5(string_agg(word, '' ORDER BY i)) FROM kept"
    rows = cluster.value(digest)
    cluster.keeper("backup").expect(0)
    cluster.write_config(dumps=[{"label": "all", "database": "postgres"}])
    cluster.keeper("dump").expect(0)
    public, private = {"gpg": gnupg_keys, "age": age_keys}[tool](sandbox)
    place = sandbox.root / "disk"
    place.mkdir()
    sealing = {"tool": tool, "recipients": [public]}
    cluster.write_config(copies={"disk": {"to": str(place), "encryption": sealing}})
    cluster.keeper("copy", "--prepare").expect(0)
    cluster.keeper("copy").expect(0)
    ours = {
        path.relative_to(cluster.repository): path.read_bytes()
        for top in ("base", "dump", "wal")
        for path in (cluster.repository / "main" / top).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    stored = b"".join(path.read_bytes() for path in place.rglob(f"*.{tool}"))
    assert len(list(place.rglob(f"*.{tool}"))) >= len(ours)
    assert not list(place.rglob("*.zst")) and not any(data and data in stored for data in ours.values())
    shutil.rmtree(cluster.repository)
    argv = ("disk", "--back", str(cluster.repository), "--identity")
    cluster.keeper("copy", *argv, str(private)).expect(0)
    assert {path: (cluster.repository / path).read_bytes() for path in ours} == ours
    cluster.sql("DROP TABLE kept")
    cluster.keeper("load", "--database", "postgres", "--into", "back").expect(0)
    assert cluster.value(digest, database="back") == rows
