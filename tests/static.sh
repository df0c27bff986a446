#!/bin/sh
# A program without shared libraries beside the one with them: no loader, at most 8 MB, little memory, and the same log of
# the same run, bit for bit.
#   tests/static.sh ZOFT STATIC [EMULATOR]
# Under an emulator both use the kernels in plain C, which all processors share.
set -eu
zoft=$1
static=$2
emulator=${3:-}
less=${emulator:+--cpumask=none max_steps=3 micro_batch_size=4}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

bytes=$(wc -c < "$static")
[ "$bytes" -le 8000000 ] || { echo "FAIL $static: $bytes bytes, expected at most 8 MB"; exit 1; }
if readelf -l "$static" | grep -q 'INTERP\|DYNAMIC'; then
  echo "FAIL $static: expected no loader and no shared libraries"
  exit 1
fi

run() { # run NAME PROGRAM...
  name=$1
  shift
  # shellcheck disable=SC2086
  "$@" train configs/demo.yaml output_dir="$dir/$name" max_steps=12 eval_steps=never eval_on_start=false \
    test_datasets=[] num_train=64 -q --json $less > "$dir/$name.json"
}
run shared "$zoft"
# 100 MB of addresses; an emulator reserves some of its own.
# shellcheck disable=SC3045
[ -n "$emulator" ] || ulimit -v 100000
# shellcheck disable=SC2086
run alone $emulator "$static"
cmp "$dir/shared/steps.log" "$dir/alone/steps.log"
cmp "$dir/shared/model.safetensors" "$dir/alone/model.safetensors"
echo "$static: $bytes bytes, the log and the weights of $zoft"
