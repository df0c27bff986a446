#!/bin/sh
# Adapters trained by backpropagation, and the benches that compare it with mezo over the same adapter.
. tests/cli/lib.sh

set_="num_train=64 max_steps=8 eval_steps=4 logging_steps=1 learning_rate=1e-2 compute=f32 test_datasets=[]"
# train OUT WORDS...
train() {
  to=$1
  shift
  # shellcheck disable=SC2086
  "$ZOFT" train configs/demo.yaml $set_ output_dir="$T/$to" "$@" -q >/dev/null
}
loss() { sed -n "s/.*\"step\": $1, \"set\": \"train\", \"loss\": \([0-9.e-]*\),.*/\1/p" "$T/$2/metrics.jsonl"; }
falls() { echo "$(loss 1 "$1") $(loss 8 "$1")" | awk 'NF == 2 && $2 < $1 { fell = 1 } END { exit !fell }'; }

# kind RUN WORDS...
kind() {
  run=$1
  shift
  train "$run" method=adamw threads=1 "$@"
  check "$run: the loss falls" falls "$run"
  check "$run: a PEFT adapter" test -s "$T/$run/adapter_model.safetensors"
  check "$run: nothing of the base" test ! -e "$T/$run/model.safetensors"
}
kind lora adapter=lora
kind dora adapter=lora use_dora=true
kind head adapter=lora lora_target_modules='["q_proj", "lm_head"]'
for word in ia3 vera ln prompt prefix; do kind $word adapter=$word; done
kind tokens adapter=tokens token_indices='[5, 300]'
for method in sgd sgd_momentum; do
  train $method adapter=lora method=$method
  check "$method: the loss falls" falls $method
done
train again adapter=lora method=adamw threads=2 gradient_checkpointing=true
check "checkpointing and threads: the same bits" cmp -s "$T/lora/adapter_model.safetensors" "$T/again/adapter_model.safetensors"
train micro adapter=lora method=adamw threads=1 micro_batch_size=4 gradient_accumulation_steps=4
check "the same loss in micro-batches" test "$(loss 1 lora)" = "$(loss 1 micro)"
train outer adapter=lora lora_train=b method=adamw
check "B alone: the loss falls" falls outer
echo "the film was good" >"$T/text"
check "the adapter scores" sh -c "'$ZOFT' score '$T/lora' --text '$T/text' | grep -q perplexity"

# Over a base in blocks.
GGUF=tests/golden/gguf/llama-q4_k_m.gguf
printf '{"text": "a b c d"}\n{"text": "b c d e"}\n' >"$T/texts.jsonl"
over() {
  "$ZOFT" train base_model=$GGUF adapter=lora max_steps=8 learning_rate=1e-2 micro_batch_size=2 logging_steps=1 \
    datasets.0.path="$T/texts.jsonl" datasets.0.type=text eval_steps=never output_dir="$T/gguf" method=adamw -q
}
over >"$T/over" 2>&1 || cat "$T/over"
check "over blocks: the loss falls" falls gguf

check "plan of an adapter" sh -c "'$ZOFT' plan base_model=$DEMO/model adapter=lora micro_batch_size=16 sequence_len=32 -o csv | grep -q '^adamw_checkpoint,'"
"$ZOFT" bench memory base_model=$DEMO/model adapter=lora --batch 8 --seq 64,128 --methods mezo,adamw,adamw_checkpoint \
  -q threads=1 --repeat 1 -o csv >"$T/memory.csv"
check "six rows and a head" test "$(wc -l <"$T/memory.csv")" = 7
near() {
  awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
    { d = $c["forecast_bytes"] / $c["peak_rss_bytes"] - 1; if (d > 0.05 || d < -0.05) { print; bad = 1 } }
    END { exit bad }' "$1"
}
case "$ZOFT" in
  *san-*) echo "SKIP forecast against peak: sanitizers have memory of their own" ;;
  *) check "forecasts within 5 % of the peak" near "$T/memory.csv" ;;
esac
finish
