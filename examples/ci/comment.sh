#!/bin/sh
# Puts a Markdown file into the one comment of edgeproof on a pull request: comment.sh FILE NUMBER
#
# It needs GitHub's own command line (gh), GITHUB_REPOSITORY, and GH_TOKEN with the right `pull-requests: write`. A workflow
# of a fork has no such right: then the step says so and ends with 0. The comment informs; the gate's exit code decides.
set -eu

file=$1
number=$2
mark='<!-- edgeproof -->'
limit=60000 # GitHub takes 65,536 characters

case $number in
  '' | *[!0-9]*)
    echo "Error: $number is not the number of a pull request" >&2
    exit 2
    ;;
esac
[ -s "$file" ] || {
  echo "Error: $file is empty or missing" >&2
  exit 3
}

body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
  printf '%s\n' "$mark"
  # Whole lines, so that no character is cut.
  LC_ALL=C awk -v limit="$limit" '{ sum += length($0) + 1; if (sum > limit) { print ""; print "Cut here; the rest is in the reports."; exit } print }' "$file"
} >"$body"

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
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$id" -F "body=@$body" || degrade 'it cannot be changed from here'
else
  gh api --silent --method POST "$comments" -F "body=@$body" || degrade 'it cannot be written from here'
fi
