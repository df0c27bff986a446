#!/bin/sh
# quantize, prune, compare, shrink: files that load, the same bits on any number of threads, what is refused,
# nothing half-written.
. tests/cli/lib.sh
M=tests/golden/gguf/llama-q4_k_m.gguf
cp "$M" "$T/m.gguf"
i=0
while [ $i -lt 120 ]; do
  echo "the cat $i sat on the mat, and the dog $((i * 7 % 13)) on a hat"
  i=$((i + 1))
done >"$T/text.txt"
TEXT="--text $T/text.txt --window 24 --windows 4 --check $T/text.txt"

quiet() { "$ZOFT" "$@" -q >/dev/null; }
# field KEY: of the JSON object on standard input
field() { sed -E "s/.*\"$1\": ([^,}]*).*/\\1/"; }
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }
kl() { "$ZOFT" compare "$T/m.gguf" "$1" --text "$T/text.txt" --window 24 --windows 4 --json | field kl; }

# --- types and methods ---
for type in q8_0 q6_k q5_k_m q4_k_m q4_0 q4_1 q5_0 q5_1 iq4_nl q3_k_m q2_k f16 bf16; do
  # shellcheck disable=SC2086
  check "$type" quiet quantize "$T/m.gguf" "$T/$type.gguf" --type $type $TEXT
  check "$type loads and generates" quiet generate "$T/$type.gguf" -p 'the cat' -n 3
done
check "eight bits are closer than four" below "$(kl "$T/q8_0.gguf")" "$(kl "$T/q4_0.gguf")"
check "four bits are closer than two" below "$(kl "$T/q4_k_m.gguf")" "$(kl "$T/q2_k.gguf")"
for method in gptq awq; do
  # shellcheck disable=SC2086
  check "$method" quiet quantize "$T/m.gguf" "$T/$method.gguf" --type q4_0 --method $method $TEXT
  # shellcheck disable=SC2086
  OMP_NUM_THREADS=2 check "$method, two threads" quiet quantize "$T/m.gguf" "$T/$method.2.gguf" --type q4_0 --method $method $TEXT
  check "$method: the same file" cmp "$T/$method.gguf" "$T/$method.2.gguf"
done
# shellcheck disable=SC2086
check "importance, kept as GGUF" quiet quantize "$T/m.gguf" "$T/i.gguf" --type q4_0 --imatrix auto --save-imatrix "$T/im.gguf" $TEXT
# shellcheck disable=SC2086
check "importance, kept as .dat" quiet quantize "$T/m.gguf" "$T/i2.gguf" --type q4_0 --imatrix auto --save-imatrix "$T/im.dat" $TEXT
check "importance from the file" quiet quantize "$T/m.gguf" "$T/i3.gguf" --type q4_0 --imatrix "$T/im.gguf"
check "gives the same file" cmp "$T/i.gguf" "$T/i3.gguf"
# shellcheck disable=SC2086
check "types by sensitivity" quiet quantize "$T/m.gguf" "$T/mixed.gguf" --bpw 5 $TEXT
check "have the bits that were asked for" sh -c \
  "'$ZOFT' inspect '$T/mixed.gguf' >/dev/null && test $(wc -c <"$T/mixed.gguf") -lt $(wc -c <"$T/q6_k.gguf")"
check "the source is unchanged" cmp "$M" "$T/m.gguf"

# --- pruning ---
# shellcheck disable=SC2086
check "half the values" quiet prune "$T/m.gguf" "$T/half" --repair 4 $TEXT
check "loads" quiet score "$T/half" --text "$T/text.txt"
# shellcheck disable=SC2086
check "a smaller MLP" quiet prune "$T/m.gguf" "$T/small" --mlp 0.5 $TEXT
check "loads as a smaller model" sh -c "'$ZOFT' inspect '$T/small' | grep -q '^ffn  *128\$'"
check "and is quantised" quiet quantize "$T/small" "$T/small.gguf" --type q8_0
# shellcheck disable=SC2086
check "a layer less" quiet prune tests/golden/gguf/llama-q8_0.gguf "$T/short" --layers 1 $TEXT
check "has one layer" sh -c "'$ZOFT' inspect '$T/short' | grep -q '^layers  *1\$'"

# --- what is refused ---
case_ "no text" 2 "$ZOFT" quantize "$T/m.gguf" "$T/x.gguf" --method gptq <<'END'
zoft: gptq needs a calibration text: --text FILE
END
case_ "an unknown type" 2 "$ZOFT" quantize "$T/m.gguf" "$T/x.gguf" --type q9 <<'END'
zoft: --type: expected f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_k_s, q5_0, q5_1, q4_k_m, q4_k_s, q4_0, q4_1, iq4_nl, q3_k_m, q2_k, found 'q9'
END
case_ "two sizes" 2 "$ZOFT" quantize "$T/m.gguf" "$T/x.gguf" --type q4_0 --bpw 4 <<'END'
zoft: --type, --bpw and --size exclude each other: give one
END
case_ "another name" 2 "$ZOFT" quantize "$T/m.gguf" "$T/x.bin" <<'END'
zoft: TMP/x.bin: expected a name that ends in .gguf
END
case_ "importance of another model" 3 "$ZOFT" quantize datasets/demo/model "$T/x.gguf" --type q4_0 --imatrix "$T/im.dat" -q <<'END'
zoft: importance matrix of 'blk.0.attn_q.weight': 256 values, expected 64
END
head -c 60 "$T/im.dat" >"$T/short.dat"
check "a broken importance file is refused" sh -c "'$ZOFT' quantize '$T/m.gguf' '$T/x.gguf' --imatrix '$T/short.dat' 2>&1 | grep -q 'short.dat: byte'"
# shellcheck disable=SC2086
check "a gate" sh -c "'$ZOFT' quantize '$T/m.gguf' '$T/x.gguf' --type q2_k --max-kld 1e-9 $TEXT -q 2>/dev/null; test \$? = 5"
case_ "zeros and cuts" 2 "$ZOFT" prune "$T/m.gguf" "$T/x" --mlp 0.5 --sparsity 0.5 --text "$T/text.txt" <<'END'
zoft: zeros (--sparsity, --pattern, --method, --repair) and cuts (--mlp, --heads, --layers, --vocabulary) are two runs: prune the result again
END
case_ "a pattern" 2 "$ZOFT" prune "$T/m.gguf" "$T/x" --pattern 4:2 --text "$T/text.txt" <<'END'
zoft: --pattern: expected N:M with 1 <= N < M <= 64, such as 2:4, found '4:2'
END
case_ "a vocabulary without tokenizer.json" 2 "$ZOFT" prune "$T/m.gguf" "$T/x" --vocabulary "$T/text.txt" -q <<'END'
zoft: TMP/m.gguf: the vocabulary of a GGUF file cannot be cut: 'zoft export' writes it as a directory first
END
check "nothing is left of what failed" sh -c "! ls '$T'/x* 2>/dev/null"

# --- comparison ---
case_ "a model with itself" 0 "$ZOFT" compare "$T/m.gguf" "$T/m.gguf" --text "$T/text.txt" --window 24 --windows 1 --max-kld 0 <<'END'
TMP/m.gguf against the reference TMP/m.gguf
11 positions in 1 windows of 24 tokens of TMP/text.txt

perplexity, reference              380.5165  ±   64.5701
perplexity, model                  380.5165  ±   64.5701
ratio of perplexities               1.00000  ±   0.00000
KL divergence, mean                0.000000  ±  0.000000
KL divergence, median              0.000000             
KL divergence, 99 %                0.000000             
KL divergence, largest             0.000000             
change of p, mean (%)                 0.000  ±     0.000
change of p, root mean square (%)     0.000             
change of p, 5 % (%)                  0.000             
change of p, 95 % (%)                 0.000             
same top token (%)                  100.000  ±     0.000
END
case_ "another vocabulary" 3 "$ZOFT" compare "$T/m.gguf" datasets/demo/model --text "$T/text.txt" --window 24 <<'END'
zoft: datasets/demo/model: the tokenizer gives other tokens for TMP/text.txt than the reference's
END

# --- several ways at once ---
# shellcheck disable=SC2086
check "shrink" sh -c "'$ZOFT' shrink '$T/m.gguf' --out '$T/shrunk' --size 300k --text '$T/text.txt' --windows 2 -q >'$T/shrink.txt'"
check "recommends a file that is there" sh -c "test -f \"\$(sed -n 's/^recommended: \\([^ ]*\\) .*/\\1/p' '$T/shrink.txt')\""
finish
