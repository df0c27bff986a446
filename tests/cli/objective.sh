#!/bin/sh
# Objectives other than a task's own loss: the same bits in every way to run them, commands and how they
# fail, preference pairs, and combinations that are refused.
. tests/cli/lib.sh

demo() {
  sed -e '/^output_dir:/d; /^overwrite_output_dir:/d; /^max_steps:/d; /^eval_steps:/d' \
    -e 's/^compute:.*/compute: f32/; s/^zo_eps:.*/zo_eps: 5e-2/; s/^micro_batch_size:.*/micro_batch_size: 8/' \
    -e '/^zo_probes:/d; /^logging_steps:/d; /^test_datasets:/,/jsonl/d; /^threads:/d' configs/demo.yaml
  printf 'num_train: 64\nmax_steps: 6\neval_steps: 3\nzo_probes: 2\nlogging_steps: 1\n'
}
demo >"$T/c.yaml"
cat >"$T/g.yaml" <<END
base_model: $DEMO/model
datasets: [{path: demo/train.jsonl, type: completion, prompt: "{text}", completion: " The food was good."}]
val_set_size: 40
num_train: 24
learning_rate: 3e-4
zo_eps: 1e-2
max_steps: 4
logging_steps: 1
eval_steps: never
eval_on_start: false
compute: f32
micro_batch_size: 8
objective_max_tokens: 8
END
cat >"$T/p.yaml" <<END
base_model: $DEMO/model
datasets: [{path: demo/train.jsonl, type: preference, prompt: "{text} Would I recommend it?", options: [" Of course.", " No, never."]}]
val_datasets: [{path: demo/dev.jsonl}]
num_train: 64
learning_rate: 1e-4
max_steps: 8
eval_steps: 4
compute: f32
micro_batch_size: 8
END

# train CONFIG OUT WORDS...
train() {
  config=$1 out=$2
  shift 2
  "$ZOFT" train "$T/$config.yaml" output_dir="$T/$out" -q --json "$@" >"$T/$out.json" 2>"$T/$out.err"
}
# same NAME A B: two runs end alike, to the bit
same() {
  for f in steps.log model.safetensors; do
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
  check "$way: half" train "$config" "$way-r" max_steps=3 "$@"
  check "$way: resumed" train "$config" "$way-r" --resume "$@"
  check "$way, resumed: same weights" cmp "$T/$way/model.safetensors" "$T/$way-r/model.safetensors"
  check "$way: replay" "$ZOFT" replay "$T/$way" --verify -q --out "$T/$way-w" >/dev/null
}
number() { sed -n "s/.*\"dev_$2\": {[^}]*\"objective\": \([0-9.e-]*\).*/\1/p" "$T/$1.json"; }
less() { awk "BEGIN { exit !($1 < $2) }"; }

every_way c accuracy objective=accuracy
check "accuracy: the objective is 1 - accuracy" perl -ne '/"dev_end": \{[^}]*"objective": ([0-9.e-]+)[^}]*"accuracy": ([0-9.e-]+)/ and exit !(abs($1 + $2 - 1) < 1e-12); END { exit $? }' "$T/accuracy.json"
check "accuracy: the sides differ" grep -q '"step": 6, .*"g": [1-9]' "$T/accuracy/metrics.jsonl"
every_way g f1 objective=f1
check "f1: streams apart" train g f1-1 objective=f1 zo_streams=1
same "f1, streams" f1 f1-1
check "f1: streamed" train g f1-2 objective=f1 streaming=true
same "f1, streamed" f1 f1-2
check "f1: the sides differ" grep -q '"g": [1-9]' "$T/f1/metrics.jsonl"
check "rouge_l, mixed" train g rouge objective=rouge_l objective_weight=0.5 max_steps=2
check "bleu" train g bleu objective=bleu max_steps=2
check "exact_match" train g match objective=exact_match max_steps=2
for adapter in lora prefix; do
  check "a direction by example, $adapter" train g a-$adapter objective=f1 adapter=$adapter learning_rate=1e-2 zo_eps=0.3
  check "$adapter: split" train g s-$adapter objective=f1 adapter=$adapter learning_rate=1e-2 zo_eps=0.3 micro_batch_size=4 gradient_accumulation_steps=2
  check "$adapter: same log" cmp "$T/a-$adapter/steps.log" "$T/s-$adapter/steps.log"
done

# --- commands ---
cat >"$T/count.pl" <<'END'
$| = 1;
while (<STDIN>) {
  my ($text) = /"generated":"((?:[^"\\]|\\.)*)"/;
  my $count = () = $text =~ /was/g;
  print '{"loss": ', 1 - ($count > 3 ? 1 : $count / 3), "}\n";
}
END
command="objective=command objective_command=perl\ $T/count.pl"
run_command() {
  out=$1
  shift
  eval "train g \"\$out\" $command \"\$@\""
}
check "a command" run_command cmd objective_max_tokens=16 max_steps=24 zo_probes=4 eval_steps=24 eval_on_start=true
check "its number falls: $(number cmd start) to $(number cmd end)" less "$(number cmd end) + 0.1" "$(number cmd start)"
check "the command has ended" sh -c "! ps ax | grep -v grep | grep -q '$T/count.pl'"
check "split" run_command cmd-a max_steps=3
check "split" run_command cmd-b max_steps=3 micro_batch_size=2 gradient_accumulation_steps=4
same "command, split" cmd-a cmd-b
check "a bare number" train g bare objective=command "objective_command=perl -ne '\$| = 1; print length(\$_) / 1000, qq(\\n)'"
fails() {
  case=$1 line=$2
  shift 2
  train g bad objective=command overwrite_output_dir=true objective_timeout=0.5 "$@"
  check "$case: exit status" test $? = 1
  check "$case: $(cat "$T/bad.err")" grep -q "$line" "$T/bad.err"
}
fails "a command that dies" "^zoft: objective_command 'read x; exit 7': line 1: expected {\"loss\": number} or a number, found none: it ended with exit status 7$" \
  "objective_command=read x; exit 7"
fails "garbage" "line 1: expected {\"loss\": number} or a number, found 'maybe'$" \
  "objective_command=while read x; do echo maybe; done"
fails "no number" "line 1: expected {\"loss\": number} or a number, found '{\"loss\": \"low\"}'$" \
  "objective_command=while read x; do echo '{\"loss\": \"low\"}'; done"
fails "a command that hangs" "line 3: expected {\"loss\": number} or a number, found none: no answer within 0.5 seconds$" \
  "objective_command=echo 1; echo 2; sleep 77.5"
check "it is ended" sh -c "! ps ax | grep -v grep | grep -q 'sleep 77.5'"
fails "a command that cannot run" "it ended with exit status 127$" "objective_command=./no-such-command"
"$ZOFT" train "$T/g.yaml" output_dir="$T/int" objective=command 'objective_command=sleep 78.5' -q 2>"$T/int.err" &
pid=$!
perl -e 'select(undef, undef, undef, 1)'
kill -INT $pid
wait $pid
check "Ctrl-C while it waits" test $? = 130
check "a checkpoint of the step before" grep -q "interrupted after step 0; checkpoint" "$T/int.err"
check "the command is ended" sh -c "! ps ax | grep -v grep | grep -q 'sleep 78.5'"

# --- preference pairs ---
every_way p dpo objective=dpo
check "dpo begins at log 2" grep -q '"step": 1, "set": "train", "loss": 0.69' "$T/dpo/metrics.jsonl"
check "dpo falls: $(number dpo start) to $(number dpo end)" less "$(number dpo end)" "$(number dpo start)"
check "dpo with an adapter" train p dpo-lora objective=dpo adapter=lora learning_rate=1e-2 max_steps=3
check "resumed" train p dpo-lora --resume objective=dpo adapter=lora learning_rate=1e-2 max_steps=8
check "at once" train p dpo-lora2 objective=dpo adapter=lora learning_rate=1e-2 max_steps=8
check "the same adapter" cmp "$T/dpo-lora/adapter_model.safetensors" "$T/dpo-lora2/adapter_model.safetensors"
check "orpo" train p orpo objective=orpo orpo_lambda=1
check "orpo falls" less "$(number orpo end)" "$(number orpo start)"
check "without an objective, by backpropagation too" train p plain method=adamw learning_rate=1e-3
check "its accuracy is 1" grep -q '"dev_end": {[^}]*"accuracy": 1[,.}]' "$T/plain.json"

# --- eval, plan, refusals ---
check "eval: the value" sh -c "'$ZOFT' eval '$T/g.yaml' objective=f1 --json -q | grep -q '\"objective\": [01]'"
sed '/objective_max_tokens/d' "$T/g.yaml" >"$T/g2.yaml"
bytes() { "$ZOFT" plan "$T/g2.yaml" --json -q "$@" | sed -n 's/.*"method": "mezo", "forecast_bytes": \([0-9]*\).*/\1/p'; }
check "plan: decoding needs memory" less "$(bytes) + 100000" "$(bytes objective=f1 objective_max_tokens=60)"
case_ "accuracy of completions" 2 "$ZOFT" train "$T/g2.yaml" objective=accuracy -q <<'END'
zoft: command line: objective accuracy suits data of type classification, masked, labels or preference; these are of type completion
END
case_ "f1 of options" 2 "$ZOFT" train "$T/c.yaml" objective=f1 -q <<'END'
zoft: command line: objective f1 suits data of type completion, chat, alpaca or input_output; these are of type classification
END
case_ "no derivative" 2 "$ZOFT" train "$T/c.yaml" objective=accuracy method=adamw -q <<'END'
zoft: command line: objective accuracy has no derivative that method adamw could follow: use method mezo
END
case_ "a command is needed" 2 "$ZOFT" train "$T/g.yaml" objective=command -q <<'END'
zoft: command line: objective command needs 'objective_command', a shell command line
END
case_ "a key without effect" 2 "$ZOFT" train "$T/c.yaml" objective=accuracy dpo_beta=1 -q <<'END'
zoft: command line: 'dpo_beta' has no effect without objective dpo
END
case_ "a resumed run keeps its objective" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/accuracy" --resume -q <<'END'
zoft: 'objective' (unset): cannot resume: 'objective' was "accuracy" when the run began and is unset ('zoft validate --keys' marks the settings that may change)
END
case_ "several answers: an empty list" 3 sh -c "printf '{\"text\": \"x\", \"a\": []}\n' >'$T/a.jsonl' && '$ZOFT' train '$T/g.yaml' objective=f1 datasets.0.path='$T/a.jsonl' datasets.0.answers=a val_set_size=0 -q" <<'END'
zoft: TMP/a.jsonl:1: field 'a': expected a text or a list of texts, found an empty one
END
finish
