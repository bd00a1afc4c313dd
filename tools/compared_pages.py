# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Write docs/recovery-faults-compared.md (.ja.md) from a report: python tools/compared_pages.py [REPORT]

``make test-matrix TESTS=tests/integration/test_compared.py`` makes the report, build/reports/matrix.json. Titles come
from the catalogue of faults; outcomes, versions and the date from the report, and nothing from anywhere else.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = {"en": "docs/recovery-faults-compared.md", "ja": "docs/recovery-faults-compared.ja.md"}
HEAD = {
    "en": """# Faults beside plain PostgreSQL

Made by `python tools/compared_pages.py`; do not edit. Measured {at}, PostgreSQL {versions}.

Each fault was done to two archives of the same WAL, and recovered twice: by PostgreSQL alone, the manual's way
(`pg_basebackup`, `cp` as archive and restore command, a target in the configuration), and by dbkeeper. Every row of
a ledger was compared with what had been committed before the target. *Exact* is every row and no other; **bold** is
what was lost, or came back unasked, while the server was promoted and nothing said so.

| | runs | exact | stopped, with a reason | less, and said so | **wrong, in silence** |
|---|---|---|---|---|---|
| PostgreSQL with `cp` | {runs} | {plain_exact} | {plain_stopped} | {plain_said} | **{plain_wrong}** |
| dbkeeper | {runs} | {ours_exact} | {ours_stopped} | {ours_said} | **{ours_wrong}** |

A stop of plain PostgreSQL comes after the backup was copied over the data directory and WAL was replayed; dbkeeper
*refuses* before anything is touched, and *stopped* leaves the running cluster as it was.

To make it anew: `make test-matrix TESTS=tests/integration/test_compared.py && python tools/compared_pages.py`.
What each fault is and what to do: [faults.md](faults.md). Not here: what has no plain counterpart (A16 to A18, B19).
""",
    "ja": """# 素の PostgreSQL との障害比較

`python tools/compared_pages.py` が生成します。直接編集しないでください。測定 {at}、PostgreSQL {versions}。

同じ WAL を持つ 2 つのアーカイブに各障害を起こし、それぞれ復旧しました。一方は PostgreSQL のみによるマニュアルどおりの
方法 (`pg_basebackup`、アーカイブとリストアのコマンドに `cp`、設定ファイルの復旧目標)、他方は dbkeeper です。
台帳の全行を、目標より前にコミットされた行と比較しました。「一致」は過不足がないことを、**太字** は何も告げずに昇格した
サーバで失われた行、または余分に戻った行を示します。

| | 試行 | 一致 | 理由を示して停止 | 不足を明示 | **黙って誤り** |
|---|---|---|---|---|---|
| PostgreSQL と `cp` | {runs} | {plain_exact} | {plain_stopped} | {plain_said} | **{plain_wrong}** |
| dbkeeper | {runs} | {ours_exact} | {ours_stopped} | {ours_said} | **{ours_wrong}** |

素の PostgreSQL の停止は、データディレクトリにバックアップを書き戻し WAL を適用した後に起こります。dbkeeper の「拒否」は
何も変更する前、「停止」は稼働中のクラスタに影響を与えずに行われます。

再生成: `make test-matrix TESTS=tests/integration/test_compared.py && python tools/compared_pages.py`。
各障害の説明と対処は [faults.ja.md](faults.ja.md) を参照してください。素の PostgreSQL に対応するものがない障害
(A16 から A18、B19) は含みません。
""",
}
COLUMNS = {
    "en": ("id", "fault", "PostgreSQL with `cp`", "dbkeeper"),
    "ja": ("id", "障害", "PostgreSQL と `cp`", "dbkeeper"),
}
VARIANTS = {
    "allowed": ("idle gap allowed", "アイドル区間を許可"),
    "half": ("half of it there", "半分のみ"),
}
#: The outcomes' words in the report, and their Japanese.
JAPANESE = (
    ("promotes: exact", "昇格: 一致"),
    ("done: exact", "完了: 一致"),
    ("done without the unfinished segment, which is named", "完了: 未完のセグメントは使わず、名前を示す"),
    ("promotes: ", "昇格: "),
    ("promotes; ", "昇格: "),
    (" rows too many", " 行が余分"),
    ("refused: ", "拒否: "),
    ("stopped: ", "停止: "),
    ("ends: ", "終了: "),
)


def main(arguments: list[str]) -> None:
    """Both pages."""
    report = json.loads((CHECKOUT / (arguments[0] if arguments else "build/reports/matrix.json")).read_text())
    cells = [cell for cell in report["cells"] if "fault" in cell and "plain_text" in cell]
    if not cells:
        sys.exit("the report holds no fault that was compared: run tests/integration/test_compared.py first")
    for number, language in enumerate(("en", "ja")):
        (CHECKOUT / PAGES[language]).write_text(page(report["at"], cells, language, number))


def page(at: str, cells: list[dict[str, Any]], language: str, number: int) -> str:
    """One page."""
    sys.path.insert(0, str(CHECKOUT / "plugins" / "module_utils"))
    titles = {
        fault.id: fault.title[number]
        for fault in importlib.import_module("_engine.core.faults.catalogue").FAULTS
    }
    counts = {
        f"{who}_{kind}": sum(cell[who] == kind for cell in cells)
        for who in ("plain", "ours")
        for kind in ("exact", "stopped", "said", "wrong")
    }
    majors = sorted({cell["major"] for cell in cells})
    head = HEAD[language].format(at=at, versions=", ".join(map(str, majors)), runs=len(cells), **counts)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        groups[cell["fault"], cell["variant"]].append(cell)
    lines = [_row(COLUMNS[language]), "|---|---|---|---|"]
    for (fault, variant), members in sorted(groups.items()):
        title = titles[fault] + (f" ({VARIANTS[variant][number]})" if variant else "")
        plain, ours = (_said(members, f"{who}_text", majors, number) for who in ("plain", "ours"))
        lines.append(_row((fault, title, plain, ours)))
    return head + "\n" + "\n".join(lines) + "\n"


def _said(members: list[dict[str, Any]], key: str, majors: list[int], number: int) -> str:
    """What was said, with the versions where they differ. Numbers of rows are those of the first version."""
    by_text: dict[str, list[int]] = defaultdict(list)
    shown: dict[str, str] = {}
    for cell in sorted(members, key=lambda cell: int(cell["major"])):
        # Where it was does not matter here, and differs.
        text = re.sub(r" at [0-9A-F]+/[0-9A-F]+", "", str(cell[key]))
        kind = "".join(sign for sign in text if not sign.isdigit())
        shown.setdefault(kind, text)
        by_text[kind].append(cell["major"])
    words = []
    for kind, versions in by_text.items():
        text = shown[kind].replace("|", "\\|")
        if number:
            text = re.sub(r"(\d+) of (\d+) rows lost", r"\2 行中 \1 行が失われる", text)
            for english, japanese in JAPANESE:
                text = text.replace(english, japanese)
        words.append(text if len(by_text) == 1 else f"{', '.join(map(str, versions))}: {text}")
    return "; ".join(words)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main(sys.argv[1:])
