#!/bin/sh
# Checks what keeps the tree searchable: include lines of lib/ run downward only (the table is the
# module map of CONTRIBUTING.md), and a struct, enum or union tag, and a file name, stands only once.
# shellcheck disable=SC2046,SC2013  # names without blanks
set -e
awk '
BEGIN {
  allow["base"] = ""
  allow["rng"] = "base"
  allow["tensor"] = "base"
  allow["dist"] = "base"
  allow["kern"] = "base rng tensor"
  allow["fmt"] = "base tensor"
  allow["conf"] = allow["track"] = allow["text"] = "base fmt"
  allow["model"] = "base tensor kern rng fmt"
  allow["back"] = "base tensor kern model"
  allow["zo"] = "base rng tensor kern"
  allow["peft"] = "base rng tensor kern fmt model"
  allow["task"] = "base fmt conf text"
  allow["eval"] = "base rng tensor dist kern fmt conf track text model zo peft task"
  allow["objective"] = allow["eval"] " eval"
  allow["compress"] = allow["eval"] " eval"
  allow["train"] = allow["eval"] " eval objective back compress"
}
FNR == 1 { split(FILENAME, part, "/"); folder = part[2] }
/^[ \t]*#[ \t]*include[ \t]*"/ {
  split($0, q, "\"")
  n = split(q[2], to, "/")
  files++
  if (n < 2) { if (q[2] !~ /_internal\.h$|_tmpl\.[ch]$/) bad = bad FILENAME ":" FNR ": include \"" q[2] "\" names no folder\n"; next }
  if (to[1] == folder) next
  if (q[2] ~ /_internal\.h$/) bad = bad FILENAME ":" FNR ": " q[2] " is internal to its folder\n"
  if (index(" " allow[folder] " ", " " to[1] " ") == 0)
    bad = bad FILENAME ":" FNR ": lib/" folder " may not include " q[2] "\n"
}
END {
  if (bad != "") { printf "%s", bad; exit 1 }
  printf "layers: %d includes, all downward\n", files
}' $(find lib -name '*.[ch]')

twice() { sort | uniq -d; }

# Tags that are defined twice, in lib/ and cmd/.
tags=$(grep -hoE '^ *(typedef )?(struct|enum|union) [A-Za-z_0-9]+ \{' $(find lib cmd -name '*.[ch]') |
  sed -E 's/.*(struct|enum|union) ([A-Za-z_0-9]+) \{/\2/' | twice)
# C files of the same name, anywhere.
files=$(find lib cmd tests -name '*.[ch]' | sed 's,.*/,,' | twice)
for tag in $tags; do
  echo "tag '$tag' is defined more than once:"
  grep -nE "(struct|enum|union) $tag \{" $(find lib cmd -name '*.[ch]')
done
for file in $files; do
  echo "file name '$file' is used more than once: $(find lib cmd tests -name "$file" | tr '\n' ' ')"
done
[ -z "$tags$files" ] || exit 1
echo "layers: every tag and every file name is unique"
