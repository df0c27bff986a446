#!/bin/sh
# Wrong configs and command lines: exit status 2 and a sentence that names the place and the cure.
. tests/cli/lib.sh

conf() { # conf NAME: the demo's settings followed by standard input
  {
    cat <<'END'
base_model: datasets/demo/model
output_dir: @OUT@
datasets:
  - path: demo/train.jsonl
    type: classification
    prompt: "{text} Would I recommend it?"
    options: [" No", " Yes"]
END
    cat
  } | sed "s|@OUT@|$T/out|" >"$T/$1"
}

echo 'learning_rat: 1e-4' | conf unknown.yaml
case_ "unknown key" 2 "$ZOFT" train "$T/unknown.yaml" <<'END'
zoft: TMP/unknown.yaml:8:1: unknown key 'learning_rat': did you mean 'learning_rate'?
END
printf 'learning_rate: 1e-4\nlearning_rate: 2e-4\n' | conf twice.yaml
case_ "duplicate key" 2 "$ZOFT" train "$T/twice.yaml" <<'END'
zoft: TMP/twice.yaml:9:1: the key 'learning_rate' was given before, at line 8, column 1
END
echo 'learning_rate: fast' | conf type.yaml
case_ "wrong type" 2 "$ZOFT" train "$T/type.yaml" <<'END'
zoft: TMP/type.yaml:8:16: 'learning_rate' expects a number or auto, found 'fast'
END
echo 'learning_rate: -1' | conf range.yaml
case_ "out of range" 2 "$ZOFT" train "$T/range.yaml" <<'END'
zoft: TMP/range.yaml:8:16: 'learning_rate' must be between 0 and 1000000, found -1
END
printf 'learning_rate: 1e-4\nlr_scheduler: linaer\n' | conf choice.yaml
case_ "wrong choice" 2 "$ZOFT" train "$T/choice.yaml" <<'END'
zoft: TMP/choice.yaml:9:15: 'lr_scheduler' expects one of constant, linear or cosine, found 'linaer': did you mean 'linear'?
END
echo 'learning_rate: 1e-4' | conf lacking.yaml
sed -i '/^base_model/d' "$T/lacking.yaml"
case_ "required key missing" 2 "$ZOFT" train "$T/lacking.yaml" <<'END'
zoft: TMP/lacking.yaml: the key 'base_model' is required: model directory, or ORG/NAME in the local Hugging Face cache
END
echo 'method: adamw' | conf unrated.yaml
case_ "backpropagation without a rate" 2 "$ZOFT" train "$T/unrated.yaml" <<'END'
zoft: TMP/unrated.yaml:8:9: method adamw needs a learning_rate: only zeroth-order methods find one by themselves
END
printf 'learning_rate: 1e-4\nnum_epochs: 2\nmax_steps: 3\n' | conf both.yaml
case_ "two keys that exclude each other" 2 "$ZOFT" train "$T/both.yaml" <<'END'
zoft: TMP/both.yaml:9:13: 'num_epochs' and 'max_steps' are both set: keep one of the two
END
echo 'learning_rate: [1' | conf yaml.yaml
case_ "a list instead of a number" 2 "$ZOFT" train "$T/yaml.yaml" <<'END'
zoft: TMP/yaml.yaml:8:16: 'learning_rate' expects a number or auto, found a list
END
printf 'learning_rate: "1e-4\n' | conf quote.yaml
case_ "not YAML" 2 "$ZOFT" train "$T/quote.yaml" <<'END'
zoft: TMP/quote.yaml:9:1: while scanning a quoted scalar: found unexpected end of stream
END
case_ "no such config" 2 "$ZOFT" train "$T/none.yaml" <<'END'
zoft: TMP/none.yaml: cannot open: No such file or directory
END
echo 'learning_rate: 1e-4' | conf good.yaml
for pair in num_train_epochs:num_epochs per_device_train_batch_size:micro_batch_size model_name_or_path:base_model \
  max_seq_length:sequence_len iters:max_steps lr_scheduler_type:lr_scheduler optim:method dataset:datasets bf16:compute; do
  case_ "another tool's ${pair%:*}" 2 "$ZOFT" train "$T/good.yaml" "${pair%:*}=1" <<END
zoft: command line: unknown key '${pair%:*}': here it is called '${pair#*:}'
END
done
case_ "another tool's word in a data set" 2 "$ZOFT" train "$T/good.yaml" datasets.0.text_column=x <<'END'
zoft: command line: unknown key 'datasets.0.text_column': here it is called 'datasets.0.text'
END
case_ "unknown key on the command line" 2 "$ZOFT" train "$T/good.yaml" max_step=3 <<'END'
zoft: command line: unknown key 'max_step': did you mean 'max_steps'?
END
case_ "wrong value on the command line" 2 "$ZOFT" train "$T/good.yaml" max_steps=none <<'END'
zoft: command line: 'max_steps' expects a whole number, found 'none'
END
case_ "missing data file" 2 "$ZOFT" train "$T/good.yaml" datasets.0.path=demo/trian.jsonl <<'END'
zoft: datasets/demo/trian.jsonl: cannot open: No such file or directory
END
case_ "unknown data ending" 2 "$ZOFT" train "$T/good.yaml" datasets.0.path=demo/README.md <<'END'
zoft: datasets/demo/README.md: unknown ending: expected .jsonl, .ndjson, .json, .csv, .tsv or .txt, followed by .gz or .zst if the file is compressed
END
case_ "missing model" 2 "$ZOFT" train "$T/good.yaml" base_model=./nowhere <<'END'
zoft: ./nowhere: no such model directory
END
case_ "model not in the cache" 2 env HF_HUB_CACHE="$T/hub" "$ZOFT" train "$T/good.yaml" base_model=ORG/NAME <<'END'
zoft: ORG/NAME: no such directory, and not in the Hugging Face cache TMP/hub
END
case_ "glob that matches nothing" 2 "$ZOFT" train "$T/good.yaml" trainable='*.nothing' <<'END'
zoft: trainable: '*.nothing' matches no tensor of datasets/demo/model (such as 'model.layers.2.input_layernorm.weight')
END
case_ "sequence_len beyond the context" 2 "$ZOFT" train "$T/good.yaml" sequence_len=4096 <<'END'
zoft: sequence_len 4096 is longer than the model's context of 128
END
case_ "template: unknown filter" 2 "$ZOFT" train "$T/good.yaml" datasets.0.prompt='{text|uper}' <<'END'
zoft: prompt: template, character 7: unknown filter 'uper'; there are strip, rstrip:CHARS, lower, upper, capitalize, lower_first, replace:FROM=TO, map:A=X,B=Y
END
case_ "template: open brace" 2 "$ZOFT" train "$T/good.yaml" datasets.0.prompt='{text' <<'END'
zoft: prompt: template, character 1: '{' without '}' ('{{' gives a brace)
END
case_ "dev set takes all rows" 2 "$ZOFT" train "$T/good.yaml" val_set_size=1000000 <<'END'
zoft: val_set_size: 1000000 dev examples leave nothing to train on: there are 1000 rows
END
case_ "memory limit" 4 "$ZOFT" train "$T/good.yaml" memory_limit=1M <<'END'
zoft: memory_limit is N MB and the run is forecast to need N MB: a smaller micro_batch_size or sequence_len needs less
END
mkdir "$T/out" && touch "$T/out/something"
case_ "output directory not empty" 2 "$ZOFT" train "$T/good.yaml" -q <<'END'
zoft: TMP/good.yaml:2:13: TMP/out is not empty: it holds no run of zoft: name another directory
END
case_ "output directory of another kind is not replaced" 2 "$ZOFT" train "$T/good.yaml" overwrite_output_dir=true -q <<'END'
zoft: TMP/good.yaml:2:13: TMP/out is not empty: it holds no run of zoft: name another directory
END
rm -r "$T/out"
case_ "unknown command" 2 "$ZOFT" trian <<'END'
zoft: unknown command 'trian': did you mean 'train'?
END
printf '%s\n' '{"messages": [{"role": "visitor", "content": "a"}, {"role": "bot", "content": "b"}]}' >"$T/roles.jsonl"
chat="base_model=datasets/demo/model output_dir=$T/chat chat_template=chatml learning_rate=1e-4 max_steps=1"
# shellcheck disable=SC2086  # words
case_ "roles of another tool" 3 "$ZOFT" train $chat datasets="[{path: $T/roles.jsonl, type: chat}]" <<'END'
zoft: TMP/roles.jsonl: the training set has no target: no message has the role 'assistant', and the first conversation ends with 'bot': name the role that answers, as in roles: [bot=assistant]
END
# shellcheck disable=SC2086  # words
check "its roles named" "$ZOFT" train $chat -q --json \
  datasets="[{path: $T/roles.jsonl, type: chat, roles: [visitor=user, bot=assistant]}]" >/dev/null
case_ "a setting as an option" 2 "$ZOFT" train configs/demo.yaml --max_steps 10 <<'END'
zoft: unknown option '--max_steps': a setting is given as a word, max_steps=VALUE
END
case_ "a setting as an option with dashes" 2 "$ZOFT" eval configs/demo.yaml --micro-batch-size=4 <<'END'
zoft: unknown option '--micro-batch-size=4': a setting is given as a word, micro_batch_size=VALUE
END
case_ "unknown option" 2 "$ZOFT" train --dry-rum <<'END'
zoft: unknown option '--dry-rum': did you mean '--dry-run'?
END
case_ "option without its value" 2 "$ZOFT" score $DEMO/model --text <<'END'
zoft: --text needs a value: FILE
END
case_ "no config" 2 "$ZOFT" train <<'END'
zoft: a config file is needed: zoft train CONFIG (see 'zoft train -h')
END
case_ "two configs" 2 "$ZOFT" train a.yaml b.yaml <<'END'
zoft: expected one config file, found 'a.yaml' and 'b.yaml'
END
case_ "unknown arithmetic" 2 "$ZOFT" train "$T/good.yaml" compute=bf61 <<'END'
zoft: command line: 'compute' expects one of auto, f32, bf16 or int8, found 'bf61': did you mean 'bf16'?
END
case_ "unknown arithmetic of a bare model" 2 "$ZOFT" score $DEMO/model --text README.md --compute fp16 <<'END'
zoft: --compute expects one of f32, bf16 or int8, found 'fp16'
END
case_ "--compute beside a config" 2 "$ZOFT" eval "$T/good.yaml" --compute bf16 <<'END'
zoft: --compute is for --text and --task: a config says compute=bf16
END
case_ "unknown CPU feature" 2 "$ZOFT" env --cpumask=avx3 <<'END'
zoft: --cpumask: 'avx3' is none of avx2, avx512, avx512bf16, avx512vnni, neon, dotprod, none or a number
END
check "nothing was written" test ! -e "$T/out"
finish
