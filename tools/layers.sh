#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
#
# layers.sh TARGET...: makes each target, all of them even when one fails; ends with a table of wall times,
# one line that counts, and a status that says whether everything passed. Logs are in build/logs. The column
# "again" counts tests that failed once and passed then (the log has the failure): each is a defect to be mended.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
mkdir -p build/logs
rows=() bad=() total=$SECONDS
passed=0 failed=0 skipped=0 again=0

# Sums what the closing lines of pytest say: "3 failed, 12 passed in 0.50s", with or without a frame.
count() {
    sed -E 's/\x1b\[[0-9;]*m//g' "$2" | grep -E '^=* ?[0-9]+ [a-z].* in [0-9.]+s' | grep -oE "[0-9]+ $1" |
        awk '{ sum += $1 } END { print sum + 0 }'
}

for target in "$@"; do
    log=build/logs/$target.log start=$SECONDS state=ok
    printf '\n===== %s\n' "$target"
    ${MAKE:-make} --no-print-directory "$target" 2>&1 | tee "$log"
    if [ "${PIPESTATUS[0]}" != 0 ]; then state=FAILED; bad+=("$target"); fi
    p=$(count passed "$log") f=$(($(count failed "$log") + $(count error "$log"))) s=$(count skipped "$log")
    r=$(count rerun "$log")
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s)) again=$((again + r))
    rows+=("$(printf '%-20s %-7s %7d s %8d %8d %8d %8d' "$target" "$state" $((SECONDS - start)) "$p" "$f" "$s" "$r")")
done

printf '\n%-20s %-7s %9s %8s %8s %8s %8s\n' layer state time passed failed skipped again
printf '%s\n' "${rows[@]}"
printf '%-20s %-7s %7d s\n' all "$([ ${#bad[@]} = 0 ] && echo ok || echo FAILED)" $((SECONDS - total))
verdict=
if [ ${#bad[@]} -gt 0 ]; then verdict=", layers that failed: ${bad[*]}"; fi
# A layer can fail without a failed test; the closing line must not look like success then.
if [ ${#bad[@]} -gt 0 ] && [ "$failed" = 0 ]; then failed=${#bad[@]}; fi
if [ "$again" -gt 0 ]; then verdict="$verdict, passed at the second try only: $again"; fi
printf '\n===== %d passed, %d failed, %d skipped in %ds%s =====\n' \
    "$passed" "$failed" "$skipped" $((SECONDS - total)) "$verdict"
[ ${#bad[@]} = 0 ]
