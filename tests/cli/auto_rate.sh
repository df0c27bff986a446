#!/bin/sh
# learning_rate: auto, start: probe, and what a run says of a rate that cannot learn.
. tests/cli/lib.sh
train() {
  to=$1
  shift
  "$ZOFT" train configs/demo.yaml output_dir="$T/$to" compute=f32 test_datasets=[] num_train=100 eval_steps=never "$@"
}
same() { cmp -s "$T/$1/model.safetensors" "$T/$2/model.safetensors"; }
train a learning_rate=auto max_steps=30 keyframe_steps=10 >/dev/null 2>"$T/a.err"
check "the rate is told with its reason" grep -q '^learning rate [0-9.e-]*, from [0-9]* forward passes: losses change by 0.1 at a distance of [0-9.e-]*, and 30 steps walk 0.7 of it' "$T/a.err"
train b learning_rate=auto max_steps=30 threads=1 micro_batch_size=4 gradient_accumulation_steps=4 -q >/dev/null
check "the same bits with other micro-batches" same a b
"$ZOFT" train configs/demo.yaml output_dir="$T/c" compute=f32 test_datasets=[] num_train=100 eval_steps=never \
  learning_rate=auto max_steps=30 >/dev/null 2>&1 &
pid=$!
while [ ! -s "$T/c/metrics.jsonl" ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
train c learning_rate=auto max_steps=30 --resume -q >/dev/null
check "the same bits after a kill" same a c
train d learning_rate=auto max_steps=30 -q >/dev/null
train d learning_rate=auto max_steps=40 --resume -q >/dev/null
check "a longer run keeps its rate" sh -c "'$ZOFT' log stats '$T/d' --json | grep -q '\"steps\": 40' && '$ZOFT' log show '$T/d' --json | grep -o '\"lr\": [0-9.e-]*' | sort -u | wc -l | grep -q '^1$'"
check "its log replays" "$ZOFT" replay "$T/a" --verify -q
case_ "auto with backpropagation" 2 "$ZOFT" train configs/demo.yaml output_dir="$T/x" method=adamw learning_rate=auto <<'END'
zoft: command line: method adamw needs a learning_rate: only zeroth-order methods find one by themselves
END
case_ "auto with an objective" 2 "$ZOFT" train configs/demo.yaml output_dir="$T/x" objective=accuracy learning_rate=auto <<'END'
zoft: command line: objective accuracy needs a learning_rate: the test of 'learning_rate: auto' measures the task's own loss
END
cat >"$T/four.yaml" <<END
base_model: $DEMO/model
datasets: [{path: demo/train.jsonl, type: classification, prompt: "{text} Would I recommend it?", options: [" No", " Yes"]}]
output_dir: $T/four
max_steps: 5
END
check "four lines are a config" "$ZOFT" train "$T/four.yaml" -q

case_ "a probe that begins with one" 2 "$ZOFT" train configs/demo.yaml output_dir="$T/x" method=probe start=probe <<'END'
zoft: command line: 'start' has no effect: method is probe
END
train s start=probe learning_rate=1e-4 max_steps=8 >/dev/null 2>"$T/s.err"
check "the start is told" grep -q "^start      a probe, in $T/s.start" "$T/s.err"
check "the start is a model" test -s "$T/s.start/model.safetensors"
check "the run's base is the start" grep -q "^base_model: $T/s.start" "$T/s/config.yaml"
train r start=probe learning_rate=1e-4 max_steps=5 -q >/dev/null 2>&1
train r start=probe learning_rate=1e-4 max_steps=8 --resume -q >/dev/null 2>&1
check "a start and a resume: the same bits" same s r
check "its log replays" "$ZOFT" replay "$T/s" --verify -q

train auto zo_method=auto max_steps=5 -q >/dev/null 2>&1
check "zo_method auto begins with a probe" test -s "$T/auto.start/model.safetensors"
train lora zo_method=auto adapter=lora max_steps=5 -q >/dev/null 2>&1
check "not with an adapter" test ! -e "$T/lora.start" -a -s "$T/lora/adapter_model.safetensors"
train small learning_rate=1e-12 max_steps=60 >/dev/null 2>"$T/small.err"
check "a rate that cannot learn is told" grep -q '^at this learning rate 60 steps gain at most .* of a loss of 0.6' "$T/small.err"
train fine learning_rate=1e-4 max_steps=60 >/dev/null 2>"$T/fine.err"
check "another one is not" sh -c "! grep -q 'learning rate .* steps gain\|loss rises' '$T/fine.err'"
finish
