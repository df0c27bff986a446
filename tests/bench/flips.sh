#!/bin/sh
# Single bits flipped at random in a run's log, a keyframe and the base model; then a replay, and now
# and then a resume.  Each flip must be detected (an error or a warning) or harmless, and weights
# that come out must be the run's, of the step that is named.
#
#   ZOFT=build/zoft tests/bench/flips.sh [FLIPS [SEED]]     1000 flips, seed 1
set -u
ZOFT=${ZOFT:-build/zoft} flips=${1:-1000} seed=${2:-1}
T=$(mktemp -d "${TMPDIR:-/tmp}/zoft-flips-XXXXXX")
trap 'rm -rf "$T"' EXIT
export LC_ALL=C
mkdir "$T/w"
cp -r datasets/demo/model "$T/w/m"
chmod -R u+w "$T/w"
train() {
  "$ZOFT" train configs/demo.yaml base_model="$T/w/m" output_dir="$T/w/run" overwrite_output_dir=false \
    max_steps=12 eval_steps=never eval_on_start=false test_datasets=[] num_train=64 keyframe_steps=5 -q "$@"
}
train >/dev/null || exit 1
model=$(cksum <"$T/w/run/model.safetensors")
k=0
while [ $k -le 12 ]; do
  "$ZOFT" replay "$T/w/run" --to-step $k --json | sed -n 's/.*"step": \([0-9]*\),.*"hash": "\([0-9a-f]*\)".*/\1 \2/p'
  k=$((k + 1))
done >"$T/hashes"
cp -r "$T/w" "$T/good"

detected=0 harmless=0 wrong=0 i=0
while [ $i -lt "$flips" ]; do
  i=$((i + 1))
  for f in $(perl -e "srand($seed * 100000 + $i); print((qw(run/steps.log run/keyframes/step-10.safetensors m/model.safetensors))[int rand 3])"); do
    perl -e 'srand($ARGV[1]); open F, "+<", $ARGV[0] or die; binmode F; $n = -s F; $b = int(rand($n * 8));
      $b = int(rand(8000)) if $n > 2000 && rand() < 0.3; # headers are small: meet them as often
      seek F, $b >> 3, 0; read F, $c, 1; seek F, $b >> 3, 0; print F chr(ord($c) ^ 1 << ($b & 7));
      print $b' "$T/w/$f" $((seed * 100000 + i)) >"$T/bit"
    "$ZOFT" replay "$T/w/run" --json >"$T/out" 2>"$T/err"
    status=$?
    got=$(sed -n 's/.*"step": \([0-9]*\),.*"hash": "\([0-9a-f]*\)".*/\1 \2/p' "$T/out")
    verdict=wrong
    case $status in
    0)
      if grep -qx "$got" "$T/hashes"; then
        verdict=detected
        [ -s "$T/err" ] || { [ "${got%% *}" = 12 ] && verdict=harmless || verdict=wrong; }
      fi
      ;;
    1 | 2 | 3) [ -s "$T/err" ] && verdict=detected ;;
    esac
    if [ $((i % 10)) = 0 ] && [ $verdict != wrong ]; then
      train --resume --json >/dev/null 2>"$T/err2"
      again=$?
      case $again in
      0) [ "$(cksum <"$T/w/run/model.safetensors")" = "$model" ] || verdict="wrong resume" ;;
      1 | 2 | 3) ;;
      *) verdict="resume exit $again" ;;
      esac
    fi
    case $verdict in
    detected) detected=$((detected + 1)) ;;
    harmless) harmless=$((harmless + 1)) ;;
    *)
      wrong=$((wrong + 1))
      echo "flip $i: bit $(cat "$T/bit") of $f: $verdict: exit $status, '$got', $(cat "$T/err")"
      ;;
    esac
    if [ $((i % 10)) = 0 ]; then
      rm -rf "$T/w"
      cp -r "$T/good" "$T/w"
    else
      cp "$T/good/$f" "$T/w/$f"
    fi
  done
done
echo "$flips flips: $detected detected, $harmless harmless, $wrong wrong"
[ $wrong = 0 ]
