#!/bin/sh
# Adapters: a run writes nothing of the base, resumes and replays to the same bits; scores, merge, export,
# inspect; what a user is told when something does not fit.
. tests/cli/lib.sh
BASE=$DEMO/model

# A short run with scores and keyframes every few steps.
conf() {
  sed -e "s|^output_dir:.*||; s|^overwrite_output_dir:.*||; s|^max_steps:.*|max_steps: 24|" \
    -e "s|^eval_steps:.*|eval_steps: 8|; s|^compute:.*|compute: f32|; s|^learning_rate:.*|learning_rate: 1e-2|" \
    -e "s|^base_model:.*|base_model: $PWD/$BASE|; s|^load_best_model_at_end:.*|load_best_model_at_end: false|" \
    configs/demo.yaml
  printf 'num_train: 64\nnum_eval: 40\nkeyframe_steps: 5\ndata_dir: %s/datasets\n' "$PWD"
}
conf >"$T/c.yaml"
train() {
  out=$1
  shift
  "$ZOFT" train "$T/c.yaml" output_dir="$T/$out" -q --json "$@" >"$T/$out.json" 2>"$T/$out.err"
}
begun() {
  for _ in $(seq 300); do
    grep -q "\"step\": $2," "$T/$1/metrics.jsonl" 2>/dev/null && return
    perl -e 'select(undef, undef, undef, 0.02)'
  done
}
same() {
  for f in steps.log adapter_model.safetensors; do
    check "$1: same $f" cmp "$T/$2/$f" "$T/$3/$f"
  done
}
# scores WORDS...: log-probabilities of the text
printf 'the film was good\na dull story\n' >"$T/text.txt"
scores() { "$ZOFT" score "$@" --text "$T/text.txt" --json | sed 's/.*"logprobs"/"logprobs"/'; }

# near A B [N]: more than N numbers, none of which differs by more than 1e-5
near() { perl -e 'my $n = pop; my @v; for (@ARGV) { open F, $_; local $/; my $t = <F>; push @v, [$t =~ /(-?\d+\.\d+(?:e-?\d+)?)/g]; }
  my $d = 0; for (0 .. $#{$v[0]}) { my $x = abs($v[0][$_] - $v[1][$_]); $d = $x if $x > $d; }
  exit !(@{$v[0]} == @{$v[1]} && @{$v[0]} > $n && $d < 1e-5);' "$1" "$2" "${3:-3}"; }

# --- a run of each kind ---

kinds="b ab eva example adam ia3"
words_of() {
  case $1 in
  b) echo adapter=lora ;;
  ab) echo adapter=lora lora_train=ab lora_r=4 use_rslora=true ;;
  eva) echo adapter=lora init_lora_weights=eva ;;
  example) echo adapter=lora zo_directions=example ;;
  adam) echo adapter=lora zo_optimizer=adam learning_rate=1e-3 lora_target_modules=all-linear ;;
  ia3) echo adapter=ia3 ;;
  esac
}
scores "$BASE" >"$T/plain"
for kind in $kinds; do
  words=$(words_of $kind)
  # shellcheck disable=SC2086
  check "$kind: a run" train $kind $words
  check "$kind: an adapter" [ -f "$T/$kind/adapter_model.safetensors" ]
  check "$kind: nothing of the base" sh -c "! ls '$T/$kind' '$T/$kind/checkpoints'/* | grep -E '^model|^tokenizer|^config.json'"
  check "$kind: small" sh -c "[ \$(wc -c <'$T/$kind/adapter_model.safetensors') -lt 200000 ]"
  scores "$T/$kind" >"$T/now"
  check "$kind: it changes scores" sh -c "! cmp -s '$T/plain' '$T/now'"

  cp -r "$T/$kind" "$T/torn"
  perl -e 'truncate $ARGV[0], (-s $ARGV[0]) - 500' "$T/torn/steps.log"
  rm "$T/torn/adapter_model.safetensors"
  # shellcheck disable=SC2086
  check "$kind: resumed, other micro-batches and threads" train torn $words --resume micro_batch_size=4 gradient_accumulation_steps=4 threads=1
  same "$kind: resumed" $kind torn
  rm -r "$T/torn"

  # shellcheck disable=SC2086
  "$ZOFT" train "$T/c.yaml" output_dir="$T/killed" $words -q 2>/dev/null >/dev/null &
  pid=$!
  begun killed 10
  kill -9 $pid 2>/dev/null
  wait $pid 2>/dev/null
  # shellcheck disable=SC2086
  check "$kind: kill -9 and resume" train killed $words --resume
  same "$kind: killed" $kind killed
  rm -r "$T/killed"

  check "$kind: replay --verify" sh -c "'$ZOFT' replay '$T/$kind' --verify -q >/dev/null"
  check "$kind: replay --out" sh -c "'$ZOFT' replay '$T/$kind' --out '$T/made' -q >/dev/null"
  check "$kind: replayed" cmp "$T/$kind/adapter_model.safetensors" "$T/made/adapter_model.safetensors"
  check "$kind: apply --start" sh -c "cp '$T/$kind/steps.log' '$T/alone.log' &&
    '$ZOFT' apply '$T/alone.log' '$BASE' --start '$T/$kind/checkpoints/start' --out '$T/applied' -q >/dev/null"
  check "$kind: applied" cmp "$T/$kind/adapter_model.safetensors" "$T/applied/adapter_model.safetensors"
  rm -r "$T/made" "$T/applied"
done

# The other kinds: a run, its replay, and what it says of itself.
light() {
  kind=$1
  shift
  check "$kind: a run" train "$kind" max_steps=8 "$@"
  check "$kind: replay --verify" sh -c "'$ZOFT' replay '$T/$kind' --verify -q >/dev/null"
  check "$kind: inspect" sh -c "'$ZOFT' inspect '$T/$kind' | grep -q '^checks .*a module of the base'"
  check "$kind: score" sh -c "'$ZOFT' score '$T/$kind' --text '$T/text.txt' >/dev/null"
}
light dora adapter=lora use_dora=true
light vera adapter=vera
light ln adapter=ln
light tokens adapter=tokens token_indices=[5,6]
light prompt adapter=prompt
light prefix adapter=prefix
for kind in dora vera ln tokens; do
  check "$kind: merge" sh -c "'$ZOFT' merge '$BASE' '$T/$kind' '$T/folded' --dtype f32 --max-diff 1e-4 >/dev/null"
  rm -r "$T/folded"
done

# A head of labels is part of the adapter, and of the merged model.
cat >"$T/labels.yaml" <<END
base_model: $BASE
sequence_len: 32
learning_rate: 1e-2
compute: f32
adapter: lora
datasets:
  - path: $T/labels.jsonl
    type: labels
    prompt: "{text}"
    options: [cat, dog, mat]
val_datasets:
  - path: $T/labels.jsonl
END
printf '{"text": "the cat sat", "label": 0}\n{"text": "a dog", "label": 1}\n{"text": "on the mat", "label": 2}\n' >"$T/labels.jsonl"
check "labels: a run" sh -c "'$ZOFT' train '$T/labels.yaml' output_dir='$T/labels' max_steps=3 micro_batch_size=3 -q >/dev/null 2>&1"
check "labels: inspect" sh -c "'$ZOFT' inspect '$T/labels' | grep -q '^score  *1  *-  *192$'"
check "labels: merge" sh -c "'$ZOFT' merge '$BASE' '$T/labels' '$T/folded' --dtype f32 --max-diff 1e-4 >/dev/null 2>&1"
guess() { "$ZOFT" eval "$T/labels.yaml" "$@" --json 2>/dev/null | sed 's/.*"dev"/"dev"/; s/"accuracy.*//'; }
guess base_model="$T/labels" adapter=none >"$T/whole"
guess base_model="$T/folded" adapter=none >"$T/now"
check "labels: the merged loss" near "$T/whole" "$T/now" 0

check "fork" sh -c "'$ZOFT' train '$T/c.yaml' adapter=lora output_dir='$T/branch' --fork '$T/b@12' learning_rate=1e-3 -q >/dev/null"
check "fork: an adapter of its own" sh -c "! cmp -s '$T/b/adapter_model.safetensors' '$T/branch/adapter_model.safetensors'"

# --- use ---

check "another directory: score" sh -c "cd / && '$PWD/$ZOFT' score '$T/b' --text '$T/text.txt' >/dev/null"
check "another directory: eval" sh -c "cd / && '$PWD/$ZOFT' eval '$T/b' --json >'$T/eval.json'"
check "another directory: predict" sh -c "cd / && '$PWD/$ZOFT' predict '$T/b' 'a dull film' >/dev/null"
check "another directory: generate" sh -c "cd / && '$PWD/$ZOFT' generate '$T/b' --prompt 'the film' --max-new-tokens 4 >/dev/null"
loss=$(grep '"dev_loss"' "$T/b/metrics.jsonl" | tail -n 1 | sed 's/.*"dev_loss": \([0-9.]*\).*/\1/')
check "eval gives the loss of the run" grep -q "\"loss\": $loss" "$T/eval.json"

check "a second run goes on from the first" train second adapter="$T/b"
"$ZOFT" eval "$T/second" --json >"$T/eval.json"
loss=$(grep '"dev_loss"' "$T/second/metrics.jsonl" | tail -n 1 | sed 's/.*"dev_loss": \([0-9.]*\).*/\1/')
check "its result counts the first once" grep -q "\"loss\": $loss" "$T/eval.json"

scores "$BASE" --adapter "$T/b" >"$T/now"
scores "$T/b" >"$T/whole"
check "--adapter is the run" cmp "$T/whole" "$T/now"
scores "$BASE" --adapter x="$T/b":0 >"$T/now"
check "weight 0 is the base" cmp "$T/plain" "$T/now"
scores "$BASE" --adapter x="$T/b":0.5 --adapter y="$T/b":0.25 --adapter "$T/b":0.25 >"$T/now"
check "weights that add up to 1 are the whole" near "$T/whole" "$T/now"
check "... and apart from the base" sh -c "! cmp -s '$T/plain' '$T/now'"
scores "$BASE" --adapter "$T/ab" --adapter "$T/eva" >"$T/both"
check "eval with --adapter" sh -c "'$ZOFT' eval '$T/c.yaml' --adapter '$T/b' --json >/dev/null"
check "predict with --adapter" sh -c "'$ZOFT' predict '$T/b' 'a film' --adapter '$T/ab' | grep -q '^with   $T/b + $T/ab'"
check "plan" sh -c "'$ZOFT' plan '$T/c.yaml' adapter=lora --json | grep -q adapter_bytes"
check "bench step" sh -c "'$ZOFT' bench step base_model='$BASE' adapter='$T/b' --repeat 1 --json 2>/dev/null | grep -q step_ms"

# --- merge ---

check "merge" sh -c "'$ZOFT' merge '$BASE' '$T/b' '$T/merged' --dtype f32 --max-diff 1e-4 --json >'$T/merge.json'"
scores "$T/merged" >"$T/now"
check "merged scores" near "$T/whole" "$T/now"
check "its tokenizer" cmp "$BASE/tokenizer.json" "$T/merged/tokenizer.json"
check "merge says how far it moved" grep -q '"merged_from_base": {"largest": [0-9.e-]*[1-9]' "$T/merge.json"
check "stacked" sh -c "'$ZOFT' merge '$BASE' '$T/stacked' --adapter '$T/ab' --adapter e='$T/eva' --dtype f32 --verify none >/dev/null"
scores "$T/stacked" >"$T/now"
check "stacked scores" near "$T/both" "$T/now"
check "merged as stored" sh -c "'$ZOFT' merge '$BASE' '$T/ia3' '$T/narrow' --verify '$T/text.txt' >/dev/null"
check "its dtype" grep -q '"bfloat16"' "$T/narrow/config.json"
case_ "merge: taken" 2 "$ZOFT" merge "$BASE" "$T/b" "$T/merged" <<'END'
zoft: TMP/merged is not empty: name a directory that is, or none
END
case_ "merge: words" 2 "$ZOFT" merge "$BASE" "$T/new" <<'END'
zoft: expected: zoft merge BASE ADAPTER OUT, or BASE OUT and --adapter
END
case_ "merge: an adapter as base" 2 "$ZOFT" merge "$T/b" "$BASE" "$T/new" <<'END'
zoft: TMP/b: is an adapter: name its base model first, then the adapter
END
"$ZOFT" merge "$BASE" "$T/b" "$T/gate" --max-diff 1e-6 --dtype bf16 >/dev/null 2>"$T/said"
check "merge: the gate" [ $? = 5 ]
check "merge: the gate says why" grep -q 'more than --max-diff' "$T/said"
check "merge: the gate leaves nothing" sh -c "! ls '$T' | grep -q '^gate'"
sh -c 'trap "" XFSZ; ulimit -f 8; "$@"' - "$ZOFT" merge "$BASE" "$T/b" "$T/full" 2>"$T/said"
check "merge: no room" [ $? = 1 ]
check "merge: no room, nothing is left" sh -c "! ls '$T' | grep -q '^full'"
cp -r tests/golden/adapters/llama "$T/tiny"
cp "$BASE"/tokenizer* "$T/tiny/base"
case_ "merge: a prompt" 2 "$ZOFT" merge "$T/tiny/base" "$T/tiny/prompt" "$T/new" --verify none <<'END'
zoft: TMP/tiny/prompt: a prompt is rows in front of every text, which no weight can hold: it cannot be merged; apply it by --adapter
END
check "merge: a prompt, nothing is left" sh -c "! ls '$T' | grep -q '^new'"
for _ in $(seq 4000); do cat "$T/text.txt"; done >"$T/long.txt"
"$ZOFT" merge "$BASE" "$T/b" "$T/stopped" --verify "$T/long.txt" >/dev/null 2>"$T/said" &
pid=$!
for _ in $(seq 300); do
  [ -n "$(find "$T" -maxdepth 1 -name 'stopped*')" ] && break
  perl -e 'select(undef, undef, undef, 0.01)'
done
kill -INT $pid
wait $pid
check "merge: interrupted" [ $? = 130 ]
check "merge: interrupted, nothing is left" sh -c "! ls '$T' | grep -q '^stopped'"

# --- export, inspect ---

check "export to GGUF" sh -c "'$ZOFT' export '$T/ab' --to '$T/ab.gguf' >/dev/null"
check "export to MLX" sh -c "'$ZOFT' export '$T/ab.gguf' --to '$T/mlx' --format mlx >/dev/null"
check "export to PEFT" sh -c "'$ZOFT' export '$T/mlx' --to '$T/peft' >/dev/null"
scores "$T/ab" >"$T/whole"
for f in ab.gguf mlx peft; do
  scores "$T/$f" >"$T/now"
  check "round trip: $f" near "$T/whole" "$T/now"
done
case_ "export: taken" 2 "$ZOFT" export "$T/ab" --to "$T/ab.gguf" <<'END'
zoft: TMP/ab.gguf exists: name a file that does not
END
case_ "export: a name" 2 "$ZOFT" export "$T/ab" --to "$T/x" --format gguf <<'END'
zoft: --to TMP/x: the name of a GGUF file ends in .gguf
END
case_ "export: a kind that the format lacks" 2 "$ZOFT" export "$T/ia3" --to "$T/x.gguf" <<'END'
zoft: TMP/ia3: GGUF adapters are LoRA alone, this one is IA3
END
check "export: nothing is left" [ ! -e "$T/x.gguf" ]

check "inspect" sh -c "'$ZOFT' inspect '$T/ab.gguf' >'$T/shown'"
check "inspect: format" grep -q '^format  *GGUF$' "$T/shown"
check "inspect: rank" grep -q '^q_proj  *4  *4  *2048$' "$T/shown"
hash=$("$ZOFT" inspect "$T/b" --json | sed 's/.*"hash": "\([0-9a-f]*\)".*/\1/')
check "inspect: the hash of the log" sh -c "'$ZOFT' log show '$T/b' | grep -q $hash"
case_ "inspect: another base" 3 "$ZOFT" inspect "$T/b" --base tests/golden/gguf/qwen2.gguf --json <<'END'
zoft: TMP/b: 'lora_A' of model.layers.0.self_attn.q_proj is [8, 64], where this base model needs [8, 32]: the adapter belongs to another base
END

# --- what does not fit ---

case_ "an unknown target" 2 "$ZOFT" train "$T/c.yaml" base_model="$BASE" adapter=lora lora_target_modules=q_porj output_dir="$T/x" -q <<'END'
zoft: lora_target_modules: 'q_porj' matches no module of datasets/demo/model; did you mean 'q_proj'? (there are embed_tokens, q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)
END
case_ "a key without adapter" 2 "$ZOFT" train "$T/c.yaml" lora_r=4 output_dir="$T/x" -q <<'END'
zoft: command line: 'lora_r' has no effect without 'adapter'
END
cp -r "$T/b" "$T/lost"
sed -i.old 's|"base_model_name_or_path": ".*"|"base_model_name_or_path": "nobody/nothing"|' "$T/lost/adapter_config.json"
case_ "a missing base" 2 "$ZOFT" score "$T/lost" --text "$T/text.txt" <<'END'
zoft: TMP/lost: is an adapter of the base model 'nobody/nothing', which is not there: give the base model, and the adapter by --adapter (adapter: in a config)
END
check "inspect without its base" sh -c "'$ZOFT' inspect '$T/lost' | grep -q '^base_found  *no'"
case_ "no such adapter" 2 "$ZOFT" score "$BASE" --adapter "$T/nowhere" --text "$T/text.txt" <<'END'
zoft: TMP/nowhere: no such adapter
END
case_ "weight of a kind that has none" 2 "$ZOFT" score "$BASE" --adapter "$T/ia3":0.5 --text "$T/text.txt" <<'END'
zoft: TMP/ia3: 'ia3_l' of model.layers.0.mlp.down_proj is applied with weight 1 alone: it replaces or multiplies
END
finish
