#!/bin/sh
# Runs test programs, fuzz corpora (after --) and the command-line tests, and closes on one line
# "N passed, N failed, N skipped".  A program's tests are counted from Check's summary line; any
# other program counts as one.
set -u
log="${TMPDIR:-/tmp}/zoft-run-$$"
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0 corpus=""

count() { # count <name> <exit status>: reads $log
  checks=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$log" | tail -n 1)
  if [ -n "$checks" ]; then
    # shellcheck disable=SC2086
    set -- "$1" "$2" $checks
    bad=$(($4 + $5))
    failed=$((failed + bad)) passed=$((passed + $3 - bad))
    [ "$2" = 0 ] || [ $bad -gt 0 ] || failed=$((failed + 1))
  elif [ "$2" = 0 ]; then passed=$((passed + 1))
  else failed=$((failed + 1))
  fi
  skipped=$((skipped + $(grep -c '^SKIP' "$log")))
}

run() { # run <name> <command ...>
  name=$1
  shift
  start=$(date +%s)
  "$@" >"$log" 2>&1 </dev/null
  status=$?
  count "$name" $status
  note=$(grep '^SKIP' "$log" | head -n 3)
  if [ $status = 0 ]; then
    echo "ok    $name  $(tail -n 1 "$log" | cut -c1-80)  ($(($(date +%s) - start)) s)"
    [ -z "$note" ] || echo "$note"
  else
    echo "FAIL  $name (exit $status)"
    tail -n 60 "$log"
  fi
}

for program in "$@"; do
  if [ "$program" = -- ]; then corpus=1; continue; fi
  if [ -n "$corpus" ]; then
    name=$(basename "$program" | sed 's/^fuzz_//')
    run "fuzz corpus $name" "$program" "tests/fuzz/corpus/$name"
  else
    run "$(basename "$program")" "$program"
  fi
done

if [ -n "${ZOFT:-}" ] && [ -d tests/cli ]; then
  for script in tests/cli/*.sh; do
    [ -f "$script" ] || continue
    case "$script" in */lib.sh) continue ;; esac
    run "cli $(basename "$script" .sh)" sh "$script"
  done
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
