# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""What the report says about statements and their regressions, in both languages."""

from __future__ import annotations

from .entry import Blind, Entry, Pair

_INDEXES = Pair(
    "See its plan (EXPLAIN), what it reads, and the findings on indexes of its tables.",
    "実行計画 (EXPLAIN) と読み込み量、対象テーブルのインデックスに関する指摘を確認してください。",
)

FINDINGS: dict[str, Entry] = {
    "QY01": Entry(
        Pair("One statement makes up much of the load", "1 つの SQL 文が負荷の多くを占めています"),
        Pair(
            "Statement {statement} of {user} in {database} takes {load_share} of the time of all statements.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "が、全 SQL 文の実行時間の {load_share} を占めています。",
        ),
        Pair(
            "What is saved here is saved everywhere; what gets worse here is felt everywhere.",
            "ここでの改善は全体の改善に、ここでの悪化は全体の悪化に直結します。",
        ),
        _INDEXES,
    ),
    "QY02_plan": Entry(
        Pair(
            "Slower than before: it reads more for the same rows",
            "以前より低速: 同じ行数に対して読み込みが増加",
        ),
        Pair(
            "Statement {statement} of {user} in {database} took {before_ms} and takes {now_ms}; it looks at "
            "{now_blocks_per_call} [now_blocks_per_call:block|blocks] a call, before "
            "{before_blocks_per_call}, for as many rows.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "の平均が {before_ms} から {now_ms} になりました。"
            "返す行数は変わらないまま、1 回あたりのブロック数が {before_blocks_per_call} から "
            "{now_blocks_per_call} に増えています。",
        ),
        Pair(
            "That is what another plan, a lost index or a bloated table looks like.",
            "実行計画の変化、インデックスの削除、テーブルの肥大化でよく見られる傾向です。",
        ),
        Pair(
            "Compare its plan with an earlier one; see when the tables were analysed last and what was changed since.",
            "実行計画を以前と比較し、テーブルの最終 ANALYZE 日時と、その後の変更を確認してください。",
        ),
    ),
    "QY02_growth": Entry(
        Pair("Slower than before: it returns more rows", "以前より低速: 返す行数が増加"),
        Pair(
            "Statement {statement} of {user} in {database} took {before_ms} and takes {now_ms}; it yields "
            "{now_rows_per_call} [now_rows_per_call:row|rows] a call, before {before_rows_per_call}.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "の平均が {before_ms} から {now_ms} になりました。"
            "1 回あたりの行数が {before_rows_per_call} から {now_rows_per_call} に増えています。",
        ),
        Pair(
            "The data grew, and the statement with it; it will go on growing.",
            "データ量とともに処理量が増えており、今後も増え続けます。",
        ),
        Pair(
            "Limit what it returns, page it, or archive old rows.",
            "取得件数の制限、ページ分割、古い行のアーカイブを検討してください。",
        ),
    ),
    "QY02_contention": Entry(
        Pair("Slower than before: it waits", "以前より低速: 待ち時間が増加"),
        Pair(
            "Statement {statement} of {user} in {database} took {before_ms} and takes {now_ms}, for as many rows "
            "and blocks; reading and writing took {before_io_ms} a call and takes {now_io_ms}.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "の平均が {before_ms} から {now_ms} になりました。"
            "行数とブロック数は変わりません。1 回あたりの I/O 時間は {before_io_ms} から {now_io_ms} です。",
        ),
        Pair(
            "It does the same work and waits longer: for locks, for processors or for storage.",
            "処理内容は同じで、ロック、CPU、ストレージのいずれかの待ちが長くなっています。",
        ),
        Pair(
            "See blocked sessions, the load of the host, and how busy its storage is.",
            "ブロックされたセッション、ホストの負荷、ストレージの使用状況を確認してください。",
        ),
    ),
    "QY03": Entry(
        Pair("Runs far more often than before", "実行回数が大幅に増加"),
        Pair(
            "Statement {statement} of {user} in {database} runs {now_calls_per_second}, before "
            "{before_calls_per_second}; it takes {load_share} of all time.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "の実行頻度が {before_calls_per_second} から "
            "{now_calls_per_second} に増え、全体の {load_share} を占めています。",
        ),
        Pair(
            "It is as fast as it was; there is more of it: more users, a loop, or a cache that is gone.",
            "1 回の速さは変わらず、回数が増えています。利用者の増加、ループ、キャッシュの喪失などが考えられます。",
        ),
        Pair(
            "See which application sends it, and whether it asks for the same thing again and again.",
            "送信元のアプリケーションと、同じ内容を繰り返し問い合わせていないかを確認してください。",
        ),
    ),
    "QY04": Entry(
        Pair("Spills to temporary files", "一時ファイルへの書き出し"),
        Pair(
            "Statement {statement} of {user} in {database} wrote {temp_bytes} of temporary files in {over_seconds}, "
            "{each_bytes} a call.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "が、{over_seconds}の間に一時ファイルへ {temp_bytes} を"
            "書き出しました (1 回あたり {each_bytes})。",
        ),
        Pair(
            "It sorts or hashes more than work_mem holds; that is slow, and the disk is everybody's.",
            "ソートやハッシュが work_mem に収まっていません。低速になり、ディスクを他の処理と奪い合います。",
        ),
        Pair(
            "Give its role or its transaction more work_mem, or an index in the order that it sorts by.",
            "ロールまたはトランザクション単位で work_mem を増やすか、ソート順に合うインデックスを検討してください。",
        ),
    ),
    "QY05": Entry(
        Pair("Its duration varies widely", "実行時間のばらつきが大きい"),
        Pair(
            "Statement {statement} of {user} in {database} takes {mean_ms} on average; its deviation is {variation} "
            "times that.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "の平均は {mean_ms}、標準偏差は平均の {variation} 倍です。",
        ),
        Pair(
            "Some calls are far slower: values that are not alike, locks, or a cold cache.",
            "一部の実行だけが極端に低速です。値の偏り、ロック待ち、キャッシュの状態などが考えられます。",
        ),
        Pair(
            "Log the slow ones with their parameters (log_min_duration_statement), and compare plans.",
            "低速な実行をパラメータ付きで記録し (log_min_duration_statement)、実行計画を比較してください。",
        ),
    ),
    "QY06": Entry(
        Pair("Planned longer than executed", "実行よりプラン作成に時間がかかっています"),
        Pair(
            "Statement {statement} of {user} in {database} spends {part_share} of its time being planned.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "は、時間の {part_share} をプラン作成に費やしています。",
        ),
        Pair(
            "The work is thrown away after each call.",
            "作成したプランは実行のたびに破棄されます。",
        ),
        Pair(
            "Use prepared statements; with many partitions see that they are pruned.",
            "プリペアド文を使用し、パーティションが多い場合は絞り込みが効いているか確認してください。",
        ),
    ),
    "QY07": Entry(
        Pair("Compiling costs more than it may save", "JIT コンパイルの負担が大きい"),
        Pair(
            "Statement {statement} of {user} in {database} spends {part_share} of its time compiling (JIT).",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "は、時間の {part_share} を JIT コンパイルに費やしています。",
        ),
        Pair(
            "Short statements are compiled because their estimated cost is too high.",
            "見積りコストが過大なため、短い文までコンパイルされています。",
        ),
        Pair(
            "Turn jit off for its role, or raise jit_above_cost; see that its estimates are right (ANALYZE).",
            "ロール単位で jit を無効にするか jit_above_cost を上げ、統計情報 (ANALYZE) を確認してください。",
        ),
    ),
    "QY08": Entry(
        Pair("Gets fewer parallel workers than planned", "並列ワーカーが計画より不足"),
        Pair(
            "Statement {statement} of {user} in {database} planned {wanted} [wanted:worker|workers] and got "
            "{got} ({got_share}).",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "は {wanted} ワーカーを計画し、{got} しか得られませんでした "
            "({got_share})。",
        ),
        Pair(
            "Its plan was chosen for workers that did not come.",
            "得られないワーカーを前提にした実行計画が選ばれています。",
        ),
        Pair(
            "Raise max_parallel_workers (and max_worker_processes), or let fewer statements ask for workers.",
            "max_parallel_workers (および max_worker_processes) を増やすか、並列実行する文を減らしてください。",
        ),
    ),
    "QY09": Entry(
        Pair("Waits for storage most of its time", "時間の大半がストレージ待ち"),
        Pair(
            "Statement {statement} of {user} in {database} spends {part_share} of its time reading and writing.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "は、時間の {part_share} を読み書きに費やしています。",
        ),
        Pair(
            "What it needs is not in memory.",
            "必要なデータがメモリーにありません。",
        ),
        _INDEXES,
    ),
    "QY10": Entry(
        Pair("Statements are evicted before they are read", "文の統計情報が追い出されています"),
        Pair(
            "pg_stat_statements threw out entries {evictions} [evictions:time|times] in {over_seconds}; it "
            "holds {entries_max}.",
            "{over_seconds}の間に pg_stat_statements のエントリーの追い出しが {evictions} 回発生しました "
            "(上限 {entries_max})。",
        ),
        Pair(
            "What is thrown out is missing in every figure of this report, and evicting locks everybody out.",
            "追い出された分はこのレポートに含まれません。また、追い出し中は全セッションが待たされます。",
        ),
        Pair(
            "Raise pg_stat_statements.max (needs a restart), or find who sends statements with ever new texts.",
            "pg_stat_statements.max を増やす (要再起動) か、毎回異なる文を送っている処理を特定してください。",
        ),
    ),
    "QY11": Entry(
        Pair("A part of the load is in no statement", "負荷の一部が統計情報に含まれていません"),
        Pair(
            "The statements account for {covered_share} of the time that sessions were active.",
            "文の統計情報は、セッションの稼働時間の {covered_share} しか説明できません。",
        ),
        Pair(
            "Long statements that still run, evicted ones and what is not tracked are missing.",
            "実行中の長い文、追い出された文、追跡対象外の処理が含まれていません。",
        ),
        Pair(
            "See pg_stat_activity for what runs long, and pg_stat_statements.track and .max.",
            "長時間実行中の処理 (pg_stat_activity) と、pg_stat_statements.track、.max を確認してください。",
        ),
    ),
    "QY12": Entry(
        Pair("A setting keeps figures from the report", "設定により取得できない数値があります"),
        Pair("{setting} is {is}.", "{setting} が {is} になっています。"),
        Pair(
            "What is not measured cannot be reported.",
            "計測されていない値は報告できません。",
        ),
        Pair(
            "Set it to {better}; for track_io_timing see first with pg_test_timing that the clock is cheap.",
            "{better} に設定してください。track_io_timing は、事前に pg_test_timing で時刻取得の負担を"
            "確認してください。",
        ),
    ),
    "QY13": Entry(
        Pair("Statements without a text", "テキストのない文"),
        Pair(
            "{count} of {entries} statements [count:has|have] no text.",
            "SQL 文 {entries} 個のうち {count} 個のテキストがありません。",
        ),
        Pair(
            "The file of texts was lost or grew too large; they are known by their number only.",
            "テキストのファイルが失われたか大きくなりすぎたため、番号でしか識別できません。",
        ),
        Pair(
            "See the server's log for pg_stat_statements; texts come back as entries are made anew.",
            "サーバログの pg_stat_statements に関する記録を確認してください。"
            "エントリーの再作成とともに復元されます。",
        ),
    ),
    "QY14": Entry(
        Pair("The extension is older than the server's", "拡張のバージョンが古いままです"),
        Pair(
            "pg_stat_statements in {database_name} is {version}, the server has {available}.",
            "{database_name} の pg_stat_statements は {version} ですが、サーバには {available} があります。",
        ),
        Pair(
            "Newer columns stay hidden until the extension is updated in the database.",
            "データベース内で拡張を更新するまで、新しい列は利用できません。",
        ),
        Pair(
            "Update it; views of your own that depend on it must be dropped and made again.",
            "拡張を更新してください。依存する独自のビューは、削除して再作成する必要があります。",
        ),
    ),
    "QY15": Entry(
        Pair("Its generic plan is another one now", "汎用プランが変わりました"),
        Pair(
            "Statement {statement} of {user} in {database} had a plan of shape {before}, and has {now}.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "の汎用プランの形が {before} から {now} に変わりました。",
        ),
        Pair(
            "Another plan is better or worse; nobody chose it.",
            "プランの変化は改善にも悪化にもなります。意図した変更とは限りません。",
        ),
        Pair(
            "Compare both in the facts of the runs; see statistics (ANALYZE) and indexes that came or went.",
            "各実行の結果で両方を比較し、統計情報 (ANALYZE) とインデックスの増減を確認してください。",
        ),
    ),
    "QY16": Entry(
        Pair("A new statement takes a share of the load", "新しい文が負荷の一部を占めています"),
        Pair(
            "Statement {statement} of {user} in {database} was not there at the run before; it takes {load_share} of "
            "all time.",
            "{database} の SQL 文 {statement} (実行ユーザー {user}) "
            "は前回の実行時にはなく、全体の {load_share} を占めています。",
        ),
        Pair(
            "Something was released, or somebody looks for something by hand.",
            "新しいリリース、または手作業の調査などが考えられます。",
        ),
        Pair("See who sends it, and its plan.", "送信元と実行計画を確認してください。"),
    ),
}

MISSING: dict[str, Pair] = {}

NOT_SEEN: dict[str, Blind] = {}
