#!/bin/sh
# zoft bench: what it prints and refuses.  How long anything takes is not looked at.
. tests/cli/lib.sh

keys="step_ms forward_ms noise_ms update_ms other_ms step_over_two_forwards tokens_per_s peak_fraction
  peak_rss_bytes weights_bytes forward_body_ms forward_body_peak_fraction forward_tokens_per_s compute kernels
  threads tokens peak_gflops objective"

# number KEY: its value in the object
number() { sed -n "s/.*\"$1\": \(-*[0-9.e+]*\)[,}].*/\1/p" "$T/step.json"; }

# step NAME WORDS...: one turn, as JSON, every key there and every time above 0
step() {
  what=$1
  shift
  check "$what" sh -c '"$@" >"$0"' "$T/step.json" "$ZOFT" bench step base_model=$DEMO/model micro_batch_size=4 --repeat 1 --json -q "$@"
  for key in $keys; do check "$what: key $key" grep -q "\"$key\": " "$T/step.json"; done
  for key in step_ms forward_ms noise_ms update_ms step_over_two_forwards tokens_per_s peak_fraction \
    peak_rss_bytes forward_body_ms forward_body_peak_fraction forward_tokens_per_s peak_gflops; do
    check "$what: $key above 0" sh -c "echo '$(number $key)' | awk '{ exit !(\$1 > 0) }'"
  done
}

case_ "list" 0 "$ZOFT" bench <<'END'
step       a training step on random tokens, part by part
memory     peak memory of inference, MeZO and backpropagation on a config
time       seconds a step of the same
energy     joules a step of the same, where the processor reports them
learning   dev scores of MeZO and AdamW by forward passes, seconds and joules
END
case_ "list, json" 0 "$ZOFT" bench --json <<'END'
{"benches": ["step", "memory", "time", "energy", "learning"]}
END
step "all tokens" sequence_len=16 compute=f32 threads=1
check "all tokens: 64 tokens" test "$(number tokens)" = 64
check "all tokens: one thread" test "$(number threads)" = 1
check "all tokens: f32" grep -q '"objective": "lm", "compute": "f32"' "$T/step.json"
check "all tokens: weights of the file, held in f32" test "$(number weights_bytes)" = 1067264
step "options" sequence_len=16 objective=options
check "options" grep -q '"objective": "options"' "$T/step.json"
step "plain C" sequence_len=4 micro_batch_size=1 compute=f32 --cpumask none
check "plain C" grep -q '"kernels": "ref"' "$T/step.json"
step "probes and micro-batches" sequence_len=8 zo_probes=2 gradient_accumulation_steps=3 trainable='*self_attn*' dtype=bf16
check "three micro-batches of four" test "$(number tokens)" = 96

# The table's first column, and the lines below it.
case_ "table" 0 sh -c "'$ZOFT' bench step base_model=$DEMO/model sequence_len=8 threads=1 compute=f32 --repeat 1 --cpumask none -q |
  grep -v ─ | sed 's/\([^ ]\)  .*/\1/'" <<'END'
lm
step
plain forward
  without the head
noise
update
step - 2 forwards - noise - update

step / 2 forwards
peak
memory
END
case_ "a config's data have no effect" 0 sh -c "'$ZOFT' bench step configs/demo.yaml micro_batch_size=2 sequence_len=4 \
  --repeat 1 --json 2>&1 >/dev/null | grep warning" <<'END'
warning: 13 settings have no effect here, where tokens are random: output_dir, overwrite_output_dir, datasets, val_datasets, test_datasets, excess_length_strategy, lr_scheduler, max_steps, eval_steps, metric_for_best_model, load_best_model_at_end, save_total_limit, logging_steps
END
case_ "no such bench" 2 "$ZOFT" bench stp <<'END'
zoft: expected what to measure, found 'stp': 'zoft bench' lists it
END
case_ "a setting without a bench" 2 "$ZOFT" bench base_model=$DEMO/model <<'END'
zoft: expected what to measure, found 'base_model=datasets/demo/model': 'zoft bench' lists it
END
case_ "no model" 2 "$ZOFT" bench step <<'END'
zoft: the key 'base_model' is required: model directory, or ORG/NAME in the local Hugging Face cache
END
case_ "no such model" 2 "$ZOFT" bench step base_model=./nowhere <<'END'
zoft: ./nowhere: no such model directory
END
case_ "unknown key" 2 "$ZOFT" bench step base_model=$DEMO/model objectiv=lm <<'END'
zoft: command line: unknown key 'objectiv': did you mean 'objective'?
END
case_ "random tokens are for bench alone" 2 "$ZOFT" train configs/demo.yaml objective=lm <<'END'
zoft: command line: 'objective' expects one of accuracy, f1, exact_match, rouge_l, bleu, command, dpo, orpo or distill, found 'lm'
END
case_ "beyond the context" 2 "$ZOFT" bench step base_model=$DEMO/model sequence_len=4096 <<'END'
zoft: sequence_len 4096 is longer than the model's context of 128
END
case_ "memory limit" 4 "$ZOFT" bench step base_model=$DEMO/model memory_limit=1M <<'END'
zoft: memory_limit is N MB and the run is forecast to need N MB: a smaller micro_batch_size or sequence_len needs less
END
case_ "no turns" 2 "$ZOFT" bench step base_model=$DEMO/model --repeat 0 <<'END'
zoft: --repeat expects a whole number from 1 to 10000, found '0'
END
"$ZOFT" bench step base_model=$DEMO/model --repeat 10000 -q 2>"$T/err" &
pid=$!
sleep 1
kill -INT $pid
wait $pid
got=$?
check "Ctrl-C: exit status $got" test $got = 130
check "Ctrl-C: the message" grep -q '^zoft: interrupted$' "$T/err"
finish
