# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The S3 server, the mail catcher, and the month that the first host lives while the second one is tested."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.generations_hosts import Month, address
from tests.integration.harness.objectstore import ObjectStore
from tests.mail_catcher import MailCatcher


@pytest.fixture(scope="session")
def beginning() -> Iterator[Month]:
    """It has begun."""
    # Each request is a line otherwise, in the report of whatever fails.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    controller = ".".join([*address("database").split(".")[:3], "1"])
    place = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"vault-{os.getpid()}"
    vault, mail = ObjectStore(place, controller, 5443), MailCatcher(controller, 2525)
    try:
        yield Month(vault, mail)
    finally:
        mail.close()
        vault.close()


@pytest.fixture(scope="session")
def month(beginning: Month) -> Month:
    """It is over."""
    return beginning.lived()
