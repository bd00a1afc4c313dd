# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""The document as Markdown for a merge request: what matters first, the SQL folded below it. Controller only.

Names and statements are text: nothing in them becomes markup, a table's cell or the end of a block of code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils._engine.report.words.say import bytes_text, term
from .labels import catalogue

#: A merge request is no archive: the worst of them, and the page for the rest.
SHOWN = 50
_SIGNS = {"critical": "🔴", "high": "🟠", "medium": "🟡", "low": "🔵", "info": "⚪"}
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_SAFE = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(document: Mapping[str, Any], language: str) -> str:
    """The document in one language."""
    words = catalogue(language)
    lines = [f"# {plain(document['title'] or words['report'])}", ""]
    lines += [_headline(document, words), "", _gate(document, words), ""]
    open_findings = [
        (cluster, finding)
        for cluster in document["clusters"]
        for finding in cluster["findings"]
        if finding["state"] != "accepted"
    ]
    order = list(_SIGNS)
    open_findings.sort(key=lambda pair: order.index(pair[1]["severity"]))
    lines += [f"## {words['findings']}", ""]
    if open_findings:
        lines += _table(open_findings[:SHOWN], words, language)
        if len(open_findings) > SHOWN:
            shown = words["shown"].format(shown=SHOWN, total=len(open_findings))
            lines += ["", f"{shown} (report.html)"]
        lines += _details(open_findings[:SHOWN], words, language)
    else:
        lines.append(words["all_well"])
    lines += _accepted(document, words, language)
    lines += ["", f"## {words['not_seen']}", ""]
    lines += _not_seen(document["not_seen"], words, language)
    return "\n".join(lines) + "\n"


def plain(text: Any) -> str:
    """Text that is read as it is written: on one line, without a meaning for Markdown or HTML."""
    one_line = " ".join(str(text).split())
    escaped = "".join(_SAFE.get(letter, letter) for letter in one_line)
    return _SPECIAL.sub(r"\\\1", escaped)


def fenced(lines: Iterable[str]) -> list[str]:
    """SQL as a block of code that nothing in it can end."""
    text = "\n".join(lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sql", text, fence]


def _headline(document: Mapping[str, Any], words: Mapping[str, str]) -> str:
    summary = document["summary"]
    counts = " · ".join(
        f"{_SIGNS[name]} {words['term_' + name]} {count}"
        for name, count in summary["by_severity"].items()
        if count
    )
    parts = [
        f"**{words['count_open'].format(count=summary['findings'])}**" + (f" ({counts})" if counts else ""),
        words["count_new"].format(count=summary["new"]),
        words["count_seen"].format(part=summary["nodes_seen"], whole=summary["nodes"]),
    ]
    if summary["reclaimable_bytes"]:
        parts.append(words["count_freed"].format(bytes=bytes_text(summary["reclaimable_bytes"])))
    made = words["made"].format(when=_minute(str(document["made_at"])))
    return " · ".join(parts) + f"\n\n{made}"


def _minute(moment: str) -> str:
    """A time as people read it; what is no time stays as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):[\d.]+Z", moment)
    return f"{found[1]} {found[2]} UTC" if found else moment


def _gate(document: Mapping[str, Any], words: Mapping[str, str]) -> str:
    gate = document["gate"]
    if not gate["fail_on"]:
        return words["gate_none"]
    rules = ", ".join(f"`{rule}`" for rule in gate["fail_on"])
    if gate["passed"]:
        return "✅ " + words["gate_passed"].format(rules=rules)
    lines = ["❌ " + words["gate_failed"].format(count=len(gate["failures"])), ""]
    lines += [
        f"| {words['rule']} | {words['finding']} | {words['cluster']} | {words['node']} |",
        "|---|---|---|---|",
    ]
    for failed in gate["failures"][:SHOWN]:
        named = f"`{failed['id']}`" if failed["id"] else "–"
        where = f"{plain(failed['cluster'] or '–')} | {plain(failed['node'] or '–')}"
        lines.append(f"| `{failed['rule']}` | {named} | {where} |")
    return "\n".join(lines)


def _table(
    findings: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], words: Mapping[str, str], language: str
) -> list[str]:
    heads = ("severity", "finding", "object", "nodes", "grade", "impact", "state")
    lines = ["| " + " | ".join(words[head] for head in heads) + " |", "|---" * len(heads) + "|"]
    for cluster, finding in findings:
        where = finding["nodes"] or [cluster["name"]]
        cells = (
            f"{_SIGNS[finding['severity']]} {words['term_' + finding['severity']]}",
            f"{plain(finding['texts'][language]['title'])} `{finding['id']}`",
            plain(called(finding)),
            plain(", ".join(where)),
            words["term_" + finding["grade"]],
            plain(_impact(finding, words)),
            term(finding["state"], language),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _accepted(document: Mapping[str, Any], words: Mapping[str, str], language: str) -> list[str]:
    """What somebody answers for: not open, and yet not out of sight."""
    lines = []
    for cluster in document["clusters"]:
        for finding in cluster["findings"]:
            risk = finding.get("accepted")
            if finding["state"] != "accepted" or not risk:
                continue
            kind = "accepted_by" if risk.get("until") else "accepted_forever"
            said = words[kind].format(**{key: risk.get(key) or "–" for key in ("owner", "until", "reason")})
            name = f"{finding['texts'][language]['title']} – {called(finding)} ({cluster['name']})"
            lines.append(f"- {plain(name)} `{finding['id']}`: {plain(said)}")
    if len(lines) > SHOWN:
        lines[SHOWN:] = ["", words["shown"].format(shown=SHOWN, total=len(lines)) + " (report.html)"]
    return ["", f"## {words['accepted_ones']}", "", *lines] if lines else []


def called(finding: Mapping[str, Any]) -> str:
    """The object of a finding by its names."""
    thing = finding.get("object") or {}
    named = [str(thing[key]) for key in ("schema", "name") if thing.get(key)]
    database = [str(finding["database"])] if finding.get("database") else []
    return " / ".join([*database, ".".join(named)] if named else database) or "–"


def _impact(finding: Mapping[str, Any], words: Mapping[str, str]) -> str:
    impact = finding.get("impact") or {}
    parts = []
    if impact.get("load_share"):
        parts.append(words["load_part"].format(share=f"{100 * impact['load_share']:.3g} %"))
    if impact.get("bytes"):
        parts.append(bytes_text(impact["bytes"]))
    if impact.get("writes_per_second"):
        parts.append(words["writes_saved"].format(figure=f"{impact['writes_per_second']:.3g}"))
    return ", ".join(parts) or "–"


def _details(
    findings: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], words: Mapping[str, str], language: str
) -> list[str]:
    lines: list[str] = []
    for cluster, finding in findings:
        text = finding["texts"][language]
        head = f"{text['title']} – {called(finding)} ({cluster['name']})"
        lines += ["", f"<details><summary>{_html(head)}</summary>", ""]
        for part, label in (("what", "seen"), ("why", "why"), ("remedy", "remedy")):
            if text.get(part):
                lines += [f"**{words[label]}**: {plain(text[part])}", ""]
        if text.get("missing"):
            gaps = [f"- {plain(gap)}" for gap in text["missing"].split("\n")]
            lines += [f"**{words['missing']}**:", "", *gaps, ""]
        for key in ("action", "undo"):
            if finding[key]:
                lines += [f"**{words[key]}**", "", *fenced(finding[key]), ""]
        lines.append("</details>")
    return lines


def _not_seen(gaps: list[Mapping[str, Any]], words: Mapping[str, str], language: str) -> list[str]:
    if not gaps:
        return [words["everything_seen"]]
    heads = ("cluster", "node", "what", "reason", "remedy")
    lines = ["| " + " | ".join(words[head] for head in heads) + " |", "|---" * len(heads) + "|"]
    for gap in gaps[:SHOWN]:
        text = gap["texts"][language]
        cells = (gap["cluster"], gap["node"], text["what"], text["why"], text["remedy"])
        lines.append("| " + " | ".join(plain(cell) for cell in cells) + " |")
    if len(gaps) > SHOWN:
        lines += ["", words["shown"].format(shown=SHOWN, total=len(gaps)) + " (report.html)"]
    return lines


def _html(text: str) -> str:
    return "".join(_SAFE.get(letter, letter) for letter in " ".join(text.split()))
