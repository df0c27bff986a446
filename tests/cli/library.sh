#!/bin/sh
# A program of C against the library, with public headers alone; and what the shared library exports.
. tests/cli/lib.sh
build=$(dirname "$ZOFT")
case $build in
*san-*) echo "SKIP library: a program without sanitizers does not link against a library with them" ;;
*)
  for header in $(make -s print-public); do
    mkdir -p "$T/include/$(dirname "$header")" && cp "lib/$header" "$T/include/$header"
  done
  packages="jansson libpcre2-8 libutf8proc yaml-0.1 libxxhash zlib libzstd"
  # shellcheck disable=SC2046,SC2086  # flags are words
  check "it compiles and links" cc -std=gnu11 -Wall -Werror -Wno-missing-field-initializers -I"$T/include" \
    $(pkg-config --cflags $packages) tests/library/logits.c "$build/libzoft.a" $(pkg-config --libs $packages) \
    -lsleef -fopenmp -lm -lpthread -o "$T/logits"
  case_ "it runs without a set-up" 0 "$T/logits" "$DEMO/model" <<'END'
0  0.038883
END
  case_ "it says what is wrong" 1 "$T/logits" "$T/none" <<'END'
-4 TMP/none/config.json: cannot open: No such file or directory 0
END
  ;;
esac
finish
