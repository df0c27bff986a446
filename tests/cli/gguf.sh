#!/bin/sh
# A GGUF file as the model of every command that reads one.
. tests/cli/lib.sh
F=tests/golden/gguf/llama-f16.gguf
Q=tests/golden/gguf/llama-q8_0.gguf
printf 'the cat sat on the mat\non the mat\n' >"$T/text.txt"

case_ "tokenize, pieces with scores" 0 "$ZOFT" tokenize "$F" "the cat sat" <<'END'
piece   id  bytes  text
─────────────────────────
<s>      1  added  
▁the   261    0-3  "the"
▁cat   264    3-7  " cat"
▁sat   266   7-11  " sat"
4 tokens
END
case_ "tokenize, bytes" 0 "$ZOFT" tokenize "$Q" "the cat" <<'END'
piece   id  bytes  text
─────────────────────────
the    259    0-3  "the"
Ġcat   263    3-7  " cat"
2 tokens
END
case_ "score F16" 0 "$ZOFT" score "$F" --text "$T/text.txt" <<'END'
       1       7 tokens  nll    6.1588  perplexity 472.9
       2       4 tokens  nll    5.6585  perplexity 286.7
END
case_ "score Q8_0" 0 "$ZOFT" score "$Q" --text "$T/text.txt" <<'END'
       1      10 tokens  nll    6.0043  perplexity 405.2
       2       5 tokens  nll    5.9326  perplexity 377.1
END
case_ "eval" 0 "$ZOFT" eval "$Q" --text "$T/text.txt" <<'END'
model  tests/golden/gguf/llama-q8_0.gguf

      examples    loss  perplexity  accuracy  F1
────────────────────────────────────────────────
text         2  5.9822    396.3226         -   -
END
case_ "not trained by backpropagation" 2 "$ZOFT" train configs/demo.yaml base_model="$F" sequence_len=128 max_steps=1 method=adamw learning_rate=1e-3 output_dir="$T/out" <<'END'
zoft: tests/golden/gguf/llama-f16.gguf: the weights of a GGUF file cannot be trained by this method; write them as a model directory and train that (zoft export tests/golden/gguf/llama-f16.gguf --to DIR), or use method mezo
END
head -c 1000 "$F" >"$T/cut.gguf"
case_ "cut off" 3 "$ZOFT" inspect "$T/cut.gguf" <<'END'
zoft: TMP/cut.gguf: byte 567: key 'tokenizer.ggml.tokens': an array of 286 elements: 16777216 are allowed, 433 bytes follow
END
check "inspect" sh -c '"$0" inspect "$1" | grep -q "all wanted tensors present"' "$ZOFT" "$Q"
check "generate" sh -c '"$0" generate "$1" --prompt "the cat" -n 8 | grep -q "^the cat"' "$ZOFT" "$F"
# The template in the file: 21 tokens are those of "<|im_start|>user: the cat", a new line, and
# "<|im_start|>assistant: ".
C=tests/golden/gguf/qwen3.gguf
echo '{"messages":[{"role":"user","content":"the cat"}]}' >"$T/in.jsonl"
check "a template of its own" sh -c '"$0" generate "$1" --jsonl "$2" -n 1 | grep -q "\"prompt_tokens\":21,"' "$ZOFT" "$C" "$T/in.jsonl"
printf 'the cat\n/save %s\n' "$T/talk.json" | "$ZOFT" chat "$C" -t 0 -n 4 -q >/dev/null 2>"$T/.err"
check "chat" sh -c '[ ! -s "$0" ] && grep -q "\"content\": \"the cat\"" "$1"' "$T/.err" "$T/talk.json"
finish
