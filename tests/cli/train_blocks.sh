#!/bin/sh
# A GGUF file is trained itself: the same bits on any number of threads and any micro-batch, interrupted or
# not, and by replay; the result is a GGUF file.
. tests/cli/lib.sh
M=tests/golden/gguf/llama-q4_k_m.gguf
Q=tests/golden/gguf/llama-q8_0.gguf
cp "$M" "$T/mixed.gguf"
cp "$Q" "$T/bytes.gguf"
for i in 1 2 3 4 5 6 7 8 9; do echo "{\"text\": \"the cat $i\", \"label\": 1}"; done >"$T/rows.jsonl"
cat >"$T/c.yaml" <<END
base_model: $T/mixed.gguf
data_dir: $T
datasets:
  - path: rows.jsonl
    type: classification
    prompt: "{text} on"
    options: [" the", " mat"]
val_set_size: 4
learning_rate: 1e-2
max_steps: 12
eval_steps: 3
keyframe_steps: 5
metric_for_best_model: loss
micro_batch_size: 4
compute: f32
END
# train OUT SETTING...
train() {
  out=$1
  shift
  "$ZOFT" train "$T/c.yaml" output_dir="$T/$out" -q "$@" >"$T/$out.txt" 2>"$T/$out.err"
}
# shorten RUN RECORDS: takes records off the end of its log, and what was written behind them
shorten() {
  size=$(($(wc -c <"$T/$1/steps.log") - 60 * $2))
  head -c "$size" "$T/$1/steps.log" >"$T/short" && mv "$T/short" "$T/$1/steps.log"
  rm -f "$T/$1/model.gguf"
}

quiet() { "$ZOFT" "$@" -q >/dev/null; }

# kind NAME SETTING...: one kind of training, with its settings
kind() {
  k=$1
  shift
  check "$k: a run" train "$k" "$@"
  check "$k: two threads, micro-batches of two" train "$k.small" "$@" threads=2 micro_batch_size=2 gradient_accumulation_steps=2
  check "$k: the same result" cmp "$T/$k/model.gguf" "$T/$k.small/model.gguf"
  cp -r "$T/$k" "$T/$k.cut"
  shorten "$k.cut" 4
  check "$k: resume" train "$k.cut" "$@" --resume
  check "$k: resumed to the same result" cmp "$T/$k/model.gguf" "$T/$k.cut/model.gguf"
  check "$k: resumed to the same log" cmp "$T/$k/steps.log" "$T/$k.cut/steps.log"
  check "$k: replay" sh -c "'$ZOFT' replay '$T/$k' --verify | grep -q '^verified   3 '"
  check "$k: the result from the log and the base alone" quiet apply "$T/$k/steps.log" "$T/${k%%-*}.gguf" --out "$T/$k.applied"
  check "$k: which is the run's" cmp "$T/$k/model.gguf" "$T/$k.applied/model.gguf"
  check "$k: a step by replay from a keyframe" quiet replay "$T/$k" --to-step 11 --out "$T/$k.replayed.gguf"
  check "$k: and from the base" quiet apply "$T/$k/steps.log" "$T/${k%%-*}.gguf" --to-step 11 --out "$T/$k.eleven"
  check "$k: which are the same" cmp "$T/$k.replayed.gguf" "$T/$k.eleven/model.gguf"
  check "$k: eval of the run" sh -c "'$ZOFT' eval '$T/$k' -q | grep -q '^model  $T/$k/model.gguf'"
  check "$k: generate from the run" sh -c "'$ZOFT' generate '$T/$k' --prompt 'the cat' -n 2 | grep -q '^the cat'"
  check "$k: it has learned" sh -c "awk '/^dev loss/ { exit !(\$4 < \$3) }' '$T/$k.txt'"
}
kind mixed-scales
kind mixed-norms trainable='*norm*'
kind bytes-scales base_model="$T/bytes.gguf" train_blocks=scales
kind bytes-integers base_model="$T/bytes.gguf" train_blocks=integers learning_rate=1e-3
"$ZOFT" train "$T/c.yaml" output_dir="$T/branch" --fork "$T/mixed-scales@6" -q >/dev/null 2>"$T/.err"
check "a branch of the same settings ends alike" cmp "$T/mixed-scales/model.gguf" "$T/branch/model.gguf"
case_ "a branch keeps what is trained" 2 "$ZOFT" train "$T/c.yaml" base_model="$T/bytes.gguf" train_blocks=integers output_dir="$T/other" --fork "$T/bytes-scales@6" -q <<'END'
zoft: TMP/bytes-scales/steps.log: a branch keeps zo_probes, zo_direction, weight_decay, trainable, dtype, trained_dtype and train_blocks of its run
END
"$ZOFT" export "$DEMO/model" --to "$T/demo.gguf" --type q4_0 -q
check "the demo, quantised" "$ZOFT" train configs/demo.yaml base_model="$T/demo.gguf" output_dir="$T/demo" learning_rate=1e-3 max_steps=100 eval_steps=50 num_eval=100 -q >"$T/demo.txt" 2>&1
check "is learned" grep -q '^test accuracy  *[0-9.]* %  *\(100\|9[0-9]\)\.' "$T/demo.txt"
check "export of a run" quiet export "$T/demo" --to "$T/demo.f16" --type f16
check "is a model directory" sh -c "'$ZOFT' inspect '$T/demo.f16' | grep -q 'all wanted tensors present'"
check "the bases stay as they are" sh -c "cmp '$M' '$T/mixed.gguf' && cmp '$Q' '$T/bytes.gguf'"
check "a result is as large as its base" sh -c "[ \$(wc -c <'$M') = \$(wc -c <'$T/mixed-scales/model.gguf') ]"
check "tensors keep their types" sh -c "'$ZOFT' inspect '$M' | grep -c Q4_K >'$T/a' && '$ZOFT' inspect '$T/mixed-scales/model.gguf' | grep -c Q4_K | cmp - '$T/a'"
check "a run goes on from a result" train again base_model="$T/mixed-scales" max_steps=2
# Methods that cannot train the file are neither forecast nor recommended.
"$ZOFT" plan "$T/c.yaml" >"$T/plan" 2>&1
check "plan: mezo" grep -q '^mezo ' "$T/plan"
check "plan: mezo alone" sh -c "! grep -q adamw '$T/plan'"
check "plan --fit" sh -c "'$ZOFT' plan '$T/c.yaml' --fit 4G 2>&1 | grep -q 'Recommended for 4.00 GB: method=mezo dtype=auto'"
check "validate" sh -c "! '$ZOFT' validate '$T/c.yaml' 2>&1 | grep -q AdamW"
check "train" sh -c "! grep -q AdamW '$T/mixed-scales.txt'"

bad() {
  name=$1
  shift
  case_ "$name" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/bad" "$@"
}
bad "integers of other blocks" train_blocks=integers <<'END'
zoft: TMP/mixed.gguf: tensor 'model.embed_tokens.weight' is in q6_k: train_blocks integers trains q8_0 alone (leave it out by 'trainable', or train scales)
END
bad "an adapter trains no blocks" adapter=lora train_blocks=scales <<'END'
zoft: command line: 'train_blocks' has no effect: an adapter is trained
END
bad "backpropagation" method=adamw learning_rate=1e-3 <<'END'
zoft: TMP/mixed.gguf: the weights of a GGUF file cannot be trained by this method; write them as a model directory and train that (zoft export TMP/mixed.gguf --to DIR), or use method mezo
END
bad "a base that is no GGUF file" base_model=datasets/demo/model train_blocks=scales <<'END'
zoft: command line: 'train_blocks' has no effect: base_model is no GGUF file
END
bad "another dtype" dtype=f16 <<'END'
zoft: TMP/mixed.gguf: the tensors of a GGUF file keep their types: expected dtype auto and trained_dtype f32
END
bad "another dtype of the result" save_dtype=f16 <<'END'
zoft: command line: 'save_dtype' has no effect: the tensors of a GGUF file keep their types
END
bad "directions by the size of weights" zo_form=small <<'END'
zoft: small: 'model.embed_tokens.weight.scales' are changes, which begin as 0: such directions need weights
END
cat >"$T/gpt2.json" <<END
{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 1024, "n_embd": 32, "n_layer": 1,
 "n_head": 2, "n_positions": 64, "activation_function": "gelu_new"}
END
"$ZOFT" init "$T/gpt2.json" --out "$T/gpt2" --tokenizer "$DEMO/model" -q >/dev/null
"$ZOFT" export "$T/gpt2" --to "$T/gpt2.gguf" --type q8_0 -q 2>"$T/.err"
bad "matrices that the file has the other way round" base_model="$T/gpt2.gguf" <<'END'
zoft: TMP/gpt2.gguf: tensor 'transformer.h.0.attn.c_attn.weight' is stored the other way round and cannot be trained: leave it out by 'trainable', train an adapter, or write the file as a model directory
END
check "but its norms" train gpt2.norms base_model="$T/gpt2.gguf" trainable='*ln*' max_steps=2
case_ "replay has no dtype" 2 "$ZOFT" replay "$T/mixed-scales" --dtype bf16 --out "$T/dtype" <<'END'
zoft: --dtype has no effect: tensors keep the types of TMP/mixed.gguf
END
finish
