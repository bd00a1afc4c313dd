# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Entry of the zipapp and of ``python -m``."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
