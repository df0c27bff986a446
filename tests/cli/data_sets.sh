#!/bin/sh
# Data sets of a run: compressed files, streaming, weights, copies, fields of other names.
. tests/cli/lib.sh

head -n 60 $DEMO/dev.jsonl >"$T/dev.jsonl"
run() { # run NAME key=value...: the demo's settings, shortly
  name=$1
  shift
  "$ZOFT" train configs/demo.yaml output_dir="$T/$name" max_steps=12 eval_steps=6 num_train=300 compute=f32 threads=1 \
    micro_batch_size=4 gradient_accumulation_steps=2 zo_probes=2 num_eval=40 val_datasets.0.path="$T/dev.jsonl" "$@" >"$T/$name.out" 2>&1 || {
    echo "run $name failed"
    tail -n 3 "$T/$name.out"
  }
}
weights() { "$ZOFT" inspect "$T/$1" --json | sed 's/.*"hash": "\([0-9a-f]*\)".*/\1/'; }
same() { cmp -s "$T/$1/steps.log" "$T/$2/steps.log" && [ "$(weights "$1")" = "$(weights "$2")" ]; }
scores() { sed 's/"seconds": [0-9.]*, //; s/"joules": [0-9.]*, //; s/"tokens_per_s.*//' "$T/$1/metrics.jsonl"; }

# --- streaming: the same run ---
run held
run streamed streaming=true
check "streaming: the same log and weights" same held streamed
check "streaming: the same scores" [ "$(scores held)" = "$(scores streamed)" ]
run part streaming=true max_steps=7
"$ZOFT" train "$T/part/config.yaml" --resume max_steps=12 streaming=false -q >/dev/null 2>&1
check "streaming: begun with it, ended without" same held part
run part2 max_steps=5
"$ZOFT" train "$T/part2/config.yaml" --resume max_steps=12 streaming=true -q >/dev/null 2>&1
check "streaming: begun without it, ended with" same held part2
run split_held val_datasets='[]' val_set_size=60
run split_streamed val_datasets='[]' val_set_size=60 streaming=true
check "streaming: dev rows of the training file" same split_held split_streamed
check "streaming: their scores" [ "$(scores split_held)" = "$(scores split_streamed)" ]
run adam_held method=adamw
run adam_streamed method=adamw streaming=true
check "streaming: backpropagation" [ "$(weights adam_held)" = "$(weights adam_streamed)" ]
case_ "streaming and split" 2 "$ZOFT" train configs/demo.yaml streaming=true excess_length_strategy=split <<'END'
zoft: command line: 'streaming' cannot be used with excess_length_strategy split: the parts of each text would have to be counted before the first step
END

# --- streaming: rows that give no example make their batch smaller ---
perl -e 'for (1..40) { my $long = $_ % 4 == 0 ? " and the food was good" x 40 : ""; print "{\"text\": \"the food was $_$long\"}\n" }' >"$T/long.jsonl"
set_="base_model=$DEMO/model learning_rate=1e-3 threads=1 max_steps=10 micro_batch_size=4 datasets.0.path=$T/long.jsonl datasets.0.type=text eval_steps=never"
"$ZOFT" train $set_ streaming=true excess_length_strategy=drop output_dir="$T/drop" >"$T/drop.out" 2>&1
check "dropped rows are counted at the end" grep -q "training: 10 of 40 examples were longer than sequence_len and are left out" "$T/drop.out"
check "the step log has all steps" grep -q "^steps  *10$" "$T/drop.out"
check "and can be replayed" sh -c "'$ZOFT' replay '$T/drop' --verify >/dev/null 2>&1"
"$ZOFT" train $set_ excess_length_strategy=drop output_dir="$T/drop2" max_steps=5 >/dev/null 2>&1
"$ZOFT" train "$T/drop2/config.yaml" --resume max_steps=10 streaming=true >"$T/.got" 2>&1
check "a run with dropped rows does not change to streaming" [ $? = 3 ]
perl -e 'for (1..8) { print "{\"text\": \"", " and the food was good" x 40, "\"}\n" }' >"$T/alllong.jsonl"
"$ZOFT" train $set_ streaming=true excess_length_strategy=drop output_dir="$T/drop3" max_steps=3 datasets.0.path="$T/alllong.jsonl" >"$T/drop3.out" 2>&1
check "batches without an example are counted" grep -q "training: 3 batches had no example left" "$T/drop3.out"
"$ZOFT" validate $set_ streaming=true datasets.0.path="$T/long.jsonl" --json >"$T/v1" 2>/dev/null
"$ZOFT" validate $set_ datasets.0.path="$T/long.jsonl" --json >"$T/v2" 2>/dev/null
check "validate counts a stream as it counts a set" [ "$(sed 's/"forecast_bytes": [0-9]*//' "$T/v1")" = "$(sed 's/"forecast_bytes": [0-9]*//' "$T/v2")" ]

# --- compressed files: the same run, of another data hash ---
for z in gz zst; do
  pack=gzip; [ $z = gz ] || pack="zstd -q"
  if ! command -v ${pack%% *} >/dev/null; then
    echo "SKIP $z: no ${pack%% *}"
    continue
  fi
  $pack -c $DEMO/train.jsonl >"$T/train.jsonl.$z"
  run "packed_$z" datasets.0.path="$T/train.jsonl.$z"
  check "$z: the same weights" [ "$(weights held)" = "$(weights "packed_$z")" ]
  head -c 300 "$T/train.jsonl.$z" >"$T/cut.jsonl.$z"
  case_ "$z: cut off" 3 "$ZOFT" inspect "$T/cut.jsonl.$z" <<END
zoft: TMP/cut.jsonl.$z: byte 300: the stream ends before its end: the file is cut off
END
  cp $DEMO/dev.jsonl "$T/plain.jsonl.$z"
  named=gzip; [ $z = gz ] || named=Zstandard
  case_ "$z: not compressed" 3 "$ZOFT" inspect "$T/plain.jsonl.$z" <<END
zoft: TMP/plain.jsonl.$z: is not $named data, although its name says so
END
  (cat "$T/train.jsonl.$z"; printf 'more') >"$T/more.jsonl.$z"
  case_ "$z: something behind" 3 "$ZOFT" inspect "$T/more.jsonl.$z" <<END
zoft: TMP/more.jsonl.$z: byte $(wc -c <"$T/train.jsonl.$z" | tr -d ' '): the $named data end and something else follows
END
  cat "$T/train.jsonl.$z" "$T/train.jsonl.$z" >"$T/two.jsonl.$z"
  case_ "$z: two streams" 0 "$ZOFT" inspect "$T/two.jsonl.$z" <<END
kind         data
rows         2000
fields       text, label
END
done

# --- weights ---
perl -e 'print "{\"text\": \"the food was good $_\"}\n" for 1..60' >"$T/a.jsonl"
perl -e 'print "{\"text\": \"the waiter was bad $_\"}\n" for 1..20' >"$T/b.jsonl"
two="base_model=$DEMO/model learning_rate=1e-3 threads=1 micro_batch_size=4 datasets.0.path=$T/a.jsonl datasets.0.type=text datasets.1.path=$T/b.jsonl"
case_ "a weight for one of two" 2 "$ZOFT" validate $two datasets.1.weight=2 <<'END'
zoft: command line: either every entry of datasets has a 'weight' or none: this one has, the first has not
END
case_ "a weight of nothing" 2 "$ZOFT" validate $two datasets.0.weight=0 datasets.1.weight=2 <<'END'
zoft: command line: 'datasets.0.weight' must be between 1e-09 and 1000000000, found 0
END
case_ "a weight of a dev set" 2 "$ZOFT" validate $two val_datasets.0.path="$T/b.jsonl" val_datasets.0.weight=2 <<'END'
zoft: command line: 'weight' has no effect: every row of val_datasets is scored once
END
wrun() {
  name=$1
  shift
  "$ZOFT" train $two max_steps=8 eval_steps=never output_dir="$T/$name" "$@" >/dev/null 2>&1
}
wrun w_held datasets.0.weight=1 datasets.1.weight=3
wrun w_streamed datasets.0.weight=1 datasets.1.weight=3 streaming=true
wrun w_none
check "weights: held and streamed are one run" same w_held w_streamed
check "weights change the run" [ "$(weights w_held)" != "$(weights w_none)" ]

# --- copies ---
{ cat "$T/a.jsonl"; sed -n '3p;5p' "$T/a.jsonl"; } >"$T/twice.jsonl"
sed -n '7,9p' "$T/a.jsonl" >"$T/leak.jsonl"
copies="base_model=$DEMO/model learning_rate=1e-3 threads=1 micro_batch_size=4 max_steps=2 datasets.0.path=$T/twice.jsonl datasets.0.type=text test_datasets.0.path=$T/leak.jsonl output_dir=$T/copies"
"$ZOFT" validate $copies -n 0 2>"$T/said" >/dev/null
case_ "copies are told" 0 cat "$T/said" <<'END'
warning: training: 2 examples are the same as an earlier one: first TMP/twice.jsonl:61 as TMP/twice.jsonl:3
warning: training: 3 examples are the same as a test example: first TMP/twice.jsonl:7 as TMP/leak.jsonl:1
END
"$ZOFT" validate $copies -n 0 streaming=true 2>"$T/said2" >/dev/null
check "copies in a stream" cmp "$T/said" "$T/said2"
for s in false true; do
  "$ZOFT" validate $copies streaming=$s dataset_exact_deduplication=true --json >"$T/v" 2>"$T/said"
  check "copies are left out (streaming=$s)" grep -q '"train": {"rows": [0-9]*, "examples": 57, .*"test": {"rows": 3, "examples": 3,.*"copies": {"train": 2, "dev": 0, "test": 3}' "$T/v"
  check "which is said (streaming=$s)" grep -q 'twice.jsonl:3: left out' "$T/said"
done
cp "$T/leak.jsonl" "$T/leak2.jsonl"
case_ "nothing is left" 2 "$ZOFT" validate $copies datasets.0.path="$T/leak2.jsonl" dataset_exact_deduplication=true <<'END'
zoft: dataset_exact_deduplication leaves nothing to train on: every row is also in a dev or test set
END

# --- fields of other names ---
cat >"$T/qa.jsonl" <<'END'
{"question": "the food", "answer": " was good", "note": "be kind"}
{"question": "the waiter", "answer": " was bad", "more": "and cold"}
END
qa="base_model=$DEMO/model learning_rate=1e-3 datasets.0.path=$T/qa.jsonl datasets.0.type=alpaca datasets.0.field_instruction=question datasets.0.field_output=answer"
"$ZOFT" validate $qa datasets.0.format="Q: {instruction} A:" datasets.0.system_prompt="Say. " -n 2 >"$T/shown" 2>&1
check "a format" grep -q "Say. Q: the food A:« was good" "$T/shown"
case_ "a field that is not there" 3 "$ZOFT" validate $qa datasets.0.field_output=anwser <<'END'
zoft: TMP/qa.jsonl:1: field 'anwser' is missing: the row has 'answer'
END
case_ "of a row without it" 3 "$ZOFT" validate $qa datasets.0.field_input=context <<'END'
zoft: TMP/qa.jsonl:1: field 'context' is missing: the row has 'question', 'answer', 'note'
END
case_ "of another type" 2 "$ZOFT" validate $qa datasets.0.field_messages=talk <<'END'
zoft: command line: 'field_messages' has no effect: only type chat has it
END
case_ "no format" 2 "$ZOFT" validate $qa datasets.0.no_input_format=x <<'END'
zoft: command line: 'no_input_format' needs a 'format', too
END
case_ "a format that is none" 2 "$ZOFT" validate $qa datasets.0.format='{instruction' <<'END'
zoft: format: template, character 1: '{' without '}' ('{{' gives a brace)
END
cat >"$T/talk.jsonl" <<'END'
{"talk": [{"who": "visitor", "said": "the food"}, {"who": "bot", "said": "was good"}]}
END
talk="base_model=$DEMO/model learning_rate=1e-3 chat_template=chatml datasets.0.path=$T/talk.jsonl datasets.0.type=chat datasets.0.field_messages=talk datasets.0.message_field_role=who datasets.0.message_field_content=said"
"$ZOFT" validate $talk datasets.0.roles="[visitor=user, bot=assistant]" >"$T/shown" 2>&1
check "messages of other names" sh -c "tr '\n' ' ' <'$T/shown' | grep -q '<|im_start|>user the food<|im_end|> <|im_start|>assistant «was good'"
case_ "roles without a name" 2 "$ZOFT" validate $talk datasets.0.roles="[visitor]" <<'END'
zoft: command line: 'roles' expects FROM=TO, found 'visitor'
END
# --- seeds ---
split() { # split SEED WORD...: the score of the base model's dev and test examples
  seed=$1
  shift
  "$ZOFT" eval configs/demo.yaml val_datasets=[] val_set_size=20 num_eval=20 seed=$seed "$@" -q --json | sed 's/, "peak.*//'
}
split 1 split_seed=5 >"$T/e1"
split 2 split_seed=5 >"$T/e2"
split 2 >"$T/e3"
split 5 >"$T/e4"
check "split_seed: other seeds, the same dev and test examples" cmp "$T/e1" "$T/e2"
check "unset it is seed" cmp "$T/e1" "$T/e4"
check "which draws others" sh -c "! cmp -s '$T/e1' '$T/e3'"
# "about" and "billing" must not become one word in silence.
printf '{"text":"I write about","label":0}\n{"text":"We talk about","label":1}\n' >"$T/meet.jsonl"
meet() { # meet OPTIONS
  "$ZOFT" validate base_model=$DEMO/model datasets.0.path="$T/meet.jsonl" datasets.0.type=classification \
    datasets.0.prompt='{text}' datasets.0.options="$1" learning_rate=1e-4 max_steps=2 2>&1 | grep "without a blank"
}
case_ "options without a blank" 0 meet '[billing, refund]' <<'END'
warning: training: in 2 of 2 rows the prompt and what follows it meet without a blank: begin the options (the completion) with one, as in " great"
END
case_ "options with a blank" 1 meet '[" billing", " refund"]' <<'END'
END
finish
