# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The secret store, and verifiers against those that PostgreSQL itself computed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.dbkeeper.ops.plugins.module_utils._engine.core.errors import Refused
from ansible_collections.dbkeeper.ops.plugins.plugin_utils._secrets import Store, scram_verifier


def read(path: str) -> str:
    return Path(path).read_text()


def store(root: Path, *, keep: bool = True) -> Store:
    return Store(str(root / "secrets"), read, keep=keep)


def test_the_verifier_of_the_standard() -> None:
    # RFC 7677, 3: user "user", password "pencil"; StoredKey and ServerKey prove the exchange printed there.
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = scram_verifier("pencil", salt, 4096)
    stored, server = (base64.b64decode(part) for part in verifier.split("$")[2].split(":"))
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(stored, message, "sha256")
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_key = bytes(a ^ b for a, b in zip(proof, signature))
    assert hashlib.sha256(client_key).digest() == stored
    assert hmac.digest(server, message, "sha256") == base64.b64decode(
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )


def test_a_password_is_made_once(tmp_path: Path) -> None:
    first = store(tmp_path).password("db1/main/app")
    assert len(first) == 32
    assert first.isalnum()
    assert store(tmp_path).password("db1/main/app") == first
    assert store(tmp_path).password("db1/main/other") != first


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    store(tmp_path).password("db1/main/app")
    for path in [tmp_path / "secrets", *(tmp_path / "secrets").rglob("*")]:
        if path.name != ".gitignore":
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (tmp_path / "secrets/.gitignore").read_text() == "*\n"


def test_what_others_could_read_is_refused(tmp_path: Path) -> None:
    place = store(tmp_path)
    place.password("app")
    os.chmod(place.path("app"), 0o640)
    with pytest.raises(Refused) as refusal:
        place.password("app")
    assert refusal.value.code == "secret-exposed"
    assert f"chmod 0600 {place.path('app')}" in refusal.value.remedy


def test_check_mode_keeps_nothing(tmp_path: Path) -> None:
    place = store(tmp_path, keep=False)
    assert place.password("app") != place.password("app")
    assert place.verifier("app").startswith("SCRAM-SHA-256$4096:")
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_make_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda dummy: store(tmp_path).password("a/b/c"), range(64)))
    assert len(made) == 1
    assert sorted(path.name for path in (tmp_path / "secrets/a/b").iterdir()) == ["c"]


@pytest.mark.parametrize("name", ["", "/x", "a//b", "..", "a/../b", "a/."])
def test_names_do_not_leave_the_store(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        store(tmp_path).password(name)
    assert refusal.value.code == "secret-name-invalid"


def test_odd_names_are_escaped(tmp_path: Path) -> None:
    assert store(tmp_path).path("db1/my role!").endswith("/db1/my%20role%21")


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        store(tmp_path).password("app", 8)
    assert refusal.value.code == "secret-too-short"


def test_a_verifier_is_the_same_every_time(tmp_path: Path) -> None:
    first = store(tmp_path).verifier("db1/main/app", "pencil")
    assert store(tmp_path).verifier("db1/main/app", "pencil") == first
    assert store(tmp_path).verifier("db2/main/app", "pencil") != first
    assert store(tmp_path).verifier("db1/main/app", "pencils") != first
    assert store(tmp_path).verifier("db1/main/app", first) == first
    # What was given is not written down.
    assert not (tmp_path / "secrets/db1").exists()


def test_the_salt_does_not_follow_from_the_password(tmp_path: Path) -> None:
    place = store(tmp_path)
    salts = {place.verifier("app", password).split("$")[1] for password in ("one", "two", "three")}
    assert len(salts) == 1
    assert store(tmp_path / "elsewhere").verifier("app", "one").split("$")[1] not in salts
