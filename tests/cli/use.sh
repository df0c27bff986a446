#!/bin/sh
# The commands as a user runs them, on the embedded demo model: exact screens, exit statuses, files.
. tests/cli/lib.sh

short="configs/demo.yaml output_dir=$T/out max_steps=4 eval_steps=2 num_train=64 num_eval=40 logging_steps=1"

case_ "help" 0 "$ZOFT" -h <<'END'
zoft 0.1.0: fine-tunes language models without backpropagation

Usage: zoft <command> [config.yaml] [key=value ...] [options]

Commands:
  train      fine-tune a model by forward passes alone, or by backpropagation
  tune       race settings on the dev set, and write the winner's config
  eval       score a model: loss, perplexity, accuracy, F1
  predict    label new rows with a tuned model
  score      log-probabilities of texts, token by token
  generate   continue a text, greedily or by sampling
  chat       chat with a model in the terminal
  replay     rebuild the weights of any step of a run from its log
  apply      turn a base model into the tuned one by a step log alone
  log        steps of a run: show, stats, diff
  tokenize   ids, pieces and offsets of a text, and back
  inspect    what is in a model, adapter, weights file, tokenizer, data file or step log
  validate   check config, model, tokenizer and data, and show what is learned
  data       show, count, split and convert data files
  plan       memory and time of a run before it starts, and what fits
  merge      fold an adapter into its base model
  init       write a model of random weights from a config.json
  export     write a model, run or adapter for other tools: GGUF, safetensors, Ollama, PEFT, MLX
  quantize   write a model as a GGUF file of fewer bits
  prune      set weights to zero, or cut parts of a model off
  shrink     make a model smaller in several ways, measure each, recommend one
  compare    how far a compressed or tuned model is from a reference
  bench      how fast this machine runs a training step
  env        what this machine and this build are

Examples:
  zoft train configs/demo.yaml
  zoft train configs/sst2.yaml base_model=DIR data_dir=datasets learning_rate=1e-4
  zoft generate out/demo --prompt 'the film was'

'zoft <command> -h' shows one command. Exit status: 0 ok, 1 failure, 2 usage or config,
3 invalid model, tokenizer, data or log, 4 memory limit, 5 gate, 6 diverged,
130/143 interrupted.
END
same_help() { "$ZOFT" help train | cmp - "$T/train.help"; }
"$ZOFT" train -h >"$T/train.help"
check "help of a command" same_help
case_ "help of no command" 2 "$ZOFT" help trian <<'END'
zoft: unknown command 'trian': did you mean 'train'?
END
case_ "no command" 2 "$ZOFT" <<'END'
zoft 0.1.0: fine-tunes language models without backpropagation

Usage: zoft <command> [config.yaml] [key=value ...] [options]

Commands:
  train      fine-tune a model by forward passes alone, or by backpropagation
  tune       race settings on the dev set, and write the winner's config
  eval       score a model: loss, perplexity, accuracy, F1
  predict    label new rows with a tuned model
  score      log-probabilities of texts, token by token
  generate   continue a text, greedily or by sampling
  chat       chat with a model in the terminal
  replay     rebuild the weights of any step of a run from its log
  apply      turn a base model into the tuned one by a step log alone
  log        steps of a run: show, stats, diff
  tokenize   ids, pieces and offsets of a text, and back
  inspect    what is in a model, adapter, weights file, tokenizer, data file or step log
  validate   check config, model, tokenizer and data, and show what is learned
  data       show, count, split and convert data files
  plan       memory and time of a run before it starts, and what fits
  merge      fold an adapter into its base model
  init       write a model of random weights from a config.json
  export     write a model, run or adapter for other tools: GGUF, safetensors, Ollama, PEFT, MLX
  quantize   write a model as a GGUF file of fewer bits
  prune      set weights to zero, or cut parts of a model off
  shrink     make a model smaller in several ways, measure each, recommend one
  compare    how far a compressed or tuned model is from a reference
  bench      how fast this machine runs a training step
  env        what this machine and this build are

Examples:
  zoft train configs/demo.yaml
  zoft train configs/sst2.yaml base_model=DIR data_dir=datasets learning_rate=1e-4
  zoft generate out/demo --prompt 'the film was'

'zoft <command> -h' shows one command. Exit status: 0 ok, 1 failure, 2 usage or config,
3 invalid model, tokenizer, data or log, 4 memory limit, 5 gate, 6 diverged,
130/143 interrupted.
END
for c in train tune eval predict score generate chat replay apply log tokenize inspect validate bench env; do
  check "help of $c" sh -c "'$ZOFT' $c -h | grep -q '^Usage: zoft $c'"
  check "man page names $c" grep -q "^\.B $c" cmd/zoft.1
  check "completion names $c" grep -qw "$c" cmd/zoft.bash
done
# shellcheck disable=SC2086
check "train" "$ZOFT" train $short -q --json >"$T/train.json"
for f in model.safetensors config.json tokenizer.json run.json config.yaml metrics.jsonl steps.log; do
  check "train wrote $f" test -s "$T/out/$f"
done
check "no temporary file is left" sh -c "! find '$T/out' -name '*.tmp.*' | grep ."
check "status" grep -q '"status": "finished"' "$T/out/run.json"
check "the result is an object" grep -q '"status": "finished"' "$T/train.json"
check "a line a step and a score" sh -c "[ \$(grep -c '\"train\"' '$T/out/metrics.jsonl') = 4 ]"
check "the log has a record a step" sh -c "'$ZOFT' inspect '$T/out/steps.log' --json | grep -q '\"steps\": 4'"
check "config.yaml runs again" "$ZOFT" train "$T/out/config.yaml" output_dir="$T/again" -q --json >"$T/again.json"
check "to the same weights" cmp "$T/out/model.safetensors" "$T/again/model.safetensors"
for run in out again; do "$ZOFT" inspect "$T/$run/steps.log" --all | grep loss >"$T/$run.steps"; done
check "by the same steps" cmp "$T/out.steps" "$T/again.steps"
# A run's bits do not depend on threads, micro-batches or scores in between.
bits() {
  "$ZOFT" train configs/demo.yaml output_dir="$T/bits" max_steps=6 test_datasets=[] \
    load_best_model_at_end=false -q --json "$@" >"$T/bits.json" && cp "$T/bits/model.safetensors" "$T/bits.now"
}
bits micro_batch_size=16 threads=1 eval_steps=never && mv "$T/bits.now" "$T/bits.first"
check "four micro-batches, two threads" bits micro_batch_size=4 gradient_accumulation_steps=4 threads=2 eval_steps=never
check "give the same weights" cmp "$T/bits.first" "$T/bits.now"
check "sixteen micro-batches with dev scores" bits micro_batch_size=1 gradient_accumulation_steps=16 eval_steps=2
check "give the same weights as well" cmp "$T/bits.first" "$T/bits.now"
# Nor on the instruction set, in any arithmetic.
small() {
  "$ZOFT" train configs/demo.yaml output_dir="$T/bits" max_steps=2 num_train=4 micro_batch_size=2 val_datasets=[] \
    test_datasets=[] load_best_model_at_end=false -q --json "$@" >"$T/bits.json" 2>"$T/bits.err" &&
    cp "$T/bits/model.safetensors" "$T/bits.now"
}
for c in f32 bf16 int8; do
  check "$c on the best there is" small compute=$c && mv "$T/bits.now" "$T/bits.first"
  for mask in none avx2 avx512 neon; do
    check "$c on $mask" small compute=$c --cpumask $mask
    check "gives the same weights" cmp "$T/bits.first" "$T/bits.now"
  done
done
check "an option without effect is named" sh -c "'$ZOFT' train configs/demo.yaml output_dir='$T/idle' max_steps=1 \
  val_datasets=[] eval_steps=never test_datasets=[] early_stopping_patience=3 --json 2>&1 >/dev/null |
  grep -q 'warning: early_stopping_patience has no effect: there are no dev scores'"
# Exact numbers are those of f32; `auto` differs from machine to machine.
case_ "eval" 0 "$ZOFT" eval configs/demo.yaml num_eval=40 compute=f32 -q <<'END'
model  datasets/demo/model

      examples    loss  perplexity  accuracy      F1
────────────────────────────────────────────────────
dev        300  0.7192           -    50.0 %  33.3 %
test        40  0.6831           -    55.0 %  35.5 %

dev  examples  precision   recall      F1  as No  as Yes
────────────────────────────────────────────────────────
No        150          -    0.0 %   0.0 %      0     150
Yes       150     50.0 %  100.0 %  66.7 %      0     150

test  examples  precision   recall      F1  as No  as Yes
─────────────────────────────────────────────────────────
No          18          -    0.0 %   0.0 %      0      18
Yes         22     55.0 %  100.0 %  71.0 %      0      22
END
case_ "eval gate" 5 "$ZOFT" eval configs/demo.yaml num_eval=40 compute=f32 --fail-under 99.9 -q <<'END'
zoft: dev accuracy 50.0 % is below --fail-under 99.9
model  datasets/demo/model

      examples    loss  perplexity  accuracy      F1
────────────────────────────────────────────────────
dev        300  0.7192           -    50.0 %  33.3 %
test        40  0.6831           -    55.0 %  35.5 %

dev  examples  precision   recall      F1  as No  as Yes
────────────────────────────────────────────────────────
No        150          -    0.0 %   0.0 %      0     150
Yes       150     50.0 %  100.0 %  66.7 %      0     150

test  examples  precision   recall      F1  as No  as Yes
─────────────────────────────────────────────────────────
No          18          -    0.0 %   0.0 %      0      18
Yes         22     55.0 %  100.0 %  71.0 %      0      22
END
case_ "dry run" 0 "$ZOFT" train configs/demo.yaml output_dir="$T/dry" num_train=64 val_datasets=[] test_datasets=[] --dry-run -q <<'END'
base_model: datasets/demo/model  # configs/demo.yaml:8:13
output_dir: TMP/dry  # command line
overwrite_output_dir: true  # configs/demo.yaml:10:23
dtype: auto  # configs/demo.yaml:32:8
trained_dtype: auto  # default
save_dtype: auto  # default
export: none  # default
export_type: auto  # default
compute: auto  # configs/demo.yaml:44:10
trainable: ["*"]  # configs/demo.yaml:31:12
threads: auto  # default
data_dir: datasets  # default
datasets:  # configs/demo.yaml:14:3
- path: demo/train.jsonl  # configs/demo.yaml:14:11
  type: classification  # configs/demo.yaml:15:11
  prompt: "{text} Would I recommend it?"  # configs/demo.yaml:16:13
  options: [" No", " Yes"]  # configs/demo.yaml:17:14
val_datasets: []  # command line
test_datasets: []  # command line
val_set_size: 0  # default
num_train: 64  # command line
dataset_exact_deduplication: false  # default
streaming: false  # default
num_eval: all  # default
sequence_len: auto  # configs/demo.yaml:22:15
excess_length_strategy: raise  # configs/demo.yaml:23:25
train_on_inputs: false  # default
add_eos: auto  # default
method: mezo  # default
learning_rate: 1e-4  # configs/demo.yaml:26:16
lr_scheduler: constant  # configs/demo.yaml:27:15
weight_decay: 0  # configs/demo.yaml:33:15
max_steps: 1000  # configs/demo.yaml:34:12
micro_batch_size: 16  # configs/demo.yaml:35:19
gradient_accumulation_steps: 1  # configs/demo.yaml:36:30
seed: 42  # configs/demo.yaml:37:7
zo_eps: auto  # configs/demo.yaml:28:9
zo_probes: 1  # configs/demo.yaml:29:12
zo_direction: gaussian  # configs/demo.yaml:30:15
adam_beta1: 0.9  # default
adam_beta2: 0.999  # default
adam_epsilon: 1e-8  # default
momentum: 0.9  # default
gradient_checkpointing: false  # default
eval_steps: 100  # configs/demo.yaml:39:13
eval_on_start: true  # default
metric_for_best_model: accuracy  # configs/demo.yaml:40:24
load_best_model_at_end: true  # configs/demo.yaml:41:25
save_total_limit: 2  # configs/demo.yaml:42:19
logging_steps: 10  # configs/demo.yaml:43:16
loss_watchdog_threshold: auto  # default
loss_watchdog_patience: 10  # default
END
check "a dry run writes nothing" test ! -e "$T/dry"
case_ "tokenize" 0 "$ZOFT" tokenize $DEMO/model 'The film was good.' <<'END'
piece           id  bytes  text
──────────────────────────────────
<|endoftext|>    0  added  
The            273    0-3  "The"
Ġfilm          454    3-8  " film"
Ġwas           263   8-12  " was"
Ġg             320  12-14  " g"
ood            639  14-17  "ood"
.               14  17-18  "."
7 tokens
END
case_ "tokenize json" 0 "$ZOFT" tokenize $DEMO/model 'The film' --json <<'END'
{"ids": [0, 273, 454], "pieces": ["<|endoftext|>", "The", "Ġfilm"], "offsets": [[-1, -1], [0, 3], [3, 8]]}
END
case_ "generate" 0 "$ZOFT" generate $DEMO/model --prompt 'The film was' -n 12 <<'END'
The film was a mistake. The film is set in 
END
case_ "generate up to a text" 0 "$ZOFT" generate $DEMO/model --prompt 'The film was' -n 12 --stop ' The' <<'END'
The film was a mistake.
END
case_ "generate, no effect" 2 "$ZOFT" generate $DEMO/model --prompt 'The film was' --min-p 0.1 <<'END'
zoft: --top-k, --top-p and --min-p have no effect at --temperature 0
END
case_ "generate, sampled twice the same" 0 sh -c "'$ZOFT' generate $DEMO/model -p 'The' -n 8 -t 1 --seed 7 >'$T/a'; '$ZOFT' generate $DEMO/model -p 'The' -n 8 -t 1 --seed 7 | cmp - '$T/a'" <<'END'
END
printf 'The film was good.\n\nThe film was bad.\n' >"$T/lines.txt"
case_ "score" 0 "$ZOFT" score $DEMO/model --text "$T/lines.txt" <<'END'
       1       7 tokens  nll    5.2974  perplexity 199.8
       3       7 tokens  nll    7.5113  perplexity 1829
END
case_ "eval text" 0 "$ZOFT" eval $DEMO/model --text "$T/lines.txt" <<'END'
model  datasets/demo/model

      examples    loss  perplexity  accuracy  F1
────────────────────────────────────────────────
text         2  6.4044    604.4703         -   -
END
case_ "validate" 0 "$ZOFT" validate configs/demo.yaml num_train=64 -n 1 <<'END'
model      datasets/demo/model (llama), 266.8 k parameters, context 128
tokenizer  byte-level BPE, 1024 ids
training   1000 steps of 16 examples; memory forecast N MB, AdamW would need N MB

set       rows  examples  tokens  targets  truncated  dropped  masked  run a pass
─────────────────────────────────────────────────────────────────────────────────
training    64        64    4078      128          0        0       0        1975
dev        300       300   18846      600          0        0       0        9123
test       500       500   32736     1000          0        0       0       15868

datasets/demo/train.jsonl:382  (options of one token: only their rows of the head are computed)
  <|endoftext|>My aunt had bought the tickets. I must say that the cast was worth every penny. The ending was utterly flawless. Would I recommend it?« No»  (33 tokens, 1 target)
  <|endoftext|>My aunt had bought the tickets. I must say that the cast was worth every penny. The ending was utterly flawless. Would I recommend it?« Yes»  (33 tokens, 1 target)  <- right

The config, model, tokenizer and data are valid.
END
case_ "inspect" 0 "$ZOFT" inspect $DEMO/model <<'END'
kind         model
path         datasets/demo/model
family       llama
layers       4
hidden       64
heads        4
kv_heads     4
head_dim     16
ffn          176
vocabulary   1024
context      128
activation   silu
position     default
norm         RMSNorm
order        pre-norm
head         tied to the embedding
parameters   266.8 k
files        1
tensors_in_file 38
elements     266.8 k
bytes        N kB
format       pt
unused       0
tokenizer    byte-level BPE
token_ids    1024
bos          <|endoftext|> (0), from tokenizer_config.json
eos          <|endoftext|> (0), from tokenizer_config.json
pad          none
ends         0 <|endoftext|>, from generation_config.json
hash         8d3c0a34aa6ade8a6de6e86684552b00
checks       all wanted tensors present, shapes as in config.json, values finite

tensor                                          dtype       shape    bytes
──────────────────────────────────────────────────────────────────────────
model.embed_tokens.weight                       BF16   [1024, 64]   N kB
model.layers.0.input_layernorm.weight           BF16         [64]    N B
model.layers.0.mlp.down_proj.weight             BF16    [64, 176]  N kB
model.layers.0.mlp.gate_proj.weight             BF16    [176, 64]  N kB
model.layers.0.mlp.up_proj.weight               BF16    [176, 64]  N kB
model.layers.0.post_attention_layernorm.weight  BF16         [64]    N B
model.layers.0.self_attn.k_proj.weight          BF16     [64, 64]  N kB
model.layers.0.self_attn.o_proj.weight          BF16     [64, 64]  N kB
model.layers.0.self_attn.q_proj.weight          BF16     [64, 64]  N kB
model.layers.0.self_attn.v_proj.weight          BF16     [64, 64]  N kB
model.layers.1.input_layernorm.weight           BF16         [64]    N B
model.layers.1.mlp.down_proj.weight             BF16    [64, 176]  N kB
... and 26 more: --all shows them
END
# Arithmetic: what was asked for is said, and where it is emulated.
arith() { # arith WORDS...: the lines of a dry run about kernels, eps and warnings
  "$ZOFT" train configs/demo.yaml output_dir="$T/dry" num_train=16 val_datasets=[] test_datasets=[] zo_eps=1e-3 \
    threads=1 --dry-run "$@" 2>&1 >/dev/null | sed -n 's/^steps.*\(eps [0-9.e-]*\).*/\1/p; /^kernels/p; /^warning/p'
}
case_ "f32 never warns" 0 arith compute=f32 --cpumask none <<'END'
eps 0.001
kernels    f32 on ref, 1 thread
END
case_ "auto is f32 where there is nothing else" 0 arith --cpumask none <<'END'
eps 0.001
kernels    f32 on ref, 1 thread
END
case_ "bf16 emulated" 0 arith compute=bf16 --cpumask none <<'END'
eps 0.001
kernels    bf16 on ref, 1 thread
warning: compute bf16 is not native here: the 29 products of a pass run emulated, slower than f32
warning: zo_eps 0.001 is near for bf16: its projected gradient follows that of f32 from 0.003 on
END
case_ "int8 goes further" 0 arith compute=int8 zo_eps=auto --cpumask none <<'END'
eps 0.01
kernels    int8 on ref, 1 thread
warning: compute int8 is not native here: the 29 products of a pass run emulated, slower than f32
END
check "a pinned run" "$ZOFT" train configs/demo.yaml output_dir="$T/f32" max_steps=2 num_train=32 val_datasets=[] \
  test_datasets=[] compute=f32 -q --json >"$T/f32.json"
check "run.json names its arithmetic" grep -q '"compute": "f32"' "$T/f32/run.json"
check "and so does the log" sh -c "'$ZOFT' inspect '$T/f32/steps.log' --json | grep -q '\"kernels\": \"f32\"'"
for c in f32 bf16 int8; do
  check "env: $c" sh -c "'$ZOFT' env --cpumask none | grep -q '^$c  *\(native\|emulated\) on ref'"
done
check "score in f32 is the default" sh -c "'$ZOFT' score $DEMO/model --text '$T/lines.txt' --compute f32 >'$T/a';
  '$ZOFT' score $DEMO/model --text '$T/lines.txt' | cmp - '$T/a'"
mkdir -p "$T/hub/models--ORG--NAME/refs" "$T/hub/models--ORG--NAME/snapshots"
printf abc123 >"$T/hub/models--ORG--NAME/refs/main"
cp -r $DEMO/model "$T/hub/models--ORG--NAME/snapshots/abc123"
check "ORG/NAME in the cache" sh -c "HF_HUB_CACHE='$T/hub' '$ZOFT' generate ORG/NAME -p 'The film' -n 2 >/dev/null"
# After the first steps resident memory stays what it is: nothing is allocated in a step.
for _ in 1 2 3 4 5 6 7 8; do cat $DEMO/train.jsonl; done | sed 's/"label": *[01]/"n": 0/' >"$T/same.jsonl"
check "train on text" "$ZOFT" train base_model=$DEMO/model datasets.0.path="$T/same.jsonl" datasets.0.type=text \
  sequence_len=16 learning_rate=1e-5 max_steps=40 logging_steps=1 output_dir="$T/mem" eval_steps=never threads=1 -q --json >"$T/mem.json"
case $ZOFT in
*san-*) echo "SKIP resident memory in a step: sanitizers hold freed memory back" ;;
*) check "no memory is taken after the third step" sh -c "
  sed -n 's/.*\"step\": \([0-9]*\), .*rss_bytes\": \([0-9]*\).*/\1 \2/p' '$T/mem/metrics.jsonl' |
  awk '\$1 == 3 { a = \$2 } \$1 == 40 { b = \$2 } END { exit !(a > 0 && b - a <= 65536) }'" ;;
esac
finish
