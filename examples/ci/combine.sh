#!/bin/sh
# Writes one Markdown summary of several gates to stdout: combine.sh FOLDER NAME...
#
# FOLDER/NAME holds the report of each artifact, as a matrix of jobs uploads them. A name without a summary had no verdict,
# and is shown so. Ends with 0 if every verdict is a PASS, otherwise with 1; the gates' own exit codes are what releases.
set -eu

folder=$1
shift
if [ $# -eq 0 ]; then
  echo "Error: no names; give those of the reports that are expected in $folder" >&2
  exit 2
fi

# A name as given, for HTML and for a cell of Markdown: a branch or a file may be called anything.
html() {
  printf '%s' "$1" | tr '\n' ' ' | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/@/\&#64;/g'
}
cell() {
  html "$1" | sed 's/[][\`*_|~]/\\&/g'
}

passed=0
for name in "$@"; do
  if head -n 1 "$folder/$name/summary.md" 2>/dev/null | grep -q '^## PASS: '; then
    passed=$((passed + 1))
  fi
done
printf '## edgeproof: %s of %s passed\n\n| artifact | verdict | why |\n|---|---|---|\n' "$passed" "$#"
for name in "$@"; do
  first=$(head -n 1 "$folder/$name/summary.md" 2>/dev/null || true)
  case $first in
    '## '*': '*)
      verdict=${first#'## '}
      printf '| %s | **%s** | %s |\n' "$(cell "$name")" "${verdict%%: *}" "${verdict#*: }"
      ;;
    *) printf '| %s | **no verdict** | the log of its job says why |\n' "$(cell "$name")" ;;
  esac
done
for name in "$@"; do
  if [ -s "$folder/$name/summary.md" ]; then
    printf '\n<details><summary>%s</summary>\n\n' "$(html "$name")"
    # One level down, so that the table stays the headline.
    sed 's/^## /### /' "$folder/$name/summary.md"
    printf '\n</details>\n'
  fi
done
[ "$passed" -eq $# ]
