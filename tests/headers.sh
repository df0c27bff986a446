#!/bin/sh
# Compiles each public header alone, in C and in C++, where only the public headers can be included.
#   tests/headers.sh base/err.h kern/kern.h ...      names below lib/
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for header in "$@"; do
  mkdir -p "$dir/include/$(dirname "$header")"
  cp "lib/$header" "$dir/include/$header"
done
# shellcheck disable=SC2046  # flags are words
set_flags() { flags="-I$dir/include $(pkg-config --cflags jansson)"; }
set_flags
cxx=$(command -v c++ || command -v g++ || command -v clang++ || true)
[ -n "$cxx" ] || echo "headers: no C++ compiler, checked in C alone"
failed=0
for header in "$@"; do
  printf '#include "%s"\nint zoft_header_compiles;\n' "$header" > "$dir/alone.c"
  # shellcheck disable=SC2086
  ${CC:-cc} -std=c11 -Wall -Wextra -Wno-missing-field-initializers -Werror $flags -fsyntax-only "$dir/alone.c" || failed=1
  [ -n "$cxx" ] || continue
  grep -q "^ZF_BEGIN_DECLS" "lib/$header" || grep -q cplusplus "lib/$header" ||
    ! grep -qE '^[a-z].*\);' "lib/$header" ||
    { echo "lib/$header: declares functions without ZF_BEGIN_DECLS (base/cplusplus.h)"; failed=1; }
  cp "$dir/alone.c" "$dir/alone.cc"
  # shellcheck disable=SC2086
  "$cxx" -std=c++11 -Wall -Wextra -Wno-missing-field-initializers -Werror $flags -fsyntax-only "$dir/alone.cc" || failed=1
done
[ "$failed" = 0 ] || exit 1
echo "headers: $# public headers compile alone in C${cxx:+ and C++}"
