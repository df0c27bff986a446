#!/bin/sh
# Heads of labels: a new one on a language model, several labels, numbers; what a row may not hold.
. tests/cli/lib.sh
cat >"$T/several.jsonl" <<'END'
{"text": "the cat sat", "label": ["cat", "mat"]}
{"text": "on the mat", "label": []}
{"text": "a dog", "label": ["dog"]}
{"text": "a cat and a dog", "label": ["cat", "dog"]}
END
cat >"$T/numbers.jsonl" <<'END'
{"text": "the cat sat", "label": 1.5}
{"text": "on the mat", "label": -2}
{"text": "a dog", "label": 0}
{"text": "a cat and a dog", "label": 3.25}
END
cat >"$T/several.yaml" <<END
base_model: $DEMO/model
output_dir: $T/several
sequence_len: 32
micro_batch_size: 2
max_steps: 2
learning_rate: 1e-4
datasets:
  - path: $T/several.jsonl
    type: labels
    problem_type: multi_label_classification
    prompt: "{text}"
    options: [the cat, a dog, a mat]
    labels: [cat, dog, mat]
val_datasets:
  - path: $T/several.jsonl
END
sed -e "s#several#numbers#; s/problem_type: .*/problem_type: regression/; /options:/d; /labels: \[/d" "$T/several.yaml" >"$T/numbers.yaml"

run() {
  "$ZOFT" train "$T/$1.yaml" threads=1 compute=f32 2>&1 | grep "new: \|^dev" | normal | sed 's/[0-9.]* %//g; s/-\{0,1\}[0-9]\.[0-9]*//g; s/  *$//'
}
case_ "several labels" 0 run several <<'END'
warning: datasets/demo/model: the head of 3 labels is new: 1 tensor made from seed 42
dev macro F1
dev micro F1
dev loss
END
case_ "a number" 0 run numbers <<'END'
warning: datasets/demo/model: the head of 1 label is new: 1 tensor made from seed 42
dev Pearson
dev Spearman
dev loss
END
for k in several numbers; do
  check "$k: the run is its log" sh -c '"$0" replay "$1" --verify 2>/dev/null | grep -q "^verified   1 "' "$ZOFT" "$T/$k"
  check "$k: the result says its problem" grep -q "problem_type" "$T/$k/config.json"
done
check "several: measures in JSON" sh -c '"$0" eval "$1" base_model="$2" --json 2>/dev/null | grep -q "\"f1_micro\": "' "$ZOFT" "$T/several.yaml" "$T/several"
check "numbers: measures in JSON" sh -c '"$0" eval "$1" base_model="$2" --json 2>/dev/null | grep -q "\"spearman\": "' "$ZOFT" "$T/numbers.yaml" "$T/numbers"
check "a result decides what its labels mean" sh -c 'grep -v problem_type "$1" >"$1.auto" && "$0" eval "$1.auto" base_model="$2" --json 2>/dev/null | grep -q "\"f1_micro\": "' "$ZOFT" "$T/several.yaml" "$T/several"

loss_of() { "$ZOFT" train "$@" threads=1 compute=f32 overwrite_output_dir=true 2>&1 | grep '^dev loss'; }
for k in several numbers; do
  check "$k: a stream is the held set" sh -c '[ -n "$0" ] && [ "$0" = "$1" ]' \
    "$(loss_of "$T/$k.yaml")" "$(loss_of "$T/$k.yaml" streaming=true output_dir="$T/stream")"
done
case_ "a branch with another seed" 3 "$ZOFT" train "$T/several.yaml" --fork "$T/several@1" seed=7 max_steps=3 output_dir="$T/b" threads=1 compute=f32 -q <<'END'
zoft: TMP/several/steps.log: the run began with a new head of 3 labels made from seed 42: keep both
END
check "several: a plan" sh -c '"$0" plan "$1" -o csv 2>/dev/null | grep -q "^inference,"' "$ZOFT" "$T/several.yaml"
check "validate shows the labels that hold" sh -c '[ "$("$0" validate "$1" | grep -c "<- right")" -ge 1 ]' "$ZOFT" "$T/several.yaml"
check "validate shows the number" sh -c '"$0" validate "$1" | grep -q "<- 3.25"' "$ZOFT" "$T/numbers.yaml"

case_ "accuracy of several labels" 2 "$ZOFT" train "$T/several.yaml" metric_for_best_model=accuracy overwrite_output_dir=true <<'END'
zoft: metric_for_best_model: multi_label_classification has only f1 and loss
END
sed "s/problem_type: .*/problem_type: regression/; s/several.jsonl/numbers.jsonl/; /options:/d; /labels: \[/d; s/regression/auto/" "$T/several.yaml" >"$T/none.yaml"
case_ "a new head without names" 2 "$ZOFT" train "$T/none.yaml" overwrite_output_dir=true <<'END'
zoft: datasets/demo/model: a new head of labels needs 'options': a name for each label
END
sed 's/problem_type: .*/problem_type: single_label_classification/' "$T/several.yaml" >"$T/one.yaml"
case_ "a list where one label is meant" 3 "$ZOFT" train "$T/one.yaml" overwrite_output_dir=true <<'END'
zoft: TMP/several.jsonl:3: field 'label': expected a text, integer or boolean, found an array
END
sed 's/type: labels/type: text/; /options:/d; /labels: \[/d' "$T/several.yaml" >"$T/text.yaml"
case_ "of another type" 2 "$ZOFT" validate "$T/text.yaml" <<'END'
zoft: TMP/text.yaml:10:19: 'problem_type' has no effect: only type labels has it
END
"$ZOFT" train "$T/several.yaml" overwrite_output_dir=true threads=1 compute=f32 >"$T/said" 2>/dev/null
check "next commands suit labels" sh -c 'grep -q "zoft inspect" "$1" && ! grep -q "zoft generate" "$1"' - "$T/said"
finish
