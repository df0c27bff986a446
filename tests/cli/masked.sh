#!/bin/sh
# Masked models and heads of labels: trained, scored, saved, and refused what they cannot do.
. tests/cli/lib.sh

masked_model
sed 's/ForMaskedLM/ForSequenceClassification/' "$T/roberta.json" >"$T/encoder.json"
cat >"$T/llama.json" <<'EOF'
{"architectures": ["LlamaForSequenceClassification"], "model_type": "llama", "vocab_size": 1025, "hidden_size": 32,
 "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 96,
 "initializer_range": 0.1, "id2label": {"0": "bad", "1": "good"}}
EOF
for m in roberta encoder llama; do
  check "init $m" "$ZOFT" init "$T/$m.json" --out "$T/$m" --tokenizer "$T/tok" -q >/dev/null
done

cat >"$T/words.yaml" <<EOF
base_model: $T/roberta
datasets: [{path: demo/train.jsonl, type: masked, prompt: "{text} I say{mask}.", options: [" No", " Yes"]}]
val_datasets: [{path: demo/dev.jsonl}]
micro_batch_size: 16
threads: 1
compute: f32
logging_steps: 1
learning_rate: 2e-3
EOF
sed 's/type: masked/type: labels/; s/ I say{mask}.//; s/" No", " Yes"/bad, good/' "$T/words.yaml" >"$T/labels.yaml"

# learns NAME CONFIG MODEL: by backpropagation; and MeZO's two evaluations run.
learns() {
  "$ZOFT" train "$T/$2.yaml" base_model="$T/$3" output_dir="$T/$1" method=adamw max_steps=120 \
    eval_steps=120 -q >"$T/$1.log" 2>&1
  "$ZOFT" eval "$T/$2.yaml" base_model="$T/$1" --fail-under 0.65 -q >"$T/$1.log" 2>&1
  check "$1: two thirds of the dev set are right" test $? = 0
  for n in 1 2; do
    "$ZOFT" train "$T/$2.yaml" base_model="$T/$1" output_dir="$T/$1$n" max_steps=3 eval_steps=never \
      learning_rate=1e-4 threads=$n micro_batch_size=$((16 / n)) gradient_accumulation_steps=$n -q >"$T/$1.log" 2>&1
  done
  check "$1: MeZO, the same bits in micro-batches and threads" cmp -s "$T/${1}1/model.safetensors" "$T/${1}2/model.safetensors"
}
learns masked words roberta
learns encoded labels encoder
learns causal labels llama

case_ "a masked model and classification" 2 "$ZOFT" eval configs/demo.yaml base_model="$T/roberta" -q <<'EOF'
zoft: TMP/roberta: the model has a masked head: its data are of type masked
EOF
case_ "a causal model and masks" 2 "$ZOFT" eval "$T/words.yaml" base_model=$DEMO/model -q <<'EOF'
zoft: the tokenizer has no mask token (<mask> or [MASK])
EOF
case_ "nothing is generated" 2 "$ZOFT" generate "$T/roberta" --prompt a -q <<'EOF'
zoft: TMP/roberta: the model has a masked head: only a causal language model continues a text
EOF
case_ "nor talked with" 2 "$ZOFT" chat "$T/roberta" --chat-template chatml -q <<'EOF'
zoft: TMP/roberta: the model has a masked head: only a causal language model continues a text
EOF
sed 's/ Yes/ Yesterday/' "$T/words.yaml" >"$T/two.yaml"
case_ "a word of two tokens" 2 "$ZOFT" eval "$T/two.yaml" -q <<'EOF'
zoft: options[1]: ' Yesterday' is 3 tokens; a masked word is one
EOF
sed 's/bad, good/bad, good, fair/' "$T/labels.yaml" >"$T/three.yaml"
case_ "options and labels" 2 "$ZOFT" eval "$T/three.yaml" base_model="$T/llama" -q <<'EOF'
zoft: TMP/llama: the model's head has 2 labels, 'options' names 3
EOF
finish
