#!/bin/sh
# Every zeroth-order method by name: the run is its log (replayed, cut and resumed on other threads and
# with other passes, branched), and what does not go together is refused.
. tests/cli/lib.sh

# A few steps of the demo without scores; the keys that methods set are left to them.
sed -e '/^output_dir\|^overwrite_output_dir\|^max_steps\|^eval_steps\|^compute\|^load_best\|^metric_for/d' \
  -e '/^zo_probes\|^zo_direction\|^micro_batch_size\|^logging_steps/d' \
  -e '/^val_datasets/,/dev.jsonl/d; /^test_datasets/,/test.jsonl/d' configs/demo.yaml >"$T/c.yaml"
printf 'num_train: 64\nkeyframe_steps: 3\nmax_steps: 7\ncompute: f32\nmicro_batch_size: 4\nlogging_steps: 1\n' >>"$T/c.yaml"
train() { # train DIR KEY=VALUE ...
  dir=$1
  shift
  "$ZOFT" train "$T/c.yaml" output_dir="$T/$dir" -q --json "$@" >"$T/$dir.json" 2>"$T/$dir.err"
}
# cut DIR N: leaves N records of the log and a part of the next one, as a crash does
cut_log() { perl -e 'open F, "<", $ARGV[0]; binmode F; read F, $b, 20; ($h, $r) = unpack "x12VV", $b;
  truncate $ARGV[0], $h + $r * $ARGV[1] + 13' "$T/$1/steps.log" "$2"; }
number() { perl -e 'open F, "<", $ARGV[0]; binmode F; seek F, $ARGV[1], 0; read F, $b, 4; print unpack "V", $b' "$@"; }
# same NAME A B: two runs have the same log and the same result
same() {
  check "$1: same log" cmp "$T/$2/steps.log" "$T/$3/steps.log"
  for f in model adapter_model; do
    [ ! -f "$T/$2/$f.safetensors" ] || check "$1: same weights" cmp "$T/$2/$f.safetensors" "$T/$3/$f.safetensors"
  done
}

# method NAME VERSION KEY=VALUE ...
method() {
  way=$1 version=$2
  shift 2
  check "$way" train whole zo_method="$way" threads=1 "$@"
  check "$way: version $version" test "$(number "$T/whole/steps.log" 8)" = "$version"
  check "$way: replay" sh -c "'$ZOFT' replay '$T/whole' --verify -q >/dev/null"
  cp -r "$T/whole" "$T/cut"
  cut_log cut 6 # steps 1 to 5 and a mark
  check "$way: resume" train cut --resume zo_method="$way" threads=2 zo_streams=5 "$@"
  same "$way" whole cut
  rm -rf "$T/whole" "$T/cut"
}
# Bases change on the way.
method mezo 2
method mezo_momentum 5 zo_window=3
method mezo_adam 5 zo_window=3
method sign 5
method conservative 5 zo_probes=3
method adamm 5 adapter=lora lora_r=4
method one_sided 5 zo_probes=3
method fzoo 5
method spsa15 5
method hizoo 5
method bszo 5
method svrg 5 zo_anchor_batches=2
method es 5
method eggroll 5
method lozo 5 zo_refresh=4
method lozo_momentum 5 zo_refresh=4
method subzero 5 zo_refresh=4
method muon 5 zo_refresh=4
method sparse 5
method random_mask 5
method blocks 5
method sphere 5
method conmezo 5
method trust 5 zo_form=low_rank zo_refresh=4
method one_sided 5 adapter=lora lora_r=4 zo_directions=example

# Other arithmetic units, and other cuts of the batch.
for way in lozo_momentum fzoo; do
  check "$way: plain C" train plain zo_method=$way --cpumask none
  check "$way: kernels" train fast zo_method=$way
  same "$way by plain C" plain fast
  rm -rf "$T/plain" "$T/fast"
done

# A branch with another seed in the middle of a period.
for way in lozo_momentum subzero random_mask svrg; do
  few=
  [ $way != svrg ] || few=zo_anchor_batches=2
  train trunk zo_method=$way $few
  check "$way: branch" train branch zo_method=$way $few seed=7 --fork "$T/trunk@5" max_steps=9
  check "$way: the branch replays" sh -c "'$ZOFT' replay '$T/branch' --verify -q >/dev/null"
  cp -r "$T/branch" "$T/cut"
  cut_log cut 9
  check "$way: the branch resumes" train cut --resume zo_method=$way $few seed=7 max_steps=9
  same "$way branch" branch cut
  rm -rf "$T/trunk" "$T/branch" "$T/cut"
done

# --- what a log of version 5 says ---

train svrg zo_method=svrg zo_anchor_batches=2
train lozo zo_method=lozo
check "show: a line a step and a mark" sh -c "[ \$('$ZOFT' log show '$T/svrg' | wc -l) = 10 ]"
check "show: losses and terms" sh -c "'$ZOFT' log show '$T/svrg' --json | sed -n 2p |
  grep -q '\"losses\": \\[[0-9.]*, [0-9.]*, [0-9.]*, [0-9.]*\\], \"terms\": \\[{\"step\": 2, .*}, {\"step\": 1, '"
check "stats: rows" sh -c "'$ZOFT' log stats '$T/svrg' | grep -qx 'method      directions dense, difference anchor'"
check "stats: json" sh -c "'$ZOFT' log stats '$T/lozo' --json | grep -q '\"low_rank\"'"
check "inspect: difference" sh -c "'$ZOFT' inspect '$T/svrg/steps.log' | grep -q '^difference  *anchor\$'"
check "inspect: directions" sh -c "'$ZOFT' inspect '$T/lozo/steps.log' | grep -q '^directions  *low_rank\$'"
case_ "diff of two methods" 0 sh -c "'$ZOFT' log diff '$T/svrg' '$T/lozo' | head -n 2" <<'END'
header      settings, zo_form, zo_difference
steps       part at step 1: its difference differs
END
perl -e 'open F, "+<", $ARGV[0]; binmode F; seek F, -20, 2; print F "\1"' "$T/lozo/steps.log"
check "a flipped byte is seen" sh -c "'$ZOFT' log stats '$T/lozo' 2>&1 | grep -q 'damaged\|torn'"
train other zo_method=lozo
check "another method does not resume" sh -c "! '$ZOFT' train '$T/c.yaml' output_dir='$T/other' --resume zo_method=subzero -q 2>'$T/err'"
check "and names the setting" grep -q 'cannot resume.*zo_' "$T/err"

# --- what does not go together ---

refused() { # refused MESSAGE KEY=VALUE ...
  message=$1
  shift
  "$ZOFT" train "$T/c.yaml" output_dir="$T/no" -q "$@" >"$T/out" 2>"$T/err"
  status=$?
  check "$*: status $status" test $status = 2
  check "$*: $(cat "$T/err")" grep -qF "$message" "$T/err"
  check "$*: no directory" test ! -e "$T/no"
}
refused "'zo_rank' has no effect without zo_form low_rank or subspace" zo_rank=4
refused "'zo_refresh' has no effect without" zo_refresh=4
refused "'zo_keep' has no effect without zo_form small or random" zo_keep=0.5
refused "'zo_cone' has no effect without zo_form cone" zo_cone=0.5
refused "'zo_trust' has no effect without zo_optimizer trust" zo_trust=0.1
refused "'zo_curvature' has no effect without zo_difference curvature" zo_curvature=1
refused "'zo_anchor_batches' has no effect without zo_difference anchor" zo_anchor_batches=2
refused "'zo_window' has no effect without zo_optimizer adam or momentum" zo_method=sign zo_window=2
refused "'adamm' keeps a state as large as what is trained" zo_method=adamm
refused "'trust' keeps a state as large as what is trained" zo_method=trust
refused "batched: expected at least 2 probes, found 1" zo_method=fzoo zo_probes=1
refused "bayes: expected at most 16 probes, found 17" zo_method=bszo zo_probes=17
refused "conservative: expected at most 64 probes, found 65" zo_method=conservative zo_probes=65
refused "cone does not go with anchor" zo_form=cone zo_difference=anchor
refused "cone: expected zo_probes 1, found 2" zo_method=conmezo zo_probes=2
refused "anchor does not go with another rule than sgd" zo_method=svrg zo_optimizer=sign
refused "anchor does not go with another rule than sgd, or a clip" zo_method=svrg zo_clip=3
refused "anchor: expected a refresh of 1 to 20 steps, found 40" zo_method=svrg zo_refresh=40
refused "knows no weight_decay" zo_method=svrg weight_decay=0.1
refused "scaled does not go with a difference other than curvature" zo_form=scaled
refused "sphere does not go with noise that is not gaussian" zo_method=sphere zo_direction=rademacher
refused "a window of steps does not go with" zo_method=blocks zo_optimizer=adam
refused "'zo_streams' must be between 1 and 16, found 17" zo_streams=17
refused "'zo_method' expects one of mezo, " zo_method=x
refused "is an adapter's: such directions need the base's weights" zo_method=sparse adapter=lora
refused "is an adapter's: such directions need the base's weights" zo_method=lozo adapter=lora
refused "no trained matrix has sides of twice the rank 100" zo_method=lozo zo_rank=100
refused "directions by example does not go with batched" zo_method=fzoo adapter=lora zo_directions=example
finish
