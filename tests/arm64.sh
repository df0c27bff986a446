#!/bin/sh
# Cross-builds the kernels and the program for arm64 and runs them under qemu: the kernels' tests,
# and the replay of a log that this machine's build wrote, to the same hashes.
#   [ZOFT=build/zoft] tests/arm64.sh DIR [seed...]
# Needs gcc-aarch64-linux-gnu and qemu-user; tests/arm64_program.sh fetches the libraries into DIR.
set -eu
dir=${1:?directory}
shift
cc=aarch64-linux-gnu-gcc
triple=aarch64-linux-gnu
mkdir -p "$dir/obj"
dir=$(cd "$dir" && pwd)
sh tests/arm64_program.sh "$dir" > "$dir/program.log" 2>&1 || { cat "$dir/program.log"; exit 1; }

flags="-std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror -Wno-error=maybe-uninitialized
  -Wno-missing-field-initializers
  -ffp-contract=off -fno-math-errno -fopenmp -Ilib -Itests -I$dir/root/usr/include/$triple"
lib=
for src in lib/base/*.c lib/tensor/dtype.c lib/rng/*.c lib/kern/*.c lib/kern/arm/*.c; do
  obj=$dir/obj/$(echo "$src" | tr / _).o
  isa=; case $src in *_dotprod.c) isa=-march=armv8.2-a+dotprod ;; esac
  # shellcheck disable=SC2086
  $cc $flags $isa -c -o "$obj" "$src"
  lib="$lib $obj"
done
for test in test_kern test_drivers test_block_scales test_directions; do
  # shellcheck disable=SC2086
  $cc $flags -o "$dir/$test" "tests/kern/$test.c" $lib \
    -L"$dir/root/usr/lib/$triple" -lsleef -lxxhash -lm -lpthread
  for seed in "${@:-1}"; do
    # the cross compiler's libc, then ours
    qemu-aarch64 -L "/usr/$triple" -E LD_LIBRARY_PATH="$dir/root/usr/lib/$triple" \
      "$dir/$test" --seed "$seed"
  done
done

# The program alone, and logs of this machine's.
zoft=${ZOFT:-build/zoft}
program=$dir/build/zoft-static
sh tests/static.sh "$zoft" "$program" qemu-aarch64
for type in f32 f24 bf16; do
  "$zoft" train configs/demo.yaml output_dir="$dir/log" overwrite_output_dir=true compute=f32 \
    max_steps=24 keyframe_steps=8 eval_steps=never eval_on_start=false test_datasets=[] num_train=64 \
    trained_dtype=$type -q --json >/dev/null
  here=$("$zoft" replay "$dir/log" --verify --json | sed 's/"seconds": [0-9.]*, //')
  there=$(qemu-aarch64 "$program" replay "$dir/log" --verify --json | sed 's/"seconds": [0-9.]*, //')
  [ "$here" = "$there" ] || { echo "FAIL replay of $type on arm64: $there, here: $here"; exit 1; }
  echo "replay of $type: $there"
done
