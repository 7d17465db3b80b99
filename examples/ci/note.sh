#!/bin/sh
# Puts a Markdown file into the one note of edgeproof on a GitLab merge request: note.sh FILE
#
# With "running" for FILE it says that the gate runs, so that no verdict of an earlier commit stands meanwhile. A note of a
# later pipeline is left as it is.
#
# It needs curl and python3, the variables of a merge-request pipeline (CI_API_V4_URL, CI_MERGE_REQUEST_PROJECT_ID,
# CI_MERGE_REQUEST_IID, CI_COMMIT_SHA, CI_PIPELINE_ID, CI_PIPELINE_URL) and EDGEPROOF_GITLAB_TOKEN: a project access token with the scope `api` and the role Reporter, as a
# masked variable that is not protected, since branches of merge requests are not. GitLab does not let CI_JOB_TOKEN write
# notes. A fork's pipeline has no such variable: then the job says so and ends with 0. Where there is one and the note cannot
# be written, an earlier one may stand: then it ends with 5. The note informs; the gate's exit code decides.
set -eu

file=$1
number=${CI_MERGE_REQUEST_IID:-}
mark='<!-- edgeproof -->'
limit=900000 # GitLab takes 1,000,000 characters

case $number in
  '' | *[!0-9]*)
    echo "Error: CI_MERGE_REQUEST_IID ($number) is not the number of a merge request; run it in a merge-request pipeline" >&2
    exit 2
    ;;
esac
case $CI_PIPELINE_ID in
  '' | *[!0-9]*)
    echo "Error: CI_PIPELINE_ID ($CI_PIPELINE_ID) is not the number of a pipeline" >&2
    exit 2
    ;;
esac
[ "$file" = running ] || [ -s "$file" ] || {
  echo "Error: $file is empty or missing" >&2
  exit 3
}

if [ -z "${EDGEPROOF_GITLAB_TOKEN:-}" ]; then
  echo 'No note on the merge request (EDGEPROOF_GITLAB_TOKEN is not set here). The log of the gate has the result.'
  exit 0
fi

degrade() {
  printf 'WARNING: no note on the merge request (%s). A note that stands there is of an earlier run, not of commit %s: go by the log of the gate.\n' \
    "$1" "$CI_COMMIT_SHA" >&2
  exit 5
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(
  printf '%s\n<!-- pipeline %s -->\nCommit %s, [pipeline %s](%s)\n\n' "$mark" "$CI_PIPELINE_ID" "$CI_COMMIT_SHA" \
    "$CI_PIPELINE_ID" "$CI_PIPELINE_URL"
  if [ "$file" = running ]; then
    echo '## edgeproof: no verdict yet'
    exit # the subshell
  fi
  # Whole lines, so that no character is cut.
  LC_ALL=C awk -v limit="$limit" '{ sum += length($0) + 1; if (sum > limit) { print ""; print "Cut here; the rest is in the reports."; exit } print }' "$file"
) >"$folder/body"

# The token goes through a pipe: a process's arguments can be seen by others.
ask() {
  printf 'header = "PRIVATE-TOKEN: %s"\n' "$EDGEPROOF_GITLAB_TOKEN" |
    curl --config - --silent --show-error --fail --max-time 60 "$@"
}

# Only a note of the token's own account: anybody can write the mark.
read_notes='
import json, re, sys
notes, (own, mark) = json.load(sys.stdin), sys.argv[1:]
found = [n for n in notes if str(n["author"]["id"]) == own and n["body"].startswith(mark)]
later = [re.match(mark + r"\s+<!-- pipeline (\d+) -->", n["body"]) for n in found]
print(len(notes), *((found[0]["id"], later[0][1] if later[0] else 0) if found else ()))
'

ask "$CI_API_V4_URL/user" >"$folder/user" || degrade 'the token is not accepted'
own=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])' <"$folder/user") || degrade 'the token has no account'
notes="$CI_API_V4_URL/projects/$CI_MERGE_REQUEST_PROJECT_ID/merge_requests/$number/notes"
id=
page=1
while [ -z "$id" ]; do
  ask "$notes?sort=asc&order_by=created_at&per_page=100&page=$page" >"$folder/notes" || degrade 'its notes cannot be read'
  found=$(python3 -c "$read_notes" "$own" "$mark" <"$folder/notes") || degrade 'its notes cannot be read'
  case $found in
    *' '*)
      id=${found#* }
      if [ "${id#* }" -gt "$CI_PIPELINE_ID" ]; then
        echo "The note on the merge request is of the later pipeline ${id#* }; it stays."
        exit 0
      fi
      id=${id% *}
      ;;
    100) page=$((page + 1)) ;;
    *) break ;;
  esac
done
if [ -n "$id" ]; then
  ask --output /dev/null --request PUT --data-urlencode "body@$folder/body" "$notes/$id" || degrade 'its note cannot be changed from here'
else
  ask --output /dev/null --request POST --data-urlencode "body@$folder/body" "$notes" || degrade 'it cannot be written from here'
fi
