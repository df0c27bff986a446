#!/bin/sh
# Training by backpropagation, init, plan, and the benches that compare methods.
. tests/cli/lib.sh

# --- zoft train method=adamw ---
set_="base_model=$DEMO/model num_train=64 max_steps=6 eval_steps=3 logging_steps=1 learning_rate=1e-3 compute=f32"
# train OUT WORDS...
train() {
  to=$1
  shift
  # shellcheck disable=SC2086
  "$ZOFT" train configs/demo.yaml $set_ output_dir="$T/$to" test_datasets=[] "$@" -q
}
train a method=adamw threads=1 >"$T/a.out"
check "run.json names the method" grep -q '"method": "adamw"' "$T/a/run.json"
check "finished" grep -q '"status": "finished"' "$T/a/run.json"
check "no log of projected gradients" test ! -e "$T/a/steps.log"
check "the model is there" test -s "$T/a/model.safetensors"
loss() { sed -n "s/.*\"step\": $1, \"set\": \"train\", \"loss\": \([0-9.e-]*\),.*/\1/p" "$T/$2/metrics.jsonl"; }
check "the loss falls" sh -c "echo $(loss 1 a) $(loss 6 a) | awk '{ exit !(\$2 < \$1) }'"
train b method=adamw threads=2 gradient_checkpointing=true >/dev/null
check "checkpointing and threads: the same bits" cmp -s "$T/a/model.safetensors" "$T/b/model.safetensors"
train c method=adamw threads=1 micro_batch_size=4 gradient_accumulation_steps=4 >/dev/null
check "the same loss in micro-batches" test "$(loss 1 a)" = "$(loss 1 c)"
for m in sgd sgd_momentum; do
  train $m method=$m max_grad_norm=1 >/dev/null
  check "$m: the loss falls" sh -c "echo $(loss 1 $m) $(loss 6 $m) | awk '{ exit !(\$2 < \$1) }'"
done
# Turns that are no targets, between others that are.
printf '{"segments": [{"label": true, "text": "The film"}, {"label": false, "text": " was so"}, {"label": true, "text": " good"}, {"label": false, "text": ". We loved it."}]}\n' >"$T/segments.jsonl"
for _ in 1 2 3; do cat "$T/segments.jsonl"; done >"$T/four.jsonl"
train masked method=adamw datasets=[] val_datasets=[] datasets.0.path="$T/four.jsonl" datasets.0.type=input_output num_train=all metric_for_best_model=auto micro_batch_size=2 >/dev/null
check "masked turns: the loss falls" sh -c "echo $(loss 1 masked) $(loss 6 masked) | awk '{ exit !(\$2 < \$1) }'"
case_ "weights in bf16" 2 "$ZOFT" train configs/demo.yaml method=adamw dtype=bf16 output_dir="$T/d" -q <<'EOF'
zoft: backpropagation trains weights in f32, and 'model.embed_tokens.weight' is held as bf16: leave dtype at auto
EOF
case_ "no resuming" 2 "$ZOFT" train configs/demo.yaml method=adamw output_dir="$T/g" --resume -q <<'EOF'
zoft: method adamw writes no step log from which a run could be resumed or forked: only mezo does
EOF
case_ "settings of other methods" 0 sh -c "'$ZOFT' train configs/demo.yaml method=sgd momentum=0.5 adam_beta1=0.5 --dry-run 2>&1 >/dev/null | grep warning" <<'EOF'
warning: zo_eps has no effect: method is sgd
warning: zo_probes has no effect: method is sgd
warning: zo_direction has no effect: method is sgd
warning: adam_beta1 has no effect: method is sgd
warning: momentum has no effect: method is sgd
EOF
case_ "diverged" 6 "$ZOFT" train configs/demo.yaml method=sgd learning_rate=1e6 max_steps=30 eval_steps=never eval_on_start=false \
  output_dir="$T/e" -q <<'EOF'
zoft: step 11: the gradient is zero for 10 steps: nothing is learned; a smaller learning_rate may help
EOF
for m in mezo sgd adamw; do
  check "$m: memory limit" sh -c "'$ZOFT' train configs/demo.yaml method=$m memory_limit=3M output_dir='$T/f' -q 2>&1 |
    grep -q '^zoft: memory_limit is 3.00 MB and the run is forecast to need'"
done
case_ "no such method" 2 "$ZOFT" train configs/demo.yaml method=adam <<'EOF'
zoft: command line: 'method' expects one of mezo, sgd, sgd_momentum, adamw or probe, found 'adam': did you mean 'adamw'?
EOF

# --- zoft init ---
config=$DEMO/model/config.json
case_ "init" 0 "$ZOFT" init $config --out "$T/i" --tokenizer $DEMO/model <<'EOF'
TMP/i: llama, 266816 parameters in 38 tensors
EOF
"$ZOFT" init $config --out "$T/i2" -q >/dev/null
"$ZOFT" init $config --out "$T/i3" --seed 43 -q >/dev/null
check "the same seed, the same weights" cmp -s "$T/i/model.safetensors" "$T/i2/model.safetensors"
check "another seed, others" sh -c "! cmp -s '$T/i/model.safetensors' '$T/i3/model.safetensors'"
check "the tokenizer came along" cmp -s "$T/i/tokenizer.json" $DEMO/model/tokenizer.json
case_ "init over something" 2 "$ZOFT" init $config --out "$T/i" <<'EOF'
zoft: TMP/i is not empty: name a directory that is, or none
EOF
case_ "init of nothing" 2 "$ZOFT" init --out "$T/i4" <<'EOF'
zoft: expected a config.json: zoft init CONFIG.json --out DIR
EOF
case_ "init without out" 2 "$ZOFT" init $config <<'EOF'
zoft: --out: name the directory to write
EOF

# --- zoft plan ---
case_ "plan: methods" 0 sh -c "'$ZOFT' plan configs/demo.yaml -o csv | cut -d, -f1" <<'EOF'
method
inference
mezo
sgd
sgd_momentum
adamw
adamw_checkpoint
probe
EOF
case_ "plan: much memory" 0 sh -c "'$ZOFT' plan base_model=$DEMO/model micro_batch_size=16 sequence_len=32 --fit 100G | tail -n 1" <<'EOF'
Recommended for N GB: method=adamw dtype=auto micro_batch_size=16 gradient_accumulation_steps=1, because the gradient by backpropagation learns most a step, and fits.
EOF
case_ "plan: hardly any" 0 sh -c "'$ZOFT' plan base_model=$DEMO/model micro_batch_size=16 sequence_len=32 --fit 1M | tail -n 1" <<'EOF'
Nothing fits N MB: not even one sequence with weights in bf16. A shorter sequence_len, fewer trained tensors (trainable) or a smaller model would.
EOF
case_ "plan: no size" 2 "$ZOFT" plan configs/demo.yaml --fit much <<'EOF'
zoft: command line: 'fit' expects a size such as 512M or 8G, found 'much'
EOF
case_ "plan: no config" 2 "$ZOFT" plan <<'EOF'
zoft: a config file or base_model=DIR is needed: zoft plan CONFIG
EOF

# --- zoft bench memory, time, energy, learning ---
bench() { "$ZOFT" bench "$@" -q threads=1 --repeat 1; }
bench memory base_model=$DEMO/model --batch 8 --seq 64,128 -o csv >"$T/memory.csv"
check "ten rows and a head" test "$(wc -l <"$T/memory.csv")" = 11
# Uneven texts: the longest of each sixteen together would be several times what a batch holds.
perl -e 'srand 3; for (1 .. 400) { my $n = $_ % 40 ? 2 + int rand 6 : 90;
  print "{\"text\": \"", "the film was " x $n, "\"}\n" }' >"$T/ragged.jsonl"
printf 'datasets: [{path: %s, type: text}]\nlearning_rate: 1e-4\nmax_steps: 30\nsequence_len: 120\n' "$T/ragged.jsonl" >"$T/ragged.yaml"
bench memory "$T/ragged.yaml" base_model=$DEMO/model --methods mezo,sgd,adamw,adamw_checkpoint -o csv >"$T/ragged.csv"
check "four rows and a head" test "$(wc -l <"$T/ragged.csv")" = 5
near() {
  awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    { d = $c["forecast_bytes"] / $c["peak_rss_bytes"] - 1; if (d > 0.05 || d < -0.05) { print; bad = 1 } }
    END { exit bad }' "$1"
}
case "$ZOFT" in
  *san-*) echo "SKIP forecast against peak: sanitizers have memory of their own" ;;
  *)
    check "forecasts within 5 % of the peak" near "$T/memory.csv"
    check "also of uneven texts" near "$T/ragged.csv"
    ;;
esac
"$ZOFT" train "$T/ragged.yaml" base_model=$DEMO/model method=adamw max_steps=3 output_dir="$T/ragged" -q --json >"$T/ragged.json"
check "the bound is told beside it" perl -e '$_ = <STDIN>; /"forecast_bytes": (\d+), "forecast_bound_bytes": (\d+)/ or exit 1;
  exit !($2 > 1.2 * $1)' <"$T/ragged.json"
check "md" sh -c "'$ZOFT' bench time configs/demo.yaml compute=f32 --methods mezo,adamw --repeat 1 -q -o md | grep -q '^| adamw | f32 | 16 |'"
check "json" sh -c "'$ZOFT' bench energy configs/demo.yaml --methods mezo,adamw --repeat 1 -q --json | grep -q '\"method\": \"mezo\", \"compute\": '"
bench time base_model=$DEMO/model --batch 4 --seq 16,32 --methods mezo,sgd -o html >"$T/time.html"
check "html: two plots" test "$(grep -c '<svg' "$T/time.html")" = 2
check "html: nothing from elsewhere" sh -c "! grep -q 'http\|src=' '$T/time.html'"
case_ "no such way" 2 "$ZOFT" bench time base_model=$DEMO/model --methods mezo,adam <<'EOF'
zoft: --methods: expected some of inference, mezo, sgd, sgd_momentum, adamw, adamw_checkpoint, found 'adam'
EOF
case_ "no such format" 2 "$ZOFT" bench memory base_model=$DEMO/model -o pdf <<'EOF'
zoft: -o expects one of table, md, csv, json, html, svg, found 'pdf'
EOF
case_ "no such batch" 2 "$ZOFT" bench memory base_model=$DEMO/model --batch 1,x <<'EOF'
zoft: --batch: expected numbers from 1 on, at most 8 of them, found '1,x'
EOF
case_ "bench step is mezo's" 2 "$ZOFT" bench step base_model=$DEMO/model method=adamw <<'EOF'
zoft: command line: bench step measures the parts of a step of mezo: for other methods see bench time
EOF
case_ "memory limit of a child" 4 sh -c "'$ZOFT' bench time base_model=$DEMO/model memory_limit=1M -q 2>&1 | tail -n 1; exit 4" <<'EOF'
zoft: measuring ended with exit status 4
EOF
# shellcheck disable=SC2086
"$ZOFT" bench learning configs/demo.yaml $set_ --budget 24 --lr adamw=2e-3 output_dir="$T/l" -q -o csv >"$T/learning.csv"
check "learning: mezo's last step" grep -q '^mezo,0.001,12,24,' "$T/learning.csv"
check "learning: adamw's last step" grep -q '^adamw,0.002,8,24,' "$T/learning.csv"
case_ "learning without a dev set" 2 "$ZOFT" bench learning configs/demo.yaml val_datasets=[] <<'EOF'
zoft: learning is measured on a dev set: set val_datasets or val_set_size
EOF
finish
