#!/bin/sh
# Runs that are killed (by SIGKILL, or SIGNAL=TERM) at random instants and resumed, until they end; each must end with
# the log, the weights and the metrics (times aside) of a run that nothing disturbed.
#
#   ZOFT=build/zoft tests/bench/kills.sh [RUNS [SEED]]     100 runs, seed 1
#
# Scores, keyframes and checkpoints come every few steps, so that many kills fall into them.
set -u
ZOFT=${ZOFT:-build/zoft} runs=${1:-100} seed=${2:-1}
T=$(mktemp -d "${TMPDIR:-/tmp}/zoft-kills-XXXXXX")
trap 'rm -rf "$T"' EXIT
export LC_ALL=C

train() { # train DIR [option ...]
  dir=$1
  shift
  exec "$ZOFT" train configs/demo.yaml output_dir="$dir" overwrite_output_dir=false max_steps=100 \
    eval_steps=11 val_datasets='[{path: demo/test.jsonl}]' test_datasets=[] num_train=64 \
    keyframe_steps=7 save_steps=13 logging_steps=3 -q --json "$@"
}
timeless() { sed -E 's/, "(seconds|tokens_per_s|rss_bytes)": [0-9.]+//g' "$1/metrics.jsonl"; }
now() { perl -MTime::HiRes=time -e 'printf "%.3f", time'; }

start=$(now)
(train "$T/whole" >/dev/null) || exit 1
took=$(perl -e "printf '%.3f', $(now) - $start")
timeless "$T/whole" >"$T/metrics"
same=0 kills=0 i=0
while [ $i -lt "$runs" ]; do
  i=$((i + 1))
  rm -rf "$T/run"
  option=
  for again in 1 2 3 4; do
    # shellcheck disable=SC2086
    (train "$T/run" $option >"$T/out" 2>"$T/err") &
    pid=$!
    # The last time it may end.
    if [ $again -lt 4 ]; then
      perl -e "srand($seed * 1000 + $i * 4 + $again); select(undef, undef, undef, rand() * $took)"
      kill -"${SIGNAL:-KILL}" $pid 2>/dev/null
    fi
    wait $pid 2>/dev/null
    status=$?
    option=
    [ -e "$T/run/run.json" ] && option=--resume # else no run began
    case $status in 137 | 130 | 143) ;; *) break ;; esac
    kills=$((kills + 1))
  done
  timeless "$T/run" >"$T/now"
  if [ $status = 0 ] && cmp -s "$T/whole/steps.log" "$T/run/steps.log" &&
    cmp -s "$T/whole/model.safetensors" "$T/run/model.safetensors" &&
    cmp -s "$T/whole/checkpoints/best/model.safetensors" "$T/run/checkpoints/best/model.safetensors" &&
    cmp -s "$T/metrics" "$T/now"; then
    same=$((same + 1))
  else
    echo "run $i: exit $status, not the undisturbed run"
    cat "$T/err"
    cmp "$T/whole/steps.log" "$T/run/steps.log"
    diff "$T/metrics" "$T/now" | head -n 5
  fi
done
echo "$same of $runs runs, killed $kills times, end with the log, weights and metrics of the undisturbed run"
[ $same = "$runs" ]
