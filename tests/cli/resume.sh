#!/bin/sh
# The run is its log: killed and resumed, replayed, rewound, branched, damaged.
. tests/cli/lib.sh

# A short run with scores, keyframes and checkpoints every few steps.
conf() {
  sed -e "s|^output_dir:.*||; s|^overwrite_output_dir:.*||; s|^max_steps:.*|max_steps: 24|" \
    -e "s|^eval_steps:.*|eval_steps: 5|; s|^compute:.*|compute: f32|" configs/demo.yaml
  printf 'num_train: 64\nnum_eval: 40\nkeyframe_steps: 4\nsave_steps: 9\n'
}
conf >"$T/c.yaml"
train() {
  out=$1
  shift
  "$ZOFT" train "$T/c.yaml" output_dir="$T/$out" -q --json "$@" >"$T/$out.json" 2>"$T/$out.err"
}
timeless() { sed -E 's/, "(seconds|tokens_per_s|rss_bytes)": [0-9.]+//g' "$T/$1/metrics.jsonl"; }
# same NAME A B: two runs end alike, to the bit
same() {
  timeless "$2" >"$T/m1"
  timeless "$3" >"$T/m2"
  for f in steps.log model.safetensors checkpoints/best/model.safetensors; do
    check "$1: same $f" cmp "$T/$2/$f" "$T/$3/$f"
  done
  check "$1: same metrics" cmp "$T/m1" "$T/m2"
}
hash_of() { sed -n 's/.*"hash": "\([0-9a-f]*\)".*/\1/p'; }
# flip FILE BYTE: changes a bit of it
flip() { perl -e 'open F, "+<", $ARGV[0]; binmode F; seek F, $ARGV[1], 0; read F, $c, 1;
  seek F, $ARGV[1], 0; print F chr(ord($c) ^ 4)' "$1" "$2"; }
# begun DIR STEP: waits for a line of a step
begun() {
  for _ in $(seq 300); do
    grep -q "\"step\": $2," "$T/$1/metrics.jsonl" 2>/dev/null && return
    perl -e 'select(undef, undef, undef, 0.1)'
  done
}

check "a whole run" train whole
check "two keyframes are kept" sh -c "[ \$(ls '$T/whole/keyframes' | wc -l) = 2 ]"
check "the log is 60 bytes a step and mark" sh -c "[ \$(wc -c <'$T/whole/steps.log') = \$((164 + 60 * (24 + 7))) ]"

# --- killed, interrupted, cut ---
check "kill -9 at random instants" sh tests/bench/kills.sh 2 5
check "SIGTERM at random instants" env SIGNAL=TERM sh tests/bench/kills.sh 1 5
check "bits flipped at random" sh tests/bench/flips.sh 20 5

cp -r "$T/whole" "$T/again"
check "resume a run that is finished" train again --resume
same "finished" whole again

"$ZOFT" train "$T/c.yaml" output_dir="$T/int" max_steps=100000 -q 2>"$T/err" &
pid=$!
begun int 10
kill -INT $pid
wait $pid
check "SIGINT: exit status" test $? = 130
check "SIGINT: the message says how to go on" grep -q 'interrupted after step [0-9]*; checkpoint in .*; --resume continues the run$' "$T/err"
at=$(sed -n 's/.*after step \([0-9]*\).*/\1/p' "$T/err")
check "SIGINT: resume" train int --resume max_steps=$((at + 5))
check "a run of as many steps" train long max_steps=$((at + 5))
check "SIGINT: same weights" cmp "$T/int/model.safetensors" "$T/long/model.safetensors"
check "SIGINT: same log" cmp "$T/int/steps.log" "$T/long/steps.log"

cp -r "$T/whole" "$T/torn"
perl -e 'truncate $ARGV[0], 164 + 60 * 26 + 30' "$T/torn/steps.log"
check "a torn tail" train torn --resume
"$ZOFT" train "$T/c.yaml" output_dir="$T/torn" --resume --json >/dev/null 2>"$T/err"
same "torn" whole torn

cp -r "$T/whole" "$T/tail"
perl -e 'truncate $ARGV[0], 164 + 60 * 20 + 30' "$T/tail/steps.log"
case_ "a torn tail is said and cut" 0 sh -c "'$ZOFT' train '$T/c.yaml' output_dir='$T/tail' --resume --json 2>&1 >/dev/null | grep -v '^step\|^model\|^data\|^memory\|^kernels'" <<'END'
TMP/tail/steps.log: record 21 at byte 1364 is torn: 30 of 60 bytes: cut off; 16 steps are whole
resuming after step 16: weights of step 15 by replay from the state saved at step 9
END
same "cut" whole tail

cp -r "$T/whole" "$T/lost"
rm -r "$T/lost/checkpoints/best" "$T/lost/keyframes"
head -n 3 "$T/whole/metrics.jsonl" >"$T/lost/metrics.jsonl"
printf '{"step": 9, "set": "tr' >>"$T/lost/metrics.jsonl"
check "lost metrics, keyframes and best model" train lost --resume
same "lost" whole lost

stopping="max_steps=60 eval_steps=1 early_stopping_patience=1 learning_rate=3e-4"
# shellcheck disable=SC2086
check "a run that stops early" train soon $stopping
check "it does" grep -q '"status": "stopped early"' "$T/soon/run.json"
cp -r "$T/soon" "$T/sooner"
perl -e 'truncate $ARGV[0], 164 + 60 * 5 + 13' "$T/sooner/steps.log"
# shellcheck disable=SC2086
check "cut and resumed" train sooner $stopping --resume
check "it does as well" grep -q '"status": "stopped early"' "$T/sooner/run.json"
same "stopped early" soon sooner

mkdir "$T/early"
case_ "resume where nothing is" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/early" --resume -q <<'END'
zoft: command line: there is no run to resume in TMP/early: name the run's directory, or leave --resume out to begin one
END
case_ "resume a run that is not there" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/never" --resume -q <<'END'
zoft: command line: there is no run to resume in TMP/never: name the run's directory, or leave --resume out to begin one
END
check "and none is made" test ! -e "$T/never"
cp "$T/whole/run.json" "$T/early" # as one is that was killed before its first step
check "resume a run without a step" train early --resume
same "from nothing" whole early

# --- more steps, other settings ---
cp -r "$T/whole" "$T/more"
check "more steps" train more --resume max_steps=30 eval_steps=5
check "thirty from the start" train thirty max_steps=30 eval_steps=5
check "more steps: same weights" cmp "$T/more/model.safetensors" "$T/thirty/model.safetensors"
check "more steps: same log" cmp "$T/more/steps.log" "$T/thirty/steps.log"

cp -r "$T/tail" "$T/other"
perl -e 'truncate $ARGV[0], 164 + 60 * 8' "$T/other/steps.log"
check "threads, micro-batch, cadence may change" train other --resume threads=2 micro_batch_size=4 \
  gradient_accumulation_steps=4 eval_steps=7 logging_steps=3
for k in 0 24; do
  "$ZOFT" replay "$T/other" --to-step $k --json | hash_of >"$T/h1"
  "$ZOFT" replay "$T/whole" --to-step $k --json | hash_of >"$T/h2"
  check "and leave no trace in the weights of step $k" cmp "$T/h1" "$T/h2"
done

resume() { "$ZOFT" train "$T/c.yaml" output_dir="$T/whole" --resume -q "$@"; }
case_ "another learning rate" 2 resume learning_rate=2e-4 <<'END'
zoft: command line: cannot resume: 'learning_rate' was 0.0001 when the run began and is 0.0002 ('zoft validate --keys' marks the settings that may change)
END
case_ "another batch" 2 resume micro_batch_size=8 <<'END'
zoft: command line: cannot resume: micro_batch_size times gradient_accumulation_steps was 16 when the run began and is 8: keep the product
END
case_ "another arithmetic" 2 resume compute=bf16 <<'END'
zoft: TMP/whole/steps.log: the run began with compute f32, and now there is bf16
END
case_ "fewer steps" 2 resume max_steps=20 <<'END'
zoft: command line: the run has taken 24 steps: 20 are too few
END
changed() { resume "$@" 2>&1 | sed 's/hash [0-9a-f]*, and now there is [0-9a-f]*/hash A, and now there is B/'; }
cp -r datasets/demo "$T/demo"
chmod -R u+w "$T/demo"
sed -i.bak '1s/film\|movie\|story\|book/play/' "$T/demo/train.jsonl"
printf '\n' >>"$T/demo/train.jsonl"
case_ "other data" 0 changed data_dir="$T" <<'END'
zoft: TMP/whole/steps.log: the run began with data files of hash A, and now there is B
END
broken
flip "$T/m/model.safetensors" 400000
case_ "another model" 0 changed base_model="$T/m" <<'END'
zoft: TMP/whole/steps.log: the run began with base model weights of hash A, and now there is B
END
broken
printf '\n' >>"$T/m/tokenizer.json"
case_ "another tokenizer" 0 changed base_model="$T/m" <<'END'
zoft: TMP/whole/steps.log: the run began with config.json and tokenizer files of hash A, and now there is B
END
resume base_model="$T/m" 2>/dev/null
check "is exit status 3" test $? = 3
case_ "without --resume" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/whole" -q <<'END'
zoft: command line: TMP/whole is not empty: it holds a finished run; overwrite_output_dir=true replaces it, and --resume with a larger max_steps continues it
END
sed -i.bak 's/"finished"/"running"/' "$T/again/run.json"
case_ "without --resume, unfinished" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/again" -q <<'END'
zoft: command line: TMP/again is not empty: it holds a run that is unfinished (running, or killed); --resume continues it, overwrite_output_dir=true replaces it
END
rm "$T/again/steps.log"
case_ "without a log" 3 "$ZOFT" train "$T/c.yaml" output_dir="$T/again" --resume -q <<'END'
zoft: TMP/again/metrics.jsonl: has lines, but there is no steps.log in its directory
END

# --- replay, on other processors, from a log alone ---
run_hash=$("$ZOFT" replay "$T/whole" --json | hash_of)
for mask in none avx2 avx2,avx512; do
  "$ZOFT" replay "$T/whole" --verify --json --cpumask $mask >"$T/r.json"
  check "replay with features $mask verifies seven hashes" grep -q '"verified": 7' "$T/r.json"
  check "to the same weights" test "$(hash_of <"$T/r.json")" = "$run_hash"
done
"$ZOFT" apply "$T/whole/steps.log" $DEMO/model --out "$T/applied" -q >/dev/null
check "apply gives the tuned model" cmp "$T/applied/model.safetensors" "$T/whole/model.safetensors"
broken
flip "$T/m/model.safetensors" 300000
"$ZOFT" apply "$T/whole/steps.log" "$T/m" --out "$T/never" -q 2>"$T/err"
check "apply to another model: exit status" test $? = 3
check "and it is said" grep -q 'is not the base model of .*steps.log: its weights have the hash' "$T/err"
check "and nothing is written" test ! -e "$T/never"
for type in f24 f16 bf16; do
  check "trained as $type" train $type trained_dtype=$type max_steps=12
  check "replays from the base" sh -c "'$ZOFT' replay '$T/$type' --verify --json | grep -q '\"verified\": 4'"
  perl -e 'truncate $ARGV[0], 164 + 60 * 7 + 1' "$T/$type/steps.log"
  cp "$T/$type/model.safetensors" "$T/want"
  check "resumes" train $type trained_dtype=$type max_steps=12 --resume
  check "to the same model" cmp "$T/want" "$T/$type/model.safetensors"
done

# --- nothing but the settings of the run leaves a trace, in each arithmetic ---
steps=200
case "$ZOFT" in *san-*) steps=40 ;; esac # sanitizers are slow
long() { # long COMPUTE [option ...]: prints the hash of the weights after all steps
  compute=$1
  shift
  rm -rf "$T/det"
  "$ZOFT" train "$T/c.yaml" output_dir="$T/det" max_steps=$steps compute=$compute test_datasets=[] eval_on_start=false \
    save_steps=1000 logging_steps=50 load_best_model_at_end=false -q --json "$@" >/dev/null 2>&1 &
  pid=$!
  if [ -n "${kill_at:-}" ]; then
    begun det "$kill_at"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    "$ZOFT" train "$T/c.yaml" output_dir="$T/det" max_steps=$steps compute=$compute test_datasets=[] eval_on_start=false \
      save_steps=1000 logging_steps=50 load_best_model_at_end=false -q --json "$@" --resume >/dev/null 2>&1
  else
    wait $pid
  fi
  "$ZOFT" log show "$T/det" --json | grep weights | tail -n 1
}
for compute in f32 bf16 int8; do
  long $compute threads=1 eval_steps=never keyframe_steps=1000 >"$T/h1"
  check "$compute: $steps steps" grep -q "\"step\": $steps" "$T/h1"
  long $compute threads=2 micro_batch_size=4 gradient_accumulation_steps=4 eval_steps=$((steps / 3)) keyframe_steps=$((steps / 4)) >"$T/h2"
  check "$compute: two threads, micro-batches of 4, scores and keyframes" cmp "$T/h1" "$T/h2"
  kill_at=$((steps / 2)) long $compute threads=4 micro_batch_size=1 gradient_accumulation_steps=16 eval_steps=never >"$T/h2"
  check "$compute: four threads, micro-batches of 1, killed and resumed" cmp "$T/h1" "$T/h2"
done

# --- branches ---
check "a branch that changes nothing" train fork --fork "$T/whole@10"
check "ends as the run" cmp "$T/fork/model.safetensors" "$T/whole/model.safetensors"
check "a branch with another rate" train slow --fork "$T/whole@10" learning_rate=1e-5
case_ "parts there" 0 sh -c "'$ZOFT' log diff '$T/whole' '$T/slow' | head -n 2" <<'END'
header      settings
steps       part at step 11: its lr differs
END
check "and replays" sh -c "'$ZOFT' replay '$T/slow' --verify -q >/dev/null"
case_ "a branch beyond the end" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/no" --fork "$T/whole@25" -q <<'END'
zoft: TMP/whole/steps.log: has 24 steps, not 25
END
check "and no directory is left" test ! -e "$T/no"
case_ "a branch of another kind" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/no" --fork "$T/whole@5" zo_probes=2 -q <<'END'
zoft: TMP/whole/steps.log: a branch keeps zo_probes, zo_direction, weight_decay, trainable, dtype, trained_dtype and train_blocks of its run
END
case_ "a branch in place" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/whole" overwrite_output_dir=true --fork "$T/whole@5" -q <<'END'
zoft: command line: a branch needs a directory of its own
END

# --- what only a log can do ---
"$ZOFT" replay "$T/whole" --average 24:24 --json | hash_of >"$T/h1"
check "the mean of one step is it" test "$(cat "$T/h1")" = "$run_hash"
"$ZOFT" replay "$T/whole" --drop 13:24 --json | hash_of >"$T/h1"
"$ZOFT" replay "$T/whole" --to-step 12 --json | hash_of >"$T/h2"
check "without the last twelve it is the twelfth" cmp "$T/h1" "$T/h2"
"$ZOFT" replay "$T/whole" --scale 1 --json | hash_of >"$T/h1"
check "scaled by one it is the run" test "$(cat "$T/h1")" = "$run_hash"
for o in "--ema 0.9" "--scale 0.5" "--average 10:24"; do
  # shellcheck disable=SC2086
  "$ZOFT" replay "$T/whole" $o --json | hash_of >"$T/h1"
  check "$o gives other weights" sh -c "[ -s '$T/h1' ] && [ \$(cat '$T/h1') != $run_hash ]"
done
case_ "a bad range" 2 "$ZOFT" replay "$T/whole" --average 5 <<'END'
zoft: --average expects FROM:TO, steps of the log from 0 on, found '5'
END
check "log show" sh -c "[ \$('$ZOFT' log show '$T/whole' --json | wc -l) = 31 ]"
check "log stats" sh -c "'$ZOFT' log stats '$T/whole' --json | grep -q '\"steps\": 24, .*\"end\": \"whole\", \"marks\": 7'"

# --- damage ---
cp -r "$T/whole" "$T/bad"
flip "$T/bad/steps.log" $((164 + 60 * 12 + 33))
case_ "a damaged record" 3 "$ZOFT" replay "$T/bad" <<'END'
zoft: TMP/bad/steps.log: record 13 at byte 884 is damaged (checksum); --to-step 10 rebuilds the weights of the last step before it
END
"$ZOFT" replay "$T/bad" --to-step 10 --json | hash_of >"$T/h1"
"$ZOFT" replay "$T/whole" --to-step 10 --json | hash_of >"$T/h2"
check "the steps before it are there" cmp "$T/h1" "$T/h2"
case_ "no resume over it" 3 "$ZOFT" train "$T/c.yaml" output_dir="$T/bad" --resume -q <<'END'
zoft: TMP/bad/steps.log: record 13 at byte 884 is damaged (checksum), and whole records follow: the file was changed. 'zoft train CONFIG --fork RUN@10' continues from the 10 steps before it in another directory
END
check "but a branch before it" train mended --fork "$T/bad@10"
check "which ends as the run" cmp "$T/mended/model.safetensors" "$T/whole/model.safetensors"
cp -r "$T/whole" "$T/key"
flip "$T/key/keyframes/step-24.safetensors" 500000
"$ZOFT" replay "$T/key" --json 2>"$T/err" | hash_of >"$T/h1"
check "a damaged keyframe is passed over" test "$(cat "$T/h1")" = "$run_hash"
check "with a warning" grep -q 'step-24.safetensors: is damaged: weights of hash .*; an earlier state or the base model is used' "$T/err"

# --- disks ---
if [ "$(id -u)" = 0 ] && mkdir "$T/disk" && mount -t tmpfs -o size=8m tmpfs "$T/disk" 2>/dev/null; then
  trap 'umount "$T/disk" 2>/dev/null; rm -rf "$T"' EXIT
  train disk/run max_steps=5 eval_steps=100
  dd if=/dev/zero of="$T/disk/fill" bs=4k >/dev/null 2>&1
  "$ZOFT" train "$T/c.yaml" output_dir="$T/disk/run" --resume -q >/dev/null 2>"$T/err"
  check "disk full: exit status" test $? = 1
  check "disk full: the message" grep -q 'cannot write: No space left on device' "$T/err"
  rm "$T/disk/fill"
  mount -o remount,ro "$T/disk"
  "$ZOFT" train "$T/c.yaml" output_dir="$T/disk/run" --resume -q >/dev/null 2>"$T/err"
  check "read-only: exit status" test $? = 1
  check "read-only: the message" grep -q 'Read-only file system' "$T/err"
  check "read-only: replay works" sh -c "'$ZOFT' replay '$T/disk/run' --json | grep -q hash"
  mount -o remount,rw "$T/disk"
  check "with room again it goes on" sh -c "'$ZOFT' train '$T/c.yaml' output_dir='$T/disk/run' --resume -q --json >/dev/null"
  check "to the same weights" cmp "$T/disk/run/model.safetensors" "$T/whole/model.safetensors"
  umount "$T/disk"
else
  echo "SKIP full and read-only disks: they need root and mount"
fi
finish
