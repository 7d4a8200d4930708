#!/usr/bin/env bash
# Load-tests a pull request on a stack of its own, in the steps of .github/workflows/load-test.yml.
#
#   STACK=pr-7 scripts/pull-request.sh test      the base branch, then the pull request against it
#   STACK=pr-7 scripts/pull-request.sh comment   what came of it, as comment.md; REPORT_URL leads to
#                                                the HTML reports
#
# The commit that is checked out is a merge: its first parent is the base branch. Each stack name is
# for one pull request; `make destroy STACK=pr-7` removes what is left.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${STACK:?must name the stack, such as pr-7}"

# Runs make for the stack. A workflow that is cancelled interrupts this script alone, and ends all
# processes ten seconds later: make gets a group of its own, which is interrupted as by ^C.
run_make() {
  set -m
  make "$@" STACK="$STACK" &
  set +m
  local group=$! interrupted='' code=0
  trap 'interrupted=yes; kill -INT -- "-$group" 2>/dev/null || true' INT TERM
  # A trapped signal ends a wait, not make.
  wait "$group" || code=$?
  while kill -0 "$group" 2>/dev/null; do wait "$group" || code=$?; done
  trap - INT TERM
  [ -z "$interrupted" ] || exit 130
  return "$code"
}

newest_run() { basename "$(readlink runs/latest 2>/dev/null || true)"; }

# Both commits are tested with the settings of the pull request's CI environment, on this machine,
# minutes apart. `runId` differs, so that the test is due though nothing it depends on has changed.
test_both() {
  cp Pulumi.ci.yaml "Pulumi.$STACK.yaml"
  local head base
  head=$(git rev-parse HEAD)
  git checkout --quiet --detach HEAD^1
  if run_make up runId=base; then base=$(newest_run); else base=; fi
  git checkout --quiet "$head"
  mkdir -p runs
  echo "$base" >runs/base
  run_make up runId=head ${base:+"baseline=$base"}
}

write_comment() {
  local newest base
  newest=$(newest_run)
  base=$(cat runs/base 2>/dev/null || true)
  if [ -n "$newest" ] && [ -f runs/base ] && [ "$newest" != "$base" ]; then
    cp runs/latest/summary.md comment.md
    [ -n "$base" ] || printf 'The base branch could not be tested, so nothing is compared.\n\n' >>comment.md
  else
    printf '### The load test came to no run\n\nThe log of the workflow says why.\n\n' >comment.md
  fi
  [ -z "${REPORT_URL:-}" ] || printf '[HTML reports of both runs](%s)\n' "$REPORT_URL" >>comment.md
}

case "${1:-}" in
  test) test_both ;;
  comment) write_comment ;;
  *)
    echo "usage: STACK=pr-7 $0 test|comment" >&2
    exit 2
    ;;
esac
