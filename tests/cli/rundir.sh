#!/bin/sh
# What lies in a run directory: the run's own, which it replaces and removes, and what is not.
. tests/cli/lib.sh

sed -e "s|^output_dir:.*||; s|^overwrite_output_dir:.*||; s|^max_steps:.*|max_steps: 6|" \
  -e "s|^eval_steps:.*|eval_steps: never|" configs/demo.yaml >"$T/c.yaml"
printf 'num_train: 32\nnum_eval: 8\neval_on_start: false\n' >>"$T/c.yaml"
train() {
  out=$1
  shift
  "$ZOFT" train "$T/c.yaml" output_dir="$T/$out" -q --json "$@" >"$T/json" 2>"$T/err"
}

# --- entries that are not the run's ---
mkdir -p "$T/a/checkpoints/step-001" "$T/a/checkpoints/step-7x" "$T/a/checkpoints/.notes"
cp configs/demo.yaml "$T/a/notes.tmp.12"
case_ "a directory without a run" 2 "$ZOFT" train "$T/c.yaml" output_dir="$T/a" -q <<'END'
zoft: command line: TMP/a is not empty: it holds no run of zoft: name another directory
END
rm -r "$T/a"
mkdir "$T/a"
printf '{' >"$T/a/run.json.tmp.77" # of a run that was killed when it had written no more
check "a run" train a max_steps=2 save_steps=1 save_total_limit=1
mkdir -p "$T/a/checkpoints/step-001" "$T/a/checkpoints/step-007" "$T/a/checkpoints/step-9" \
  "$T/a/checkpoints/step-99999999999999999999" "$T/a/checkpoints/.notes" "$T/a/keyframes/step-3.safetensors"
printf x >"$T/a/checkpoints/step-8"
printf x >"$T/a/notes.tmp.12"
printf x >"$T/a/checkpoints/step-2/mine.txt"
ln -s step-2 "$T/a/checkpoints/step-5000"
check "resumed beside strays" train a --resume save_steps=1 keyframe_steps=2 save_total_limit=1
for stray in checkpoints/step-001 checkpoints/step-007 checkpoints/step-9 checkpoints/step-8 checkpoints/.notes \
  checkpoints/step-99999999999999999999 keyframes/step-3.safetensors notes.tmp.12 checkpoints/step-2/mine.txt; do
  check "$stray stays" test -e "$T/a/$stray"
done
check "the last checkpoint stays" test -s "$T/a/checkpoints/step-6/model.safetensors"
check "those before it went" sh -c "! ls '$T'/a/checkpoints/step-[345]/model.safetensors 2>/dev/null"
check "of the one with a file of another, that file alone is left" test "$(ls "$T/a/checkpoints/step-2")" = mine.txt
check "one keyframe is kept" test "$(ls "$T/a/keyframes" | tr '\n' ' ')" = "step-3.safetensors step-6.safetensors "
check "replay beside strays" "$ZOFT" replay "$T/a" --verify -q --json >/dev/null
check "overwritten" train a overwrite_output_dir=true
for stray in checkpoints/step-001 checkpoints/step-9 checkpoints/.notes notes.tmp.12 checkpoints/step-2/mine.txt; do
  check "$stray stays when the run is replaced" test -e "$T/a/$stray"
done
check "its own went" sh -c "! ls '$T'/a/checkpoints/step-*/model.safetensors '$T'/a/keyframes/step-6.* 2>/dev/null"

# --- the base model in output_dir ---
cp -r $DEMO/model "$T/base"
chmod -R u+w "$T/base"
ln -s base "$T/link"
mkdir "$T/links"
for f in "$T"/base/*; do ln -s "$f" "$T/links/"; done
cp -r "$T/a" "$T/run"
cp -r "$T/base" "$T/run/mine"
before=$(cat "$T"/base/* | cksum)
inside() { "$ZOFT" train "$T/c.yaml" "$@" overwrite_output_dir=true -q; }
case_ "base_model is output_dir" 2 inside base_model="$T/base" output_dir="$T/base" <<'END'
zoft: command line: the base model TMP/base lies in the output_dir TMP/base: the run would overwrite it; name another output_dir
END
case_ "through a link" 2 inside base_model="$T/base" output_dir="$T/link" <<'END'
zoft: command line: the base model TMP/base lies in the output_dir TMP/link: the run would overwrite it; name another output_dir
END
case_ "through links of its files" 2 inside base_model="$T/links" output_dir="$T/base" <<'END'
zoft: command line: the base model TMP/links lies in the output_dir TMP/base: the run would overwrite it; name another output_dir
END
case_ "inside" 2 inside base_model="$T/run/mine" output_dir="$T/run" <<'END'
zoft: command line: the base model TMP/run/mine lies in the output_dir TMP/run: the run would overwrite it; name another output_dir
END
case_ "a run as its own base" 2 inside base_model="$T/run" output_dir="$T/link/../run" --resume <<'END'
zoft: command line: the base model TMP/run lies in the output_dir TMP/link/../run: the run would overwrite it; name another output_dir
END
check "the base is untouched" test "$(cat "$T"/base/* | cksum)" = "$before"

# --- files beside the weights ---
mkdir "$T/base/1_Pooling" "$T/base/additional_chat_templates"
for f in vocab.txt special_tokens_map.json added_tokens.json chat_template.jinja generation_config.json \
  preprocessor_config.json modules.json sentence_bert_config.json 1_Pooling/config.json \
  additional_chat_templates/rag.jinja; do
  case $f in *.json) printf '{}' ;; *) printf '%s' "$f" ;; esac >"$T/base/$f"
done
printf 'not ours' >"$T/base/README.md"
check "a run on a base with many files" train full base_model="$T/base" save_steps=3
for f in vocab.txt special_tokens_map.json added_tokens.json chat_template.jinja generation_config.json tokenizer.json \
  preprocessor_config.json modules.json sentence_bert_config.json 1_Pooling/config.json \
  additional_chat_templates/rag.jinja; do
  check "the result has $f" cmp "$T/base/$f" "$T/full/$f"
  check "a checkpoint has $f" cmp "$T/base/$f" "$T/full/checkpoints/step-6/$f"
done
check "it has no README.md" test ! -e "$T/full/README.md"
rm -r "$T/base/vocab.txt" "$T/base/1_Pooling"
check "the run replaced" train full base_model="$T/base" overwrite_output_dir=true
check "by one without vocab.txt" test ! -e "$T/full/vocab.txt"

# live DIR ...: a run that takes steps until it is asked to stop
live() {
  out=$1
  shift
  "$ZOFT" train "$T/c.yaml" output_dir="$T/$out" max_steps=1000000 base_model="$T/base" -q --json "$@" >"$T/json" 2>"$T/err" &
  pid=$!
  for i in $(seq 300); do
    grep -q '"train"' "$T/$out/metrics.jsonl" 2>/dev/null && return
    perl -e 'select(undef, undef, undef, 0.1)'
  done
}
before=$(cat "$T/base/tokenizer.json" "$T/base/generation_config.json" | cksum)
cp -r "$T/base" "$T/saved"
live changed
printf '{}' >"$T/base/tokenizer.json"
printf '{}' >"$T/base/config.json"
rm "$T/base/generation_config.json"
touch "$T/changed/stop"
wait $pid
check "the base's files changed while it ran: exit status" test $? = 0
check "the result has what was read" test "$(cat "$T/changed/tokenizer.json" "$T/changed/generation_config.json" | cksum)" = "$before"
check "it loads" sh -c "'$ZOFT' inspect '$T/changed' >/dev/null"
rm -r "$T/base"
cp -r "$T/saved" "$T/base"
live both
printf '[1]' >"$T/both/tokenizer.json"
printf '[2]' >"$T/base/tokenizer.json"
touch "$T/both/stop"
wait $pid
check "both copies changed: exit status" test $? = 3
check "the message" grep -q 'base/tokenizer.json: has changed since it was read' "$T/err"
check "the weights are saved" test -s "$T/both/model.safetensors"
rm -r "$T/base"
mv "$T/saved" "$T/base"

# --- a run's own config.yaml ---
check "a run" train home
check "nine steps at once" train nine max_steps=9
mkdir "$T/far"
mv "$T/home" "$T/far/away"
case $ZOFT in /*) zoft=$ZOFT ;; *) zoft=$PWD/$ZOFT ;; esac
(cd "$T/far" && "$zoft" train away/config.yaml --resume max_steps=9 -q --json) >"$T/json" 2>"$T/err"
check "moved and resumed from elsewhere: exit status" test $? = 0
check "the directory is where it is" grep -q '"output_dir": "away"' "$T/json"
check "to the same weights" cmp "$T/far/away/model.safetensors" "$T/nine/model.safetensors"
check "none was made in the old place" test ! -e "$T/home"
(cd "$T/far/away" && "$zoft" replay . --verify -q --json >/dev/null)
check "replayed from inside" test $? = 0
(cd "$T/far/away" && "$zoft" train config.yaml --resume max_steps=9 -q --json >/dev/null)
check "resumed from inside" test $? = 0
case_ "begun again in place" 2 "$ZOFT" train "$T/far/away/config.yaml" -q <<'END'
zoft: TMP/far/away/config.yaml:2:13: TMP/far/away is not empty: it holds a finished run; overwrite_output_dir=true replaces it, and --resume with a larger max_steps continues it
END
warnings() { "$ZOFT" train "$@" output_dir="$T/warned" overwrite_output_dir=true --json 2>&1 >/dev/null | grep warning; }
train adamw method=adamw learning_rate=1e-3 momentum=0.8
case_ "keys that nobody set are not warned of" 0 warnings "$T/adamw/config.yaml" <<'END'
warning: momentum has no effect: method is adamw
END
case_ "also by another method" 0 warnings "$T/adamw/config.yaml" method=mezo zo_probes=1 adam_beta1=0.9 <<'END'
warning: adam_beta1 has no effect: method is mezo
warning: momentum has no effect: method is mezo
END

# --- weights that a file cannot hold ---
check "a step too far" train huge learning_rate=1e5 max_steps=1
"$ZOFT" replay "$T/huge" --dtype f16 --out "$T/narrow" -q 2>"$T/err"
check "too large for f16: exit status" test $? = 2
check "the message" grep -q "narrow/model.safetensors: [0-9]* weights are too large for f16, the first of them in 'model" "$T/err"
check "nothing is written" test ! -e "$T/narrow/model.safetensors"
check "bf16 holds them" "$ZOFT" replay "$T/huge" --dtype bf16 --out "$T/wide" -q --json >/dev/null
train huge2 learning_rate=1e5 max_steps=1 save_dtype=f16
check "save_dtype: exit status" test $? = 2
check "save_dtype: another is resumed to" train huge2 --resume learning_rate=1e5 max_steps=1 save_dtype=bf16

"$ZOFT" train "$T/c.yaml" output_dir="$T/it's a run" max_steps=1 -q >"$T/said"
check "the next command is quoted" grep -qF "zoft inspect '$T/it'\\''s a run'" "$T/said"
check "and runs" sh -c "$(sed -n "s|^ *zoft inspect|'$ZOFT' inspect|p" "$T/said") >/dev/null"

# --- scores of a run ---
score() { "$ZOFT" eval "$@" val_datasets=[] num_eval=16 -q --json; }
check "a run that learns" train tuned max_steps=3 method=adamw learning_rate=1e-3 load_best_model_at_end=false
score "$T/tuned" >"$T/s1"
score "$T/tuned/config.yaml" >"$T/s2"
score "$T/c.yaml" method=adamw base_model="$T/tuned" >"$T/s3"
score "$T/tuned" base_model=$DEMO/model >"$T/s4"
loss() { sed 's/.*"loss": \([0-9.e-]*\).*/\1/' "$1"; }
check "a run's score is of its result" test "$(loss "$T/s1")" = "$(loss "$T/s3")"
check "by its config too" test "$(loss "$T/s2")" = "$(loss "$T/s3")"
check "and names it" grep -q "^{\"model\": \"$T/tuned\"" "$T/s1"
check "the base is scored when it is named" test "$(loss "$T/s4")" != "$(loss "$T/s3")"
check "and named" grep -q "^{\"model\": \"$DEMO/model\"" "$T/s4"
case_ "a model is no run" 2 "$ZOFT" eval $DEMO/model <<'END'
zoft: datasets/demo/model: expected a config or a run directory, found a directory without config.yaml
END
rm "$T/tuned/model.safetensors"
case_ "a run without a result" 2 sh -c "'$ZOFT' eval '$T/tuned' -q 2>&1 | sed 's/is .*)/is BASE)/'; exit 2" <<'END'
zoft: TMP/tuned: the run has no result yet: name the model to score, base_model=DIR (its base model is BASE)
END
check "train takes a run's directory" "$ZOFT" train "$T/nine" --resume max_steps=10 -q --json >/dev/null

# --- the template that was trained on ---
for i in 1 2 3 4; do
  printf '{"messages": [{"role": "user", "content": "hi %s"}, {"role": "assistant", "content": "ho"}]}\n' $i
done >"$T/talk.jsonl"
talk="datasets=[] val_datasets=[] test_datasets=[] datasets.0.path=$T/talk.jsonl datasets.0.type=chat metric_for_best_model=auto
  learning_rate=1e-4 max_steps=2 micro_batch_size=2 excess_length_strategy=truncate eval_on_start=false"
printf '%s\n' "output_dir: out" >"$T/talk.yaml"
told() { "$ZOFT" validate "$T/talk.yaml" $talk base_model="$1" -n 1 2>/dev/null | grep -A9 hi; }
# shellcheck disable=SC2086
"$ZOFT" train "$T/talk.yaml" $talk base_model=$DEMO/model chat_template=chatml output_dir="$T/chatml" save_steps=2 -q >/dev/null
check "a template by name" grep -q im_start "$T/chatml/chat_template.jinja"
check "a checkpoint has it too" cmp "$T/chatml/chat_template.jinja" "$T"/chatml/checkpoints/*/chat_template.jinja
told "$T/chatml" >"$T/t1"
# shellcheck disable=SC2086
"$ZOFT" validate "$T/talk.yaml" $talk base_model=$DEMO/model chat_template=chatml -n 1 2>/dev/null | grep -A9 hi >"$T/t2"
check "the result's own template writes the same" cmp "$T/t1" "$T/t2"
check "which is something" grep -q 'im_start' "$T/t1"
# shellcheck disable=SC2086
"$ZOFT" train "$T/talk.yaml" $talk base_model="$T/chatml" chat_template=zephyr output_dir="$T/zephyr" -q >/dev/null
check "in the place of the base's" grep -q 'assistant|>' "$T/zephyr/chat_template.jinja"
check "and not that" sh -c "! grep -q im_start '$T/zephyr/chat_template.jinja'"
printf '{%% for m in messages %%}[{{ m.role }}: {{ m.content }}]{%% endfor %%}' >"$T/mine.jinja"
cp "$T/mine.jinja" "$T/mine.copy"
# shellcheck disable=SC2086
(cd "$T" && "$zoft" train talk.yaml $talk base_model="$OLDPWD/$DEMO/model" chat_template=mine.jinja output_dir=own -q >/dev/null)
printf 'x' >"$T/mine.jinja"
check "a file" cmp "$T/mine.copy" "$T/own/chat_template.jinja"
check "a run goes on with the template it began with" "$ZOFT" train "$T/own/config.yaml" --resume max_steps=3 -q --json >/dev/null
check "and keeps it" cmp "$T/mine.copy" "$T/own/chat_template.jinja"

# --- one run at a time ---
"$ZOFT" train "$T/c.yaml" output_dir="$T/live" max_steps=1000000 -q 2>/dev/null &
pid=$!
for i in $(seq 300); do
  grep -q '"train"' "$T/live/metrics.jsonl" 2>/dev/null && break
  perl -e 'select(undef, undef, undef, 0.1)'
done
for flag in overwrite_output_dir=true --resume "--fork $T/a@3"; do
  # shellcheck disable=SC2086
  case_ "a second run: ${flag%% *}" 1 "$ZOFT" train "$T/c.yaml" output_dir="$T/live" max_steps=1000000 $flag -q <<'END'
zoft: TMP/live: another run writes there: wait for its end, or name another output_dir
END
done
check "the first goes on" kill -0 $pid
check "its log is there" test -s "$T/live/steps.log"
kill -9 $pid
wait $pid 2>/dev/null
check "after its end the directory is free" train live overwrite_output_dir=true
finish
