#!/bin/sh
# What other people's JSON, tokenizer and generation files hold beside what zoft needs.
. tests/cli/lib.sh

first() { "$@" 2>&1 | sed -n 1p; }

broken
perl -pi -e 's|^\{|{"router_jitter": Infinity, "big": 1e999, "longest": 1000000000000000019884624838656,|' "$T/m/config.json" "$T/m/tokenizer_config.json"
case_ "numbers beyond 64 bits that nobody reads" 0 first "$ZOFT" inspect "$T/m" <<'END'
kind         model
END
broken
perl -pi -e 's|"hidden_size": [0-9]*|"hidden_size": 18446744073709551616|' "$T/m/config.json"
case_ "a number beyond 64 bits that is read" 3 "$ZOFT" inspect "$T/m" <<'END'
zoft: TMP/m/config.json: key 'hidden_size': expected an integer, found 18446744073709551616
END
broken
printf '{"a": "x\\u0000"}\n' >"$T/zero.jsonl"
case_ "the zero character" 3 "$ZOFT" data convert "$T/zero.jsonl" "$T/zero.csv" <<'END'
zoft: TMP/zero.jsonl:1:15: a string holds \u0000, the zero character, which zoft's texts cannot hold: remove it or write another character for it
END
printf '{"prompt": "the", "id": 18446744073709551615, "score": NaN}\n' >"$T/p.jsonl"
case_ "rows keep their wide numbers" 0 "$ZOFT" generate $DEMO/model --jsonl "$T/p.jsonl" -n 1 <<'END'
{"prompt":"the","id":18446744073709551615,"score":NaN,"completion":" five","finish":"length","prompt_tokens":3,"new_tokens":1}
END

# Special tokens: who names them.
specials() { "$ZOFT" inspect "$1" 2>&1 | grep -E '^(token_ids|bos|eos|pad|ends) '; }
broken
rm "$T/m/tokenizer_config.json"
case_ "BOS and EOS of generation_config.json" 0 specials "$T/m" <<'END'
token_ids    1024
bos          <|endoftext|> (0), from generation_config.json
eos          <|endoftext|> (0), from generation_config.json
pad          none
ends         0 <|endoftext|>, from generation_config.json
END
rm "$T/m/generation_config.json"
case_ "of config.json" 0 specials "$T/m" <<'END'
token_ids    1024
bos          <|endoftext|> (0), from config.json
eos          <|endoftext|> (0), from config.json
pad          none
ends         0 <|endoftext|>, from config.json
END
train() {
  "$ZOFT" validate configs/demo.yaml base_model="$T/m" datasets='[{path: demo/train.jsonl, type: completion, prompt: "{text}", completion: " No"}]' \
    val_datasets=[] test_datasets=[] num_train=4 metric_for_best_model=loss load_best_model_at_end=false \
    -n 1 "$@" 2>&1 | grep -o '«.*' | head -n 1
}
case_ "completions end with it" 0 train <<'END'
« No<|endoftext|>»  (29 tokens, 2 targets)
END
case_ "add_eos=true has one" 0 train add_eos=true <<'END'
« No<|endoftext|>»  (29 tokens, 2 targets)
END
echo '{"text": "the film was good", "page": "the film was good"}' >"$T/w.jsonl"
check "eval --task wikitext has a token to begin with" sh -c "'$ZOFT' eval '$T/m' --task wikitext --data '$T/w.jsonl' -q >/dev/null"
echo '{"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "[PAD]"}' >"$T/m/special_tokens_map.json"
case_ "of special_tokens_map.json; a token that the model lacks" 0 specials "$T/m" <<'END'
token_ids    1025, of which the model knows 1024
bos          <|endoftext|> (0), from special_tokens_map.json
eos          <|endoftext|> (0), from special_tokens_map.json
pad          [PAD] (1024), from special_tokens_map.json
ends         0 <|endoftext|>, from config.json
END
printf '{"text": "a"}\n{"text": "a[PAD]"}\n' >"$T/pad.jsonl"
case_ "a token that the model lacks in a row" 3 "$ZOFT" validate configs/demo.yaml base_model="$T/m" \
  datasets="[{path: $T/pad.jsonl, type: text}]" val_datasets=[] test_datasets=[] metric_for_best_model=loss load_best_model_at_end=false <<'END'
zoft: TMP/pad.jsonl:2: token 3, '[PAD]', has the id 1024, outside the model's vocabulary of 1024: remove it from the text, or give the model a row for it
END
printf 'a\nb[PAD]\n' >"$T/pad.txt"
# shellcheck disable=SC2069  # errors alone
errors() { "$@" 2>&1 >/dev/null; }
case_ "in a scored line" 3 errors "$ZOFT" score "$T/m" --text "$T/pad.txt" <<'END'
zoft: TMP/pad.txt:2: token 3, '[PAD]', has the id 1024, outside the model's vocabulary of 1024: remove it from the text, or give the model a row for it
END
case_ "in a prompt" 3 "$ZOFT" generate "$T/m" --prompt 'a[PAD]' <<'END'
zoft: token 3, '[PAD]', has the id 1024, outside the model's vocabulary of 1024: remove it from the text, or give the model a row for it
END
echo '{"bos_token": null, "eos_token": "<|none|>"}' >"$T/m/tokenizer_config.json"
rm "$T/m/special_tokens_map.json"
case_ "null is an answer" 0 specials "$T/m" <<'END'
token_ids    1025, of which the model knows 1024
bos          none
eos          <|none|> (1024), from tokenizer_config.json
pad          none
ends         0 <|endoftext|>, from config.json
END
echo '{"added_tokens_decoder": {"7": {"content": "<|new|>"}}}' >"$T/m/tokenizer_config.json"
case_ "an id that is not the token's place" 3 "$ZOFT" inspect "$T/m" <<'END'
zoft: TMP/m/tokenizer_config.json: added_tokens_decoder: token '<|new|>' has id 7, but in the order of adding it is 1024: save the tokenizer again with Transformers
END

# generation_config.json: what applies, and what is named.
broken
gen() { "$ZOFT" generate "$T/m" -p 'the cast' "$@"; }
echo '{"eos_token_id": 0, "repetition_penalty": 1.3, "num_beams": 4, "typical_p": 1.0, "max_new_tokens": 3}' >"$T/m/generation_config.json"
case_ "its penalty and length apply, its beams are named" 0 gen <<'END'
generation_config.json: repetition_penalty 1.3, max_new_tokens 3
warning: generation_config.json: num_beams: not supported, ignored
the cast was a m
END
echo '{"do_sample": true, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 4, "stop_strings": "zz"}' >"$T/m/generation_config.json"
case_ "it samples" 0 gen <<'END'
generation_config.json: do_sample true, temperature 0.6, top_p 0.95, max_new_tokens 4, stop_strings
the cast was utterly terrible
END
case_ "options override it" 0 gen -t 0 -n 2 <<'END'
generation_config.json: do_sample true, temperature 0.6, top_p 0.95, max_new_tokens 4, stop_strings
the cast was a
END
echo '{"temperature": 0.6, "top_k": 20, "max_new_tokens": 2}' >"$T/m/generation_config.json"
case_ "without do_sample it does not" 0 gen <<'END'
generation_config.json: temperature 0.6, top_k 20, max_new_tokens 2; without do_sample the likeliest token is taken each time
the cast was a
END
echo '{"do_sample": true, "top_p": 1.5}' >"$T/m/generation_config.json"
case_ "a value out of range" 3 gen <<'END'
zoft: TMP/m/generation_config.json: key 'top_p': expected above 0 to 1, found 1.5
END
echo '{"stop_strings": [1]}' >"$T/m/generation_config.json"
case_ "stop strings of another kind" 3 gen <<'END'
zoft: TMP/m/generation_config.json: key 'stop_strings': expected a text or a list of texts, found an array
END
# Conversations and completions: answers apart, and tokens that end them.
cat >"$T/t.jinja" <<'END'
{%- for m in messages -%}{%- if m.role == 'user' -%}U:{{ m.content }};{%- else -%}A:{% if loop.last %}(){% endif %}{{ m.content }}END{%- endif -%}{%- endfor -%}
{%- if add_generation_prompt -%}A:{%- endif -%}
END
cat >"$T/c.jsonl" <<'END'
{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}
END
talk() {
  "$ZOFT" validate configs/demo.yaml datasets="[{path: $T/c.jsonl, type: chat}]" chat_template="$T/t.jinja" val_datasets=[] \
    test_datasets=[] metric_for_best_model=loss load_best_model_at_end=false "$@" 2>&1 | grep -v '^model\|^tokenizer\|^training  \|^set\|^──'
}
case_ "each answer an example of its own" 0 talk <<'END'
warning: training: none of the 12 targets ends a text or a turn: the model does not learn to stop (add_eos, or a chat template whose turns end in a special token)

training: in 1 of 1 conversations each answer is an example of its own: the chat template renders an earlier turn unlike the last one
training: 0 of 12 targets end a text or a turn

TMP/c.jsonl:1
  U:a;A:«()bEND»  (12 tokens, 6 targets)

TMP/c.jsonl:1
  U:a;A:bENDU:c;A:«()dEND»  (22 tokens, 6 targets)

The config, model, tokenizer and data are valid.
END
case_ "which a stream has no place for" 0 talk streaming=true <<'END'
zoft: TMP/c.jsonl:1: the chat template renders an earlier turn unlike the last one: each of the 2 answers is an example of its own, which a stream has no place for: set streaming to false
END
sed -i 's/END/<|endoftext|>/g' "$T/t.jinja"
case_ "whose last token ends it" 0 talk -n 0 <<'END'

training: in 1 of 1 conversations each answer is an example of its own: the chat template renders an earlier turn unlike the last one
training: 2 of 8 targets end a text or a turn

The config, model, tokenizer and data are valid.
END
complete() {
  "$ZOFT" train configs/demo.yaml datasets='[{path: demo/train.jsonl, type: completion, prompt: "{text}", completion: " No"}]' \
    output_dir="$T/out" val_datasets=[] test_datasets=[] num_train=4 metric_for_best_model=loss load_best_model_at_end=false \
    --dry-run "$@" 2>&1 >/dev/null | grep warning
}
case_ "completions without an end" 0 complete add_eos=false <<'END'
warning: training: none of the 4 targets ends a text or a turn: the model does not learn to stop (add_eos, or a chat template whose turns end in a special token)
END
case_ "completions with one" 1 complete <<'END'
END
# The home directory, and the cache.
broken
mkdir "$T/home" && mv "$T/m" "$T/home/m" && cp $DEMO/train.jsonl "$T/home/"
home() {
  HOME="$T/home" "$ZOFT" validate configs/demo.yaml base_model='~/m' data_dir='~' "datasets.0.path=train.jsonl" val_datasets=[] \
    test_datasets=[] load_best_model_at_end=false metric_for_best_model=loss -n 0 "$@" 2>&1 | sed -n 1p
}
case_ "~ is the home directory" 0 home <<'END'
model      TMP/home/m (llama), 266.8 k parameters, context 128
END
case_ "in the path of a data file too" 0 home data_dir=/nowhere 'datasets.0.path=~/train.jsonl' <<'END'
model      TMP/home/m (llama), 266.8 k parameters, context 128
END
cached() { HOME="$T/home" "$ZOFT" inspect gpt2 2>&1 | sed -n 2p; }
mkdir -p "$T/home/.cache/huggingface/hub/models--gpt2/refs" "$T/home/.cache/huggingface/hub/models--gpt2/snapshots"
mv "$T/home/m" "$T/home/.cache/huggingface/hub/models--gpt2/snapshots/abc"
echo abc >"$T/home/.cache/huggingface/hub/models--gpt2/refs/main"
case_ "a name without an organisation" 0 cached <<'END'
path         TMP/home/.cache/huggingface/hub/models--gpt2/snapshots/abc
END
# Options that differ by a space are shown so, whatever a decoder makes of the first token.
broken
rm "$T/m/tokenizer.json" && cp tests/golden/spm/bpe_llama.model "$T/m/tokenizer.model"
echo '{"text": "the light was", "label": 0}' >"$T/o.jsonl"
options() {
  "$ZOFT" validate configs/demo.yaml base_model="$T/m" datasets="[{path: $T/o.jsonl, type: classification, prompt: '{text}', options: [' the', 'the']}]" \
    val_datasets=[] test_datasets=[] -n 1 2>&1 | grep '«'
}
case_ "options with a space and without" 0 options <<'END'
  the light was« the»  (7 tokens, 1 target)  <- right
  the light was«the»  (8 tokens, 2 targets)
END
# Rows of plain text: paragraphs to learn from, never a blank line.
printf 'Title\n\nFirst paragraph, line one.\nLine two.\n\n\nSecond.\n' >"$T/plain.txt"
texts() { "$ZOFT" validate base_model=$DEMO/model learning_rate=1e-4 output_dir="$T/out" max_steps=1 "$@" --json | grep -o '"train": {"rows": [0-9]*'; }
case_ "paragraphs of a text" 0 texts datasets="[{path: $T/plain.txt, type: text}]" <<'END'
"train": {"rows": 3
END
case_ "lines of a text" 0 texts datasets="[{path: $T/plain.txt, type: text, sample_by: line}]" <<'END'
"train": {"rows": 4
END
case_ "a text as a document" 0 texts datasets="[{path: $T/plain.txt, type: text, sample_by: document}]" <<'END'
"train": {"rows": 1
END
finish
