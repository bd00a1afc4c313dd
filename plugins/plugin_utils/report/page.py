# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The page: one HTML file that asks nobody for anything.

The document is embedded as compressed JSON, in letters that cannot end its element: a browser takes longer to read
megabytes of a page than to unpack them. It is drawn by a script that sets texts and never markup. A content security
policy with the digests of that script and that style sheet holds a reader's browser to it. Controller only.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .areas import AREAS
from .drawn import drawn
from .labels import LABELS, catalogue
from .texts import LANGUAGES

_WEB = Path(__file__).parent / "web"
#: In the order in which they need each other.
_SCRIPTS = ("base", "figures", "scope", "charts", "finding", "findings", "sections", "start")


def page(document: Mapping[str, Any], *, follow: bool = True) -> str:
    """The document as HTML. With ``follow`` it opens in the language of the reader's browser, else in its own."""
    language = str(document["language"])
    place = 1 if language == "ja" else 0
    style = (_WEB / "page.css").read_text(encoding="utf-8")
    script = "\n".join((_WEB / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    script = f'"use strict";\n(async () => {{\n{script}\n}})();\n'
    data = {
        "document": drawn(document),
        "labels": {name: catalogue(name) for name in LANGUAGES},
        "areas": list(AREAS),
    }
    values = {
        "language": language,
        "follow": "yes" if follow else "no",
        "policy": "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_digest(style)}; script-src {_digest(script)}",
        "title": html.escape(str(document["title"]) or LABELS["report"][place]),
        "noscript": html.escape(LABELS["noscript"][place]),
        "style": style,
        "data": packed(data),
        "script": script,
    }
    text = (_WEB / "page.html").read_text(encoding="utf-8")
    parts = text.split("%%")
    return "".join(values[part] if number % 2 else part for number, part in enumerate(parts))


def packed(value: Any) -> str:
    """JSON, deflated, in the letters of base64: nothing in it is markup, whatever it says."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    # A text may hold half a surrogate pair, which UTF-8 cannot.
    return base64.b64encode(zlib.compress(text.encode("utf-8", "replace"), 6)).decode("ascii")


def unpacked(text: str) -> Any:
    """Back from :func:`packed`."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"
