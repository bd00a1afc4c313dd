# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The gate as JUnit: a test case per rule and cluster, so that a CI page shows what failed by its name.

What could not be seen is a skipped case: not a failure, and never silent. Controller only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

# What XML 1.0 cannot hold, however it is escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(document: Mapping[str, Any], language: str) -> str:
    """The document as JUnit's XML."""
    gate = document["gate"]
    suite = ElementTree.Element(
        "testsuite", {"name": "dbkeeper.ops.report", "timestamp": document["made_at"]}
    )
    findings = {
        (cluster["name"], finding["id"]): finding
        for cluster in document["clusters"]
        for finding in cluster["findings"]
    }
    for cluster in document["clusters"]:
        for rule in gate["fail_on"]:
            case = _case(suite, cluster["name"], rule)
            failed = [
                one for one in gate["failures"] if one["rule"] == rule and one["cluster"] == cluster["name"]
            ]
            if failed:
                lines = [_line(one, findings.get((one["cluster"], one["id"])), language) for one in failed]
                failure = ElementTree.SubElement(
                    case, "failure", {"message": _clean(lines[0].splitlines()[0])}
                )
                failure.text = _clean("\n\n".join(lines))
    for gap in document["not_seen"]:
        texts = gap["texts"][language]
        case = _case(suite, f"{gap['cluster']}.{gap['node']}", f"{gap['report'] or 'host'}: {texts['what']}")
        ElementTree.SubElement(
            case, "skipped", {"message": _clean(f"{texts['why']} {texts['remedy']}".strip())}
        )
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("errors", "0")
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, place: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", {"classname": _clean(place), "name": _clean(name)})


def _line(failed: Mapping[str, Any], finding: Mapping[str, Any] | None, language: str) -> str:
    if finding is None:
        return f"{failed['node']}: {failed['rule']}"
    text = finding["texts"][language]
    where = f"{failed['node']} · {finding['database']}" if finding["database"] else str(failed["node"])
    return f"{text['title']} ({finding['id']}, {where})\n{text['what']}\n{text['remedy']}"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
