#!/bin/sh
# method: probe, the head in closed form: what it writes and reports, and what it refuses.
. tests/cli/lib.sh
set_="base_model=$DEMO/model num_train=200 compute=f32"
# probe OUT WORDS...
probe() {
  to=$1
  shift
  # shellcheck disable=SC2086
  "$ZOFT" train configs/demo.yaml $set_ method=probe output_dir="$T/$to" "$@"
}
probe a threads=1 >"$T/a.out" 2>"$T/a.err"
check "run.json names the method" grep -q '"method": "probe"' "$T/a/run.json"
check "run.json: what was chosen" grep -q '"probe": {"examples": 200, "left_out": 200, "passes": 13, "penalty": [0-9.e-]*, "relative_penalty"' "$T/a/run.json"
check "metrics.jsonl: the same" grep -q '"set": "leave-one-out", "examples": 200, ' "$T/a/metrics.jsonl"
check "one line with the numbers" sh -c "grep -c '^probe      leave-one-out accuracy [0-9.]* to [0-9.]* %, loss [0-9.]* to [0-9.]*; penalty .* logits .* own + .* ridge; 200 examples in 13 passes$' '$T/a.err' | grep -q '^1$'"
check "a tied embedding is told" grep -q 'the head shares its rows with the input embedding' "$T/a.err"
check "no log" test ! -e "$T/a/steps.log"
check "a rate without effect is told" grep -q '^warning: learning_rate has no effect: method is probe' "$T/a.err"
check "dev accuracy above 90 %" sh -c "sed -n 's/.*\"dev_end\": {.*\"accuracy\": \([0-9.]*\),.*/\1/p' '$T/a/run.json' | awk '{ exit !(\$1 > 0.9) }'"
check "the result is a model" "$ZOFT" eval configs/demo.yaml base_model="$T/a" --fail-under 0.9 -q >/dev/null
for words in "threads=2" "micro_batch_size=5" "streaming=true"; do
  probe b $words overwrite_output_dir=true -q >/dev/null
  check "$words: the same bits" cmp -s "$T/a/model.safetensors" "$T/b/model.safetensors"
done
cat >"$T/c.yaml" <<EOF
base_model: $DEMO/model
method: probe
num_train: 50
datasets: [{path: demo/train.jsonl, type: labels, prompt: "{text}", options: ["no", "yes"]}]
val_datasets: [{path: demo/dev.jsonl}]
EOF
check "labels, and no learning_rate" "$ZOFT" train "$T/c.yaml" output_dir="$T/labels" -q >/dev/null 2>&1
check "the new head is saved" "$ZOFT" eval "$T/c.yaml" base_model="$T/labels" --fail-under 0.6 -q >/dev/null
probe tokens adapter=tokens token_indices=[346,432] -q >/dev/null
check "an adapter's rows: the same accuracy" sh -c "sed -n 's/.*\"dev_end\": {\(.*\)}.*/\1/p' '$T/tokens/run.json' | grep -q '\"accuracy\": 1\|\"accuracy\": 0.9'"
check "the base is not written" test ! -e "$T/tokens/model.safetensors"

# A masked model, whose head has a bias.
masked_model
"$ZOFT" init "$T/roberta.json" --out "$T/roberta" --tokenizer "$T/tok" -q >/dev/null
sed 's/type: labels, prompt: "{text}", options: .*}/type: masked, prompt: "{text} I say{mask}.", options: [" No", " Yes"]}/; s/num_train: 50/num_train: 300/' "$T/c.yaml" >"$T/m.yaml"
"$ZOFT" train "$T/m.yaml" base_model="$T/roberta" output_dir="$T/masked" -q --json >"$T/masked.json" 2>/dev/null
check "masked, with a bias: the dev loss falls" perl -e '$_ = <STDIN>; /"dev_start": {.*?"loss": ([0-9.]+).*"dev_end": {.*?"loss": ([0-9.]+)/ or exit 1;
  exit !($2 < $1)' <"$T/masked.json"

check "--json: what was chosen" grep -q '"probe": {"examples": 300, ' "$T/masked.json"

case_ "options of several tokens" 2 sh -c "'$ZOFT' train '$T/c.yaml' output_dir='$T/d' datasets.0.type=classification datasets.0.prompt='{text} Would I' datasets.0.options='[\" hate it.\", \" recommend it!\"]' -q 2>&1 | sed 's/jsonl:[0-9]*:/jsonl:N:/'; exit 2" <<'EOF'
zoft: datasets/demo/train.jsonl:N: method probe needs options of one token each behind one prompt; one of these has several, or changes the prompt's last token
EOF
check "nothing is written then" test ! -e "$T/d"
"$ZOFT" train "$T/c.yaml" output_dir="$T/d" datasets.0.type=classification datasets.0.prompt='{text} Would I' datasets.0.options='[" hate it.", " recommend it!"]' -q >/dev/null 2>&1
check "with exit status 2" test $? = 2
case_ "texts" 2 "$ZOFT" train base_model=$DEMO/model method=probe datasets.0.path=demo/train.jsonl datasets.0.type=text output_dir="$T/d" -q <<'EOF'
zoft: method probe fits the head's rows of options: the data are of another type; expected classification, masked or labels
EOF
case_ "a head that is not trained" 2 "$ZOFT" train "$T/c.yaml" datasets.0.type=classification datasets.0.options='[" No", " Yes"]' adapter=lora output_dir="$T/d" -q <<'EOF'
zoft: method probe writes rows of the output head, and 'model.embed_tokens.weight' is not trained: add it to 'trainable', or use 'adapter: tokens' with the ids of the options
EOF
case_ "no resuming" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/d" --resume -q <<'EOF'
zoft: method probe writes no step log from which a run could be resumed or forked: only mezo does
EOF
case_ "sgd still needs a rate" 2 "$ZOFT" train "$T/c.yaml" method=sgd output_dir="$T/d" -q <<'EOF'
zoft: command line: method sgd needs a learning_rate: only zeroth-order methods find one by themselves
EOF
check "memory limit" sh -c "'$ZOFT' train '$T/c.yaml' memory_limit=3M output_dir='$T/d' -q 2>&1 | grep -q '^zoft: memory_limit is 3.00 MB and the run is forecast to need'"
check "dry run" sh -c "'$ZOFT' train '$T/c.yaml' output_dir='$T/d' --dry-run 2>&1 | grep -q '^one batch  loss .*; nothing was written'"
check "that wrote nothing" test ! -e "$T/d"
check "plan: it is in the table" sh -c "'$ZOFT' plan '$T/c.yaml' -o csv 2>/dev/null | grep -q '^probe,'"
check "plan: it is not, of texts" sh -c "! '$ZOFT' plan base_model=$DEMO/model -o csv 2>/dev/null | grep -q '^probe,'"

SHARED=../shared
[ -d "$SHARED" ] || SHARED=../../shared
if [ -d "$SHARED/models/llama-imdb-4.6m" ] && [ -d "$SHARED/datasets/sst2" ]; then
  "$ZOFT" train configs/sst2.yaml base_model="$SHARED/models/llama-imdb-4.6m" data_dir="$SHARED/datasets" method=probe \
    test_datasets=[] num_train=500 compute=f32 output_dir="$T/sst2" -q --json >"$T/sst2.json" 2>/dev/null
  check "SST-2: 5 points of dev accuracy and more" perl -e '$_ = <STDIN>; /"dev_start": {.*?"accuracy": ([0-9.]+).*"dev_end": {.*?"accuracy": ([0-9.]+)/ or exit 1;
    exit !($2 > $1 + 0.05)' <"$T/sst2.json"
else
  echo "SKIP SST-2: no $SHARED/models/llama-imdb-4.6m"
fi
finish
