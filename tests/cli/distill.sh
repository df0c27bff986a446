#!/bin/sh
# Objective distill: the same bits in every way to run it, by zeroth-order steps and AdamW, over adapters and
# GGUF files; the teacher's file; what is refused.
. tests/cli/lib.sh

cat >"$T/x.yaml" <<END
base_model: $T/student
datasets: [{path: demo/train.jsonl, type: text, text: "{text}"}]
val_set_size: 16
num_train: 48
objective: distill
teacher: $DEMO/model
distill_top_k: 8
learning_rate: 1e-3
zo_eps: 1e-2
max_steps: 4
logging_steps: 1
eval_steps: 2
compute: f32
micro_batch_size: 8
END
sed -e 's/type: text.*}\]/type: classification, prompt: "{text} Would I recommend it?", options: [" No", " Yes"]}]/' \
  "$T/x.yaml" >"$T/c.yaml"

# train CONFIG OUT WORDS...
train() {
  config=$1 out=$2
  shift 2
  "$ZOFT" train "$T/$config.yaml" output_dir="$T/$out" -q --json "$@" >"$T/$out.json" 2>"$T/$out.err"
}
same() {
  for f in steps.log model.safetensors teacher.bin; do
    check "$1: same $f" cmp "$T/$2/$f" "$T/$3/$f"
  done
}
# every_way CONFIG NAME WORDS...: threads, split, resume and replay of a run have the same bits
every_way() {
  config=$1 way=$2
  shift 2
  check "$way" train "$config" "$way" threads=1 "$@"
  check "$way: two threads" train "$config" "$way-t" threads=2 "$@"
  same "$way, threads" "$way" "$way-t"
  check "$way: split" train "$config" "$way-s" micro_batch_size=2 gradient_accumulation_steps=4 "$@"
  same "$way, split" "$way" "$way-s"
  check "$way: half" train "$config" "$way-r" max_steps=2 "$@"
  check "$way: resumed without the teacher" train "$config" "$way-r" --resume "$@" teacher="$T/none"
  check "$way, resumed: same weights" cmp "$T/$way/model.safetensors" "$T/$way-r/model.safetensors"
  check "$way: replay" "$ZOFT" replay "$T/$way" --verify -q --out "$T/$way-w" >/dev/null
}
number() { sed -n "s/.*\"$2\": {[^}]*\"objective\": \([0-9.e-]*\).*/\1/p" "$T/$1.json"; }
less() { awk "BEGIN { exit !($1 < $2) }"; }

check "a student" sh -c "'$ZOFT' prune $DEMO/model '$T/student' --method magnitude --sparsity 0.6 --check none -q >/dev/null"
every_way x text
every_way c options
every_way x warm distill_temperature=2 objective_weight=0.5
check "no file is left beside" sh -c "! ls -A '$T' | grep -q '^\.teacher'"

check "AdamW" train x adamw method=adamw max_steps=12 distill_top_k=64
check "AdamW: nearer to the teacher" less "$(number adamw dev_best)" "0.8 * $(number adamw dev_start)"
check "AdamW, options" train c adamw-c method=adamw max_steps=12
check "AdamW, options: nearer" less "$(number adamw-c dev_best)" "0.8 * $(number adamw-c dev_start)"
check "the teacher itself" train x self base_model="$DEMO/model" max_steps=1
check "the teacher itself: no divergence" less "$(number self dev_start)" 1e-11

check "a rate of its own" train x rate learning_rate=auto max_steps=2
check "an adapter" train x lora adapter=lora max_steps=2
check "an adapter, resumed" train x lora adapter=lora max_steps=3 --resume
check "a run as the teacher" train x of-run teacher="$T/adamw" max_steps=1
check "an adapter as the teacher" train x of-lora teacher="$T/lora" max_steps=1
check "a GGUF file" sh -c "'$ZOFT' quantize $DEMO/model '$T/q.gguf' --type q4_0 --check none -q >/dev/null"
check "a GGUF file, its scales" train x scales base_model="$T/q.gguf" train_blocks=scales max_steps=2
check "a GGUF file as the teacher" train x of-gguf teacher="$T/q.gguf" max_steps=1
check "a file as the teacher" train x of-file teacher="$T/text/teacher.bin"
check "a file: the same run" cmp "$T/text/steps.log" "$T/of-file/steps.log"
check "a file: no copy of it" test ! -e "$T/of-file/teacher.bin"
check "dry run" train x dry --dry-run
check "dry run: nothing is written" test ! -e "$T/dry"
check "validate reads the file alone" "$ZOFT" validate "$T/x.yaml" -q >/dev/null
check "plan" "$ZOFT" plan "$T/x.yaml" -q >/dev/null

# fails NAME STATUS PATTERN WORDS...
fails() {
  name=$1 want=$2 pattern=$3
  shift 3
  train x bad overwrite_output_dir=true "$@"
  check "$name: status" test $? = "$want"
  check "$name: message" grep -q -- "$pattern" "$T/bad.err"
}
cp -r "$DEMO/model" "$T/other"
perl -pi -e 's/<\|endoftext\|>/<|end|>/g' "$T"/other/tokenizer*.json
fails "another vocabulary" 2 "teacher: expected the vocabulary of $T/student, whose token 0 is '<|endoftext|>'; in $T/other it is '<|end|>'" teacher="$T/other"
fails "another size" 2 "which has [0-9]* tokens; tests/golden/families/llama has" teacher=tests/golden/families/llama
fails "other data" 3 "expected predictions for training examples of hash" teacher="$T/text/teacher.bin" num_train=40
fails "another number" 2 "'distill_top_k' is 9, and the predictions in .* were made with 8" teacher="$T/text/teacher.bin" distill_top_k=9
head -c 5000 "$T/text/teacher.bin" >"$T/cut.bin"
fails "a file that is cut" 3 "cut.bin: expected [0-9]* rows of 68 bytes and 4 more" teacher="$T/cut.bin"
cp "$T/text/teacher.bin" "$T/bent.bin"
printf 'x' | dd of="$T/bent.bin" bs=1 seek=3000 conv=notrunc 2>/dev/null
fails "a damaged file" 3 "bent.bin: is damaged" teacher="$T/bent.bin"
fails "streaming" 2 "objective distill needs all examples in memory" streaming=true
fails "no data of pairs" 2 "objective distill suits data of type" "datasets.0.type=preference" 'datasets.0.prompt={text}' 'datasets.0.options=[" a"," b"]' datasets.0.text=null
cp "$T/warm/teacher.bin" "$T/text-r/teacher.bin"
train x text-r --resume max_steps=6 teacher="$T/none"
check "a resumed run keeps its teacher" test $? = 3
check "a resumed run keeps its teacher: message" grep -q "the run began with data files and a teacher's predictions of hash" "$T/text-r.err"
finish
