# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What an image is called and where its packages come from."""

from __future__ import annotations

import dataclasses

import pytest

from tests.bed import image
from tests.bed.machine import Mirror
from tests.bed.process import BedError

MIRROR = Mirror("http://mirror.example/debian/", "http://mirror.example/debian-security/", "")


def test_stable_releases_have_updates_and_security() -> None:
    assert image.sources(image.release("bookworm"), MIRROR).splitlines() == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
        "deb http://mirror.example/debian-security/ bookworm-security main",
    ]


def test_testing_has_neither() -> None:
    assert image.sources(image.release("forky"), MIRROR) == "deb http://mirror.example/debian/ forky main\n"


def test_the_key_changes_with_mirror_release_and_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    bookworm, trixie = image.release("bookworm"), image.release("trixie")
    keys = [image.key(bookworm, MIRROR), image.key(trixie, MIRROR)]
    keys.append(image.key(bookworm, dataclasses.replace(MIRROR, archive="http://other.example/debian/")))
    monkeypatch.setattr(image, "CACHED", [*image.CACHED, "barman"])
    keys.append(image.key(bookworm, MIRROR))
    assert len(set(keys)) == 4
    assert keys[-1] == image.key(bookworm, MIRROR)


def test_an_unknown_release_is_refused_by_name() -> None:
    with pytest.raises(BedError, match="'sarge'.*bookworm"):
        image.release("sarge")
