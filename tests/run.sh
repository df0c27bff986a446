#!/bin/sh
# Runs test programs, fuzz corpora (after --) and the command-line tests, and closes on one line
# "N passed, N failed, N skipped".  A program's tests are counted from Check's summary line; any
# other program counts as one.  TEST_JOBS=2 runs two at a time; results are shown in order.
set -u

# run.sh --one DIR/NUMBER NAME COMMAND...: runs one, its output to DIR/NUMBER.log, its seconds and
# exit status to DIR/NUMBER.status.
if [ "${1:-}" = --one ]; then
  base=$2
  shift 3
  start=$(date +%s)
  "$@" >"$base.log" 2>&1 </dev/null
  status=$?
  echo "$(($(date +%s) - start)) $status" >"$base.status"
  exit 0
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/zoft-run-XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0 number=0 corpus=""

count() { # count <exit status> <log>
  checks=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$2" | tail -n 1)
  if [ -n "$checks" ]; then
    # shellcheck disable=SC2086
    set -- "$1" "$2" $checks
    bad=$(($4 + $5))
    failed=$((failed + bad)) passed=$((passed + $3 - bad))
    [ "$1" = 0 ] || [ $bad -gt 0 ] || failed=$((failed + 1))
  elif [ "$1" = 0 ]; then passed=$((passed + 1))
  else failed=$((failed + 1))
  fi
  skipped=$((skipped + $(grep -c '^SKIP' "$2")))
}

add() { # add <name> <command ...>: one line of words for xargs
  number=$((number + 1))
  echo "$1" >"$dir/$number.name"
  printf "'--one'" >>"$dir/list"
  printf " '%s'" "$dir/$number" "$@" >>"$dir/list"
  echo >>"$dir/list"
}

show() { # show <number>
  read -r seconds status <"$dir/$1.status" || { seconds=0 status=1; }
  name=$(cat "$dir/$1.name") log=$dir/$1.log
  count "$status" "$log"
  if [ "$status" = 0 ]; then
    echo "ok    $name  $(tail -n 1 "$log" | cut -c1-80)  ($seconds s)"
    grep '^SKIP' "$log" | head -n 3
  else
    echo "FAIL  $name (exit $status)"
    tail -n 60 "$log"
  fi
}

for program in "$@"; do
  if [ "$program" = -- ]; then corpus=1; continue; fi
  if [ -n "$corpus" ]; then
    name=$(basename "$program" | sed 's/^fuzz_//')
    add "fuzz corpus $name" "$program" "tests/fuzz/corpus/$name"
  else
    add "$(basename "$program")" "$program"
  fi
done

if [ -n "${ZOFT:-}" ] && [ -d tests/cli ]; then
  for script in tests/cli/*.sh; do
    [ -f "$script" ] || continue
    case "$script" in */lib.sh) continue ;; esac
    add "cli $(basename "$script" .sh)" sh "$script"
  done
fi

# The longest ones begin first, so that none of them runs alone at the end.
long="'cli (resume|objective|adapter|methods)'"
{ grep -E "$long" "$dir/list"; grep -vE "$long" "$dir/list"; } >"$dir/ordered"

# The runs go on in the background, and each is shown when it and those before it have ended.
xargs -L 1 -P "${TEST_JOBS:-1}" sh "$0" <"$dir/ordered" &
i=1
while [ $i -le $number ]; do
  while [ ! -s "$dir/$i.status" ]; do
    kill -0 $! 2>/dev/null || [ -s "$dir/$i.status" ] || { echo "0 1" >"$dir/$i.status"; : >>"$dir/$i.log"; }
    sleep 0.2
  done
  show $i
  i=$((i + 1))
done
wait

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
