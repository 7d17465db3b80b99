#!/bin/sh
# What action.yml runs: gates one artifact, adds the summary (ids and numbers, no texts) to the step's, and ends with the
# gate's exit code: 0 PASS, 1 FAIL, 4 INCONCLUSIVE, 2 and 3 where there is no verdict. Only 0 lets a release through.
#
# EDGEPROOF_ARTIFACT, EDGEPROOF_PACK, EDGEPROOF_BASELINE: paths. EDGEPROOF_REPORT: the folder that the reports go to; it
# must hold none yet. Each of the others may be empty: EDGEPROOF_POLICY, a path (the defaults); EDGEPROOF_POLICY_SHA256,
# the policy's digest; EDGEPROOF_BASELINE_KEY and EDGEPROOF_SIGN, paths of keys; EDGEPROOF_WAIVER and
# EDGEPROOF_WAIVER_KEY, paths; EDGEPROOF_ACCEPT_WAIVERS, true or false. GITHUB_OUTPUT gets verdict, reason, waived, report.
set -u

for name in ARTIFACT PACK BASELINE REPORT; do
  eval "value=\${EDGEPROOF_$name:-}"
  if [ -z "$value" ]; then
    echo "Error: the input $name is missing" >&2
    exit 2
  fi
done

set -- gate --probes "$EDGEPROOF_PACK" --baseline "$EDGEPROOF_BASELINE" --report "$EDGEPROOF_REPORT"
if [ -n "${EDGEPROOF_POLICY:-}" ]; then
  set -- "$@" --policy "$EDGEPROOF_POLICY"
fi
if [ -n "${EDGEPROOF_POLICY_SHA256:-}" ]; then
  set -- "$@" --policy-sha256 "$EDGEPROOF_POLICY_SHA256"
fi
if [ -n "${EDGEPROOF_BASELINE_KEY:-}" ]; then
  set -- "$@" --baseline-key "$EDGEPROOF_BASELINE_KEY"
fi
if [ -n "${EDGEPROOF_SIGN:-}" ]; then
  set -- "$@" --sign "$EDGEPROOF_SIGN"
fi
if [ -n "${EDGEPROOF_WAIVER:-}" ]; then
  set -- "$@" --waiver "$EDGEPROOF_WAIVER"
fi
if [ -n "${EDGEPROOF_WAIVER_KEY:-}" ]; then
  set -- "$@" --waiver-key "$EDGEPROOF_WAIVER_KEY"
fi
case ${EDGEPROOF_ACCEPT_WAIVERS:-false} in
  true) set -- "$@" --accept-waivers ;;
  false) ;;
  *)
    echo "Error: the input accept-waivers is neither true nor false" >&2
    exit 2
    ;;
esac
code=0
if [ -e "$EDGEPROOF_REPORT/report.json" ] || [ -e "$EDGEPROOF_REPORT/summary.md" ]; then
  echo "Error: $EDGEPROOF_REPORT holds a report that is not of this run; remove it, from the repository too, or name another folder" >&2
  code=3
else
  # Behind "--" a path is a path, whatever it begins with.
  export-edge "$@" -- "$EDGEPROOF_ARTIFACT" || code=$?
fi

summary=${GITHUB_STEP_SUMMARY:-/dev/null}
output=${GITHUB_OUTPUT:-/dev/null}
case $code in
  0 | 1 | 4)
    # A verdict without its report is none.
    cat "$EDGEPROOF_REPORT/summary.md" >>"$summary" || exit 3
    # Its first line: "## FAIL, waived: it came back".
    first=$(head -n 1 "$EDGEPROOF_REPORT/summary.md")
    head=${first%%: *}
    verdict=${head#'## '}
    case $verdict in
      *', waived') waived=true ;;
      *) waived=false ;;
    esac
    printf 'verdict=%s\nreason=%s\nwaived=%s\nreport=%s\n' \
      "${verdict%', waived'}" "${first#*: }" "$waived" "$EDGEPROOF_REPORT" >>"$output"
    ;;
  *)
    printf '## No verdict\n\nexport-edge ended with exit code %s; the log of this step says why. Nothing may be released on it.\n' "$code" >>"$summary"
    printf 'verdict=NONE\nreason=exit code %s\nwaived=false\nreport=\n' "$code" >>"$output"
    ;;
esac
exit "$code"
