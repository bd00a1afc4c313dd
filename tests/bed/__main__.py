# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Entry point of ``python3 -m tests.bed``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
