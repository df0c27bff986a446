#!/bin/sh
# zoft export: a GGUF file as a model directory.  The numbers of such directories in Transformers:
# tests/golden/check_saved.py.
. tests/cli/lib.sh
G=tests/golden/gguf
printf 'the cat sat on the mat\nHello, w\303\266rld! 42\n' >"$T/text.txt"

# The directory must give the log-probabilities that the file gives, bit for bit.
for model in llama-f16 llama-q8_0 llama-q4_k_m llama3 gemma gemma2 gemma3 phi3 phi3-factor qwen2 qwen3; do
  check "export $model" "$ZOFT" export "$G/$model.gguf" --to "$T/$model" -q >/dev/null
  "$ZOFT" score "$G/$model.gguf" --text "$T/text.txt" --json >"$T/file.json"
  "$ZOFT" score "$T/$model" --text "$T/text.txt" --json >"$T/dir.json"
  check "same numbers $model" cmp "$T/file.json" "$T/dir.json"
  check "numbers $model" grep -q logprobs "$T/dir.json"
done
check "chat template" grep -q '"chat_template"' "$T/qwen3/tokenizer_config.json"
check "end of a text" grep -q '"eos_token_id"' "$T/qwen3/generation_config.json"

case_ "narrow" 0 "$ZOFT" export "$G/llama-q8_0.gguf" --to "$T/narrow" --dtype bf16 <<'END'
TMP/narrow: llama, 29600 parameters in 21 tensors, bf16
read back: ...
END
check "its dtype" grep -q '"torch_dtype": "bfloat16"' "$T/narrow/config.json"
case_ "json" 0 "$ZOFT" export "$G/qwen2.gguf" --to "$T/json" --json <<'END'
{"directory": "TMP/json", "family": "qwen2", "parameters": 23456, "tensors": 15, "dtype": "f32", KL}
END
case_ "taken" 2 "$ZOFT" export "$G/qwen2.gguf" --to "$T/json" <<'END'
zoft: TMP/json is not empty: name a directory that is, or none
END
case_ "no file" 2 "$ZOFT" export --to "$T/x" <<'END'
zoft: expected a model, a run or an adapter: zoft export MODEL --to PATH
END
case_ "no directory" 2 "$ZOFT" export "$G/qwen2.gguf" <<'END'
zoft: --to: name the directory or file to write
END
case_ "another type" 2 "$ZOFT" export "$G/qwen2.gguf" --to "$T/x" --dtype f24 <<'END'
zoft: --dtype: expected one of f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, found 'f24'
END
head -c 1000 "$G/qwen2.gguf" >"$T/cut.gguf"
"$ZOFT" export "$T/cut.gguf" --to "$T/cut" 2>/dev/null
check "a broken file, its status" [ $? = 3 ]
check "nothing is left of it" [ ! -e "$T/cut" ]
# A write that fails leaves nothing: files may have 8 blocks of 512 bytes.
sh -c 'trap "" XFSZ; ulimit -f 8; "$@"' - "$ZOFT" export "$G/qwen2.gguf" --to "$T/full" 2>"$T/said"
check "no room, its status" [ $? = 1 ]
check "no room, told" grep -q "cannot write: File too large" "$T/said"
check "no room, nothing is left" [ ! -e "$T/full" ]
finish
