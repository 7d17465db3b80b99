#!/bin/sh
# Puts a Markdown file into the one comment of edgeproof on a pull request: comment.sh FILE NUMBER COMMIT
#
# With "running" for FILE it says that the gate runs, so that no verdict of an earlier commit stands meanwhile. It needs
# GitHub's own command line (gh), the variables of a run (GITHUB_REPOSITORY, GITHUB_SERVER_URL, GITHUB_RUN_ID), and GH_TOKEN
# with the right `pull-requests: write`. A workflow of a fork has no such right: then the step says so and ends with 0. Where
# the comment of an earlier run stands and cannot be changed, it ends with 5. The comment informs; the gate's exit code decides.
set -eu

file=$1
number=$2
commit=$3
mark='<!-- edgeproof -->'
limit=60000 # GitHub takes 65,536 characters

case $number in
  '' | *[!0-9]*)
    echo "Error: $number is not the number of a pull request" >&2
    exit 2
    ;;
esac
case $commit in
  '' | *[!0-9a-f]*)
    echo "Error: $commit is not the digest of a commit" >&2
    exit 2
    ;;
esac
[ "$file" = running ] || [ -s "$file" ] || {
  echo "Error: $file is empty or missing" >&2
  exit 3
}

body=$(mktemp)
trap 'rm -f "$body"' EXIT
(
  printf '%s\nCommit %s, [run %s](%s/%s/actions/runs/%s)\n\n' "$mark" "$commit" "$GITHUB_RUN_ID" \
    "$GITHUB_SERVER_URL" "$GITHUB_REPOSITORY" "$GITHUB_RUN_ID"
  if [ "$file" = running ]; then
    echo '## edgeproof: no verdict yet'
    exit # the subshell
  fi
  # Whole lines, so that no character is cut.
  LC_ALL=C awk -v limit="$limit" '{ sum += length($0) + 1; if (sum > limit) { print ""; print "Cut here; the rest is in the reports."; exit } print }' "$file"
) >"$body"

degrade() {
  printf '::notice title=edgeproof::No comment on the pull request (%s). The summary of this run has the result.\n' "$1"
  exit 0
}

comments="repos/$GITHUB_REPOSITORY/issues/$number/comments"
# Only a comment of the workflow's own account: anybody can write the mark.
found=$(gh api --paginate "$comments" --jq ".[] | select(.user.login == \"github-actions[bot]\") | select(.body | startswith(\"$mark\")) | .id") ||
  degrade 'its comments cannot be read'
id=$(printf '%s\n' "$found" | head -n 1)
if [ -n "$id" ]; then
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$id" -F "body=@$body" || {
    printf '::error title=edgeproof::The comment on the pull request cannot be changed: what it says is of an earlier run, not of commit %s. Go by the result of this run.\n' "$commit"
    exit 5
  }
else
  gh api --silent --method POST "$comments" -F "body=@$body" || degrade 'it cannot be written from here'
fi
