#!/bin/sh
# zoft export to GGUF files, shards, Ollama directories and merged models: they score as their source does.
. tests/cli/lib.sh
G=tests/golden/gguf
printf 'the cat sat on the mat\nHello, w\303\266rld! 42\n' >"$T/text.txt"
scores() { "$ZOFT" score "$@" --text "$T/text.txt" --json; }
scores "$DEMO/model" >"$T/demo.json"
check "numbers" grep -q logprobs "$T/demo.json"

# A directory becomes a file of the same values.
case_ "file" 0 "$ZOFT" export "$DEMO/model" --to "$T/demo.gguf" --type f32 <<'END'
TMP/demo.gguf: llama, 266816 parameters in 38 tensors, f32
END
scores "$T/demo.gguf" | cmp -s - "$T/demo.json"
check "file, the same numbers" [ $? = 0 ]
case_ "file again" 2 "$ZOFT" export "$DEMO/model" --to "$T/demo.gguf" <<'END'
zoft: TMP/demo.gguf exists: name a file that does not
END
# And back: config, tokenizer and values survive.
case_ "back" 0 "$ZOFT" export "$T/demo.gguf" --to "$T/back" --json <<'END'
{"directory": "TMP/back", "family": "llama", "parameters": 266816, "tensors": 38, "dtype": "f32"}
END
scores "$T/back" | cmp -s - "$T/demo.json"
check "back, the same numbers" [ $? = 0 ]
case_ "as stored" 0 "$ZOFT" export "$DEMO/model" --to "$T/stored.gguf" --json <<'END'
{"file": "TMP/stored.gguf", "family": "llama", "parameters": 266816, "tensors": 38, "dtype": "bf16"}
END

# Blocks of a GGUF file are copied; every architecture comes back.
for model in llama-f16 llama-q8_0 llama-q4_k_m llama3 qwen2 qwen3 phi3 phi3-factor gemma gemma2 gemma3; do
  check "copy $model" "$ZOFT" export "$G/$model.gguf" --to "$T/$model.gguf" -q >/dev/null
  scores "$G/$model.gguf" >"$T/a.json"
  scores "$T/$model.gguf" >"$T/b.json"
  check "copy $model, the same numbers" cmp "$T/a.json" "$T/b.json"
  # The file, written as a directory, becomes a file again.
  check "directory $model" "$ZOFT" export "$G/$model.gguf" --to "$T/$model" -q >/dev/null
  check "from directory $model" "$ZOFT" export "$T/$model" --to "$T/$model-2.gguf" -q >/dev/null
  scores "$T/$model-2.gguf" >"$T/b.json"
  check "from directory $model, the same numbers" cmp "$T/a.json" "$T/b.json"
done
case_ "types of a copy" 0 "$ZOFT" export "$G/llama-q4_k_m.gguf" --to "$T/types.gguf" <<'END'
TMP/types.gguf: llama, 467200 parameters in 11 tensors, q4_k, q6_k
END

# Tokenizers of published checkpoints, a kind each: the file gives the ids of the directory, and its own `pre`.
HARD=$(printf "It's  3 o'clock, I'LL pay \$1234.5\n\n  caf\303\251 \344\275\240\345\245\275 \360\237\230\200 HTTPServer")
while read -r checkpoint pre; do
  dir=tests/golden/published/checkpoints/$checkpoint
  rm -f "$T/tok.gguf"
  check "$checkpoint" "$ZOFT" export "$dir" --to "$T/tok.gguf" -q >/dev/null
  "$ZOFT" tokenize "$dir" "$HARD" --json | sed "s/.*\"ids\": //; s/\].*//" >"$T/a.json"
  "$ZOFT" tokenize "$T/tok.gguf" "$HARD" --json | sed "s/.*\"ids\": //; s/\].*//" >"$T/b.json"
  check "$checkpoint, the same ids" cmp "$T/a.json" "$T/b.json"
  [ "$pre" = - ] && continue # WordPiece has none
  found=$(strings -n 1 "$T/tok.gguf" | sed -n '/^tokenizer.ggml.pre$/,$p' | sed -n 2,3p | tr -d '\n')
  check "$checkpoint, $pre" [ "${found#*"$pre"}" != "$found" ]
done <<'END'
openai-community/gpt2 gpt-2
EleutherAI/pythia-70m-deduped olmo
ibm-granite/granite-3b-code-base gpt-2
meta-llama/Llama-3.2-1B-Instruct llama-bpe
microsoft/phi-4 dbrx
Qwen/Qwen2.5-0.5B-Instruct qwen2
mistralai/Mistral-Nemo-Instruct-2407 tekken
microsoft/Phi-4-mini-instruct gpt-4o
TinyLlama/TinyLlama-1.1B-Chat-v1.0 default
google/gemma-2b default
decapoda-research/llama-7b-hf default
ProsusAI/finbert -
FacebookAI/roberta-large-mnli gpt-2
END

# Blocks are made.
case_ "blocks" 0 "$ZOFT" export "$DEMO/model" --to "$T/q8.gguf" --type q8_0 <<'END'
TMP/q8.gguf: llama, 266816 parameters in 38 tensors, q8_0, f16
END
check "blocks are read" scores "$T/q8.gguf" >"$T/q8.json"

# Shards.
case_ "shards" 0 "$ZOFT" export "$DEMO/model" --to "$T/shards" --shard 300K --type f32 <<'END'
TMP/shards: llama, 266816 parameters in 38 tensors, f32
END
check "shards, files" [ "$(cd "$T/shards" && echo model*)" = "model-00001-of-00004.safetensors \
model-00002-of-00004.safetensors model-00003-of-00004.safetensors model-00004-of-00004.safetensors \
model.safetensors.index.json" ]
scores "$T/shards" | cmp -s - "$T/demo.json"
check "shards, the same numbers" [ $? = 0 ]
case_ "parts" 0 "$ZOFT" export "$DEMO/model" --to "$T/parts.gguf" --shard 600K --type f32 <<'END'
TMP/parts.gguf: llama, 266816 parameters in 38 tensors, f32 in 2 files
END
scores "$T/parts-00001-of-00002.gguf" | cmp -s - "$T/demo.json"
check "parts, the same numbers" [ $? = 0 ]
check "parts, the second" [ -e "$T/parts-00002-of-00002.gguf" ]
check "parts, no more" [ "$(echo "$T"/parts*)" = "$T/parts-00001-of-00002.gguf $T/parts-00002-of-00002.gguf" ]
case_ "no size" 2 "$ZOFT" export "$DEMO/model" --to "$T/x.gguf" --shard much <<'END'
zoft: command line: 'shard' expects a size such as 512M or 8G, found 'much'
END

# A run, an adapter, and what is merged from it.
check "run" "$ZOFT" train configs/demo.yaml output_dir="$T/run" adapter=lora max_steps=2 lora_alpha=64 \
  learning_rate=1e-2 -q >/dev/null 2>&1
scores "$DEMO/model" --adapter "$T/run" | sed 's/"adapter": [^,]*, //' >"$T/with.json"
for to in merged.gguf merged; do
  check "merge $to" "$ZOFT" export "$DEMO/model" --adapter "$T/run" --to "$T/$to" --type f32 -q >/dev/null
done
case_ "adapter as a model" 0 "$ZOFT" export "$T/run" --to "$T/whole" --format safetensors --type f32 <<'END'
TMP/whole: llama, 266816 parameters in 38 tensors, f32
END
scores "$T/merged" >"$T/a.json"
scores "$T/whole" >"$T/b.json"
scores "$T/merged.gguf" >"$T/c.json"
check "merged, the same numbers" cmp "$T/a.json" "$T/b.json"
check "merged file, the same numbers" cmp "$T/a.json" "$T/c.json"
cmp -s "$T/a.json" "$T/demo.json"
check "merged, not the base's" [ $? = 1 ]
check "lora-gguf" "$ZOFT" export "$T/run" --to "$T/lora.gguf" --format lora-gguf -q >/dev/null
scores "$T/demo.gguf" --adapter "$T/lora.gguf" >"$T/b.json"
check "lora-gguf is read" grep -q logprobs "$T/b.json"

# Ollama, with the card of the run.
case_ "ollama" 0 "$ZOFT" export "$T/run" --to "$T/ollama" --format ollama --type f16 <<'END'
TMP/ollama: llama, 266816 parameters in 38 tensors, f16
END
check "Modelfile" cmp "$T/ollama/Modelfile" - <<'END'
FROM ./model.gguf
# TEMPLATE: that of model.gguf, tokenizer.chat_template, if it has one
PARAMETER stop "<|endoftext|>"
END
check "card, its data" grep -q '| hash of the data | [0-9a-f]\{32\} |' "$T/ollama/README.md"
check "card, its scores" grep -q '| test, after | accuracy | ' "$T/ollama/README.md"
check "card, its config" grep -q '^lora_alpha: 64' "$T/ollama/README.md"
check "no card without a run" [ ! -e "$T/shards/README.md" ]
cp -r "$DEMO/model" "$T/chat"
chmod -R u+w "$T/chat"
cat >"$T/chat/chat_template.jinja" <<'END'
{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}
END
check "template" "$ZOFT" export "$T/chat" --to "$T/known" --format ollama -q >/dev/null
check "template, known" grep -q '^TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}$' "$T/known/Modelfile"
check "template, in the file" grep -qa 'tokenizer.chat_template.*for m in messages' "$T/known/model.gguf"

# A run that exports its result, and one whose model no GGUF file holds.
check "run with export" "$ZOFT" train configs/demo.yaml output_dir="$T/run2" export=gguf export_type=f32 \
  max_steps=2 load_best_model_at_end=false -q >/dev/null 2>&1
check "run with export, the file" scores "$T/run2/export.gguf" >"$T/a.json"
check "run with export, resumed" "$ZOFT" train "$T/run2/config.yaml" --resume max_steps=3 -q >/dev/null 2>&1
scores "$T/run2/export.gguf" | cmp -s - "$T/a.json"
check "run with export, replaced" [ $? = 1 ]
O=$T/opt
cat >"$T/opt.json" <<'END'
{"model_type": "opt", "vocab_size": 1024, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
 "ffn_dim": 32, "max_position_embeddings": 256, "word_embed_proj_dim": 16}
END
check "opt" "$ZOFT" init "$T/opt.json" --out "$O" --tokenizer "$DEMO/model" -q >/dev/null
for command in train plan; do
  "$ZOFT" $command configs/demo.yaml base_model=$O output_dir="$T/no" export=gguf max_steps=2 >"$T/said" 2>&1
  check "$command, refused" [ $? = 2 ]
  check "$command, told" grep -q "^zoft: export: $O: a GGUF file cannot hold a model of the family opt" "$T/said"
done
check "nothing is begun" [ ! -e "$T/no" ]
"$ZOFT" plan configs/demo.yaml export_type=q8_0 >"$T/said" 2>&1
check "no effect" grep -q '^warning: export_type has no effect: export is none' "$T/said"

# What is refused.
case_ "a family" 2 "$ZOFT" export "$O" --to "$T/x.gguf" <<'END'
zoft: TMP/opt: a GGUF file cannot hold a model of the family opt: expected one of the architectures llama, qwen2, qwen3, phi3, gpt2, gptneox, stablelm, granite, olmo2, smollm3, bert, modern-bert, gemma, gemma2, gemma3
END
case_ "a tokenizer" 2 "$ZOFT" export tests/golden/published/checkpoints/Qwen/Qwen3-Embedding-0.6B --to "$T/x.gguf" <<'END'
zoft: tests/golden/published/checkpoints/Qwen/Qwen3-Embedding-0.6B/tokenizer.json: post_processor: it adds tokens around a text that are not one BOS and one EOS: llama.cpp has no such form
END
case_ "a form of GELU" 0 "$ZOFT" export tests/golden/published/checkpoints/cerebras/Cerebras-GPT-111M --to "$T/gelu.gguf" <<'END'
warning: TMP/gelu.gguf: llama.cpp computes GELU in its other form: each activation differs by up to 5e-4
TMP/gelu.gguf: gpt2, 6548 parameters in 28 tensors, f32
END
case_ "a format" 2 "$ZOFT" export "$DEMO/model" --to "$T/x" --format peft <<'END'
zoft: --format: expected safetensors, gguf or ollama for a model (peft, mlx and lora-gguf for an adapter), found 'peft'
END
case_ "a name" 2 "$ZOFT" export "$DEMO/model" --to "$T/x.gguf" --format ollama <<'END'
zoft: --to TMP/x.gguf: --format ollama writes a directory
END
case_ "blocks in a directory" 2 "$ZOFT" export "$DEMO/model" --to "$T/x" --type q8_0 <<'END'
zoft: --type: a model directory holds f32, bf16 or f16, not q8_0
END
check "nothing is left" [ ! -e "$T/x" ]
check "no temporary names" [ -z "$(ls -d "$T"/*exporting* "$T"/*.tmp.* 2>/dev/null)" ]
case_ "a verifier" 2 "$ZOFT" export "$DEMO/model" --to "$T/x.gguf" --verify-with ollama <<'END'
zoft: --verify-with: expected llama-cpp, found 'ollama'
END
mkdir "$T/bin"
printf '#!/bin/sh\nread -r line\necho "{\\"absent\\": \\"no module\\"}"\n' >"$T/bin/python3"
chmod +x "$T/bin/python3"
case_ "no llama.cpp" 2 env PATH="$T/bin:$PATH" "$ZOFT" export "$DEMO/model" --to "$T/x.gguf" \
  --verify-with llama-cpp <<'END'
zoft: --verify-with llama-cpp: the Python package llama-cpp-python is not there: no module
END
printf '#!/bin/sh\nread -r line\necho "{\\"nll\\": 3.5, \\"tokens\\": [1, 2], \\"version\\": \\"0\\"}"\n' >"$T/bin/python3"
case_ "another tokenizer" 5 env PATH="$T/bin:$PATH" "$ZOFT" export "$DEMO/model" --to "$T/x.gguf" \
  --verify-with llama-cpp <<'END'
zoft: TMP/x.gguf: llama.cpp makes 2 tokens of a text, zoft 78
END
check "no file is left" [ ! -e "$T/x.gguf" ]
# A write that fails leaves nothing.
sh -c 'trap "" XFSZ; ulimit -f 8; "$@"' - "$ZOFT" export "$DEMO/model" --to "$T/full.gguf" 2>"$T/said"
check "no room, its status" [ $? = 1 ]
check "no room, told" grep -q "cannot write: File too large" "$T/said"
check "no room, nothing is left" [ -z "$(ls "$T"/full* 2>/dev/null)" ]
finish
