# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A report's document as the files that people and programs open. Controller only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .junit import junit
from .markdown import markdown
from .page import page


def files(document: Mapping[str, Any], *, follow: bool = True) -> dict[str, str]:
    """Every file by its name, in the document's language; the page has both (``follow``: see :func:`page`)."""
    language = str(document["language"])
    return {
        "report.html": page(document, follow=follow),
        "report.json": json.dumps(document, ensure_ascii=False, sort_keys=True, default=str) + "\n",
        "report.md": markdown(document, language),
        "report.junit.xml": junit(document, language),
    }
