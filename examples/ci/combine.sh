#!/bin/sh
# Writes one Markdown summary of several gates to stdout: combine.sh FOLDER NAME...
#
# FOLDER/NAME holds the report of each artifact, as a matrix of jobs uploads them. A name without a summary had no verdict,
# and is shown so; so is a report that lies in the repository, since no gate of this run wrote it. Ends with 0 if every verdict is a PASS, otherwise with 1; the gates' own exit codes are what releases.
set -eu

folder=$1
shift
if [ $# -eq 0 ]; then
  echo "Error: no names; give those of the reports that are expected in $folder" >&2
  exit 2
fi

# Control characters, line separators and marks of direction as blanks, in UTF-8.
plain() {
  printf '%s' "$1" | LC_ALL=C tr '\000-\037\177' ' ' | LC_ALL=C sed "$(printf 's/\302[\200-\237]/ /g; s/\342\200[\213-\217\250-\256]/ /g; s/\342\201[\240-\257]/ /g')"
}
# A name as given, for HTML and for a cell of Markdown: a branch or a file may be called anything.
html() {
  plain "$1" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/@/\&#64;/g'
}
cell() {
  html "$1" | sed 's/[][\`*_|~]/\\&/g'
}

# Whoever runs the checkout need not own it. Without git nobody could tell what is committed.
tracked() {
  git -c safe.directory='*' ls-files -- "$@"
}
if [ -e .git ] && ! tracked . >/dev/null; then
  echo "Error: git cannot list what this repository holds; install it, so that no committed report is taken for one of this run" >&2
  exit 2
fi
committed() {
  place=$(cd "$folder/$1" 2>/dev/null && pwd -P) && [ -n "$(tracked ":(literal)$place" 2>/dev/null)" ]
}
first_line() {
  committed "$1" || head -n 1 "$folder/$1/summary.md" 2>/dev/null || true
}

passed=0
for name in "$@"; do
  if first_line "$name" | grep -q '^## PASS: '; then
    passed=$((passed + 1))
  fi
done
printf '## edgeproof: %s of %s passed\n\n| artifact | verdict | why |\n|---|---|---|\n' "$passed" "$#"
for name in "$@"; do
  first=$(plain "$(first_line "$name")")
  case $first in
    '## '*': '*)
      verdict=${first#'## '}
      printf '| %s | **%s** | %s |\n' "$(cell "$name")" "${verdict%%: *}" "${verdict#*: }"
      ;;
    *)
      why='the log of its job says why'
      if committed "$name"; then
        why='its report is committed in the repository: remove it there, it is not of this run'
      fi
      printf '| %s | **no verdict** | %s |\n' "$(cell "$name")" "$why"
      ;;
  esac
done
for name in "$@"; do
  if ! committed "$name" && [ -s "$folder/$name/summary.md" ]; then
    printf '\n<details><summary>%s</summary>\n\n' "$(html "$name")"
    # One level down, so that the table stays the headline.
    sed 's/^## /### /' "$folder/$name/summary.md"
    printf '\n</details>\n'
  fi
done
[ "$passed" -eq $# ]
