#!/bin/sh
# build/kernbench and build/noise_quality run, print what they say they print, and refuse what they
# cannot read.  How long anything takes is not looked at; other libraries may be installed or not.
. tests/cli/lib.sh
bench=$(dirname "$ZOFT")/kernbench

check "JSON" sh -c '"$@" >"$0"' "$T/out.json" "$bench" --json --repeat 1 --shapes 16x64x64,3x40x70
for key in cpu turns steps features products f32 bf16 int8 kernels peak_gflops shapes gflops peak_fraction \
  weight_gbytes_per_s gflops_bf16_weights noisy_over_two threads speedup noise update attention rows; do
  check "key $key" grep -q "\"$key\": " "$T/out.json"
done
check "both shapes in each of three arithmetics" test "$(grep -o '"shape": "16 x 64 -> 64"\|"shape": "3 x 40 -> 70"' "$T/out.json" | wc -l)" = 6

case_ "plain C, one section" 0 sh -c "'$bench' products --repeat 1 --shapes 4x8x16 --cpumask none | grep -c 'products by ref'" <<'END'
3
END
case_ "the table of threads" 0 sh -c "'$bench' threads --repeat 1 --shapes 4x8x16 --threads 1,2 | grep -o '^[a-z0-9]* *[12] '" <<'END'
f32               1 
f32               2 
bf16              1 
bf16              2 
int8              1 
int8              2 
END
check "every instruction set" sh -c "'$bench' rows --all --repeat 1 | grep -q '^== '"
check "every activation by name, then the norms" sh -c "'$bench' rows --repeat 1 | tail -n 5 | cut -d' ' -f1 | tr '\\n' ' ' | grep -q 'laplace(g) rmsnorm layernorm'"
check "help" sh -c "'$bench' -h | grep -q '^Usage: kernbench'"
case_ "no such section" 2 "$bench" product <<'END'
zoft: no section 'product': did you mean 'products'?
END
case_ "shapes" 2 "$bench" --shapes 4x8 <<'END'
zoft: --shapes: expected ROWSxINxOUT,... (at most 64), found '4x8'
END
case_ "too large a shape" 2 "$bench" --shapes 4x8x16,4x100000x100000 <<'END'
zoft: --shapes: expected ROWSxINxOUT,... (at most 64), found '4x100000x100000'
END
case_ "threads" 2 "$bench" --threads 1,x <<'END'
zoft: --threads: expected numbers from 1 to 1024, found 'x'
END
case_ "no turns" 2 "$bench" --repeat 0 <<'END'
zoft: --repeat expects a whole number from 1 to 10000, found '0'
END
case_ "unknown option" 2 "$bench" --shape 4x8x16 <<'END'
zoft: unknown option '--shape': did you mean '--shapes'?
END

# The noise at 2^18 values: every figure within 5 sigmas, or exit status 1.
quality=$(dirname "$ZOFT")/noise_quality
check "noise" sh -c '"$1" --values 18 >"$0"' "$T/noise.txt" "$quality"
check "49 figures and the head" test "$(wc -l <"$T/noise.txt")" = 51
check "raw words: 64 of a step, then of the next" test "$("$quality" --words 64 | head -c 1024 | cksum)" = "1180782138 1024"
case_ "noise: too few" 2 "$quality" --values 3 <<'END'
zoft: --values expects a whole number from 14 to 36, found '3'
END
finish
