# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""Write docs/faults.md and docs/faults.ja.md from the catalogue: python tools/fault_pages.py

Everything said of a fault comes from plugins/module_utils/_engine/core/faults; only the words around it stand
here. A unit test holds the pages against both.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = {"en": CHECKOUT / "docs/faults.md", "ja": CHECKOUT / "docs/faults.ja.md"}

STATUSES = ("stopped", "handled", "partly", "open")

TEXT: dict[str, tuple[str, str]] = {
    "head": (
        """# What can go wrong, and what happens then

Made by `python tools/fault_pages.py` from the catalogue in `plugins/module_utils/_engine/core/faults`; do not edit.

{count} known faults of backup and recovery. Most end in an error with a stable code, the same from the host command,
from the modules and in the evidence. Exit status 2 means that nothing was touched, 3 that something went wrong on the
way, and the message says what state was left (`archive-push` and `archive-get` answer as the server wants it). Look a
code up [below](#codes), then read the fault's row.

* **stopped** ({stopped}): an error, and nothing that is in use is harmed.
* **handled** ({handled}): the work is done all the same, or the wrong choice cannot be made. A code is that of what is
  left over.
* **partly** ({partly}): so, but for what stands under *not yet*.
* **open** ({open}): nothing is done about it yet.
""",
        """# 起こり得る障害と対処

`plugins/module_utils/_engine/core/faults` の一覧から `python tools/fault_pages.py` が生成します。
直接編集しないでください。

バックアップと復旧で知られている {count} 件の障害です。多くはエラーとなり、ホストのコマンド、モジュール、記録に共通の
固定コードを持ちます。終了ステータス 2 は何も変更していないこと、3 は途中で失敗したことを示し、残った状態はメッセージで
示します (`archive-push` と `archive-get` はサーバの求める値で応答します)。
[コード一覧](#codes)からコードを探し、該当する障害の行を参照してください。

* **停止** ({stopped} 件): エラーとなり、使用中のものは損なわれません。
* **対処済み** ({handled} 件): 作業は完了するか、誤った選択ができないようになっています。コードは残る場合のものです。
* **一部** ({partly} 件): 「未対応」に示す点を除き、同上です。
* **未対応** ({open} 件): まだ何も行いません。
""",
    ),
    "A": ("A. Target and catalog", "A. 復旧目標とカタログ"),
    "B": ("B. Archive and backups", "B. アーカイブとバックアップ"),
    "C": ("C. The host", "C. ホスト"),
    "D": ("D. On the way", "D. 復旧の途中"),
    "E": ("E. A repository on another host", "E. 別のホストのリポジトリ"),
    "F": ("F. Copies in other places", "F. 別の場所のコピー"),
    "columns": (
        "| id | fault | what dbkeeper does | what you do |",
        "| id | 障害 | dbkeeper の動作 | 利用者の対処 |",
    ),
    "stopped": ("stopped", "停止"),
    "handled": ("handled", "対処済み"),
    "partly": ("partly", "一部"),
    "open": ("open", "未対応"),
    "missing": ("*Not yet*: {words}", "*未対応*: {words}"),
    "what": ("**{title}**. {cause}", "**{title}**。{cause}"),
    "nothing": ("nothing", "なし"),
    "codes": ("Codes", "コード一覧"),
    "code columns": ("| code | faults |", "| コード | 障害 |"),
    "other codes": (
        "Codes that are not in this list are no faults of recovery; their message says what to do.",
        "この一覧にないコードは復旧の障害ではありません。対処はメッセージに示します。",
    ),
}


def catalogue() -> Any:
    """The catalogue's module, from the checkout."""
    path = str(CHECKOUT / "plugins/module_utils")
    if path not in sys.path:
        sys.path.insert(0, path)
    return importlib.import_module("_engine.core.faults.catalogue")


def page(language: str) -> str:
    """One page as text."""
    place = list(PAGES).index(language)

    def say(key: str, **about: Any) -> str:
        return TEXT[key][place].format(**about)

    faults = catalogue().FAULTS
    numbers = {status: sum(fault.status == status for fault in faults) for status in STATUSES}
    lines = [say("head", count=len(faults), **numbers)]
    for group in "ABCDEF":
        lines += [f"## {say(group)}", "", say("columns"), "|---|---|---|---|"]
        lines += [row(fault, place, say) for fault in faults if fault.id[0] == group]
        lines.append("")
    lines += ['<a id="codes"></a>', "", f"## {say('codes')}", "", say("other codes"), ""]
    lines += [say("code columns"), "|---|---|"]
    for code, named in catalogue().by_code().items():
        links = ", ".join(f"[{fault.id}](#{fault.id.lower()})" for fault in named)
        lines.append(f"| `{code}` | {links} |")
    return "\n".join(lines) + "\n"


def row(fault: Any, place: int, say: Any) -> str:
    """A fault as a row: what it is, what is done and what remains."""
    identity = f'<a id="{fault.id.lower()}"></a>{fault.id}'
    what = say("what", title=fault.title[place], cause=fault.cause[place])
    remedy = fault.remedy[place] if fault.remedy else say("nothing")
    return f"| {identity} | {what} | {'<br>'.join(done(fault, place, say))} | {remedy} |"


def done(fault: Any, place: int, say: Any) -> Iterator[str]:
    """The lines of what is done: status and codes, the answer, what is missing."""
    codes = ", ".join(f"`{code}`" for code in fault.codes)
    yield f"**{say(fault.status)}**" + (f": {codes}" if codes else "")
    if fault.answer:
        yield fault.answer[place]
    if fault.missing:
        yield say("missing", words=fault.missing[place])


def main() -> None:
    """Write both pages."""
    for language, path in PAGES.items():
        path.write_text(page(language), encoding="utf-8")
        print(path.relative_to(CHECKOUT))


if __name__ == "__main__":
    main()
