#!/usr/bin/env bash
# usage: verify.sh REPORT MODEL [POLICY]
# Leaves checklist.md and junit.xml, and exits as `privaudit verify` does.
set -euo pipefail
ruling=(verify "$1" --model "$2" ${3:+--policy "$3"})

code=0
privaudit "${ruling[@]}" || code=$?
case "$code" in 0 | 1 | 3) ;; *) exit "$code" ;; esac # no ruling to show

for view in checklist:checklist.md junit:junit.xml; do
  file="${view#*:}"
  privaudit "${ruling[@]}" --format "${view%%:*}" >"$file" || test -s "$file"
done
exit "$code"
