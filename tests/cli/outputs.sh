#!/bin/sh
# What stands at the path of an output stays what it is: links, pipes and devices are written to.
. tests/cli/lib.sh

M=$DEMO/model
printf '{"prompt": "The film was"}\n{"prompt": "We loved"}\n' >"$T/p.jsonl"
printf 'text\nThe film was bad.\nWe loved it.\n' >"$T/rows.csv"
head -n 4 $DEMO/dev.jsonl >"$T/dev.jsonl"

generate() { "$ZOFT" generate $M --jsonl "$T/p.jsonl" -n 4 -t 0 -q -o "$1"; }
convert() { "$ZOFT" data convert "$T/rows.csv" "$1" >/dev/null; }
samples() {
  "$ZOFT" eval $M --task boolq --data "$T/boolq.jsonl" --log-samples "$1" -q >/dev/null
}
printf '{"passage": "It rains.", "question": "does it rain", "label": 1}\n' >"$T/boolq.jsonl"

# kept NAME WRITER ENDING: a link, a pipe and, where one can be made, a device
kept() {
  "$2" "$T/plain$3"
  check "$1: a file" test -s "$T/plain$3"
  rm -f "$T/real" && printf old >"$T/real"
  ln -sf real "$T/link$3"
  if [ "$2" = convert ]; then rm "$T/real"; fi # none is written over
  "$2" "$T/link$3"
  check "$1: a link stays one" test -L "$T/link$3"
  check "$1: what it names is written" cmp "$T/plain$3" "$T/real"
  mkfifo "$T/pipe$3"
  cat "$T/pipe$3" >"$T/read" &
  "$2" "$T/pipe$3"
  got=$?
  check "$1: to a pipe: exit status" test $got = 0
  [ $got = 0 ] || kill $! # it waits for what never comes
  wait
  check "$1: a pipe stays one" test -p "$T/pipe$3"
  check "$1: it carries the same" cmp "$T/plain$3" "$T/read"
  if [ "$(id -u)" = 0 ] && mknod "$T/null$3" c 1 3 2>/dev/null && (: >"$T/null$3") 2>/dev/null; then
    "$2" "$T/null$3"
    check "$1: to a device: exit status" test $? = 0
    check "$1: a device stays one" test -c "$T/null$3"
  else
    echo "SKIP $1 to a device: none can be made here"
  fi
  check "$1: nothing is left beside" sh -c "! ls '$T' | grep '[.]tmp[.]'"
}
kept "generate -o" generate ".out"
kept "data convert" convert ".jsonl"
kept "eval --log-samples" samples ".log"

# Standard output by name, also where it is appended to a file.
printf 'before\n' >"$T/all"
generate /dev/stdout >>"$T/all"
{ printf 'before\n' && cat "$T/plain.out"; } >"$T/want"
check "standard output is not replaced" cmp "$T/want" "$T/all"

if [ "$(id -u)" = 0 ] && mknod "$T/full" c 1 7 2>/dev/null && (: >"$T/full") 2>/dev/null; then
  case_ "a full device" 1 generate "$T/full" <<'END'
zoft: TMP/full: cannot write: No space left on device
END
  check "a full device stays one" test -c "$T/full"
fi
# Standard output must take what is printed, help too.
closed() { "$ZOFT" "$@" >&-; }
for words in -h --version "train -h" env "data stats $DEMO/dev.jsonl"; do
  # shellcheck disable=SC2086
  case_ "closed standard output: $words" 1 closed $words <<'END'
zoft: cannot write to standard output
END
done
"$ZOFT" train configs/demo.yaml output_dir="$T/run" num_train=16 max_steps=1 eval_steps=never eval_on_start=false \
  test_datasets=[] >&- 2>&-
check "closed streams: exit status" test $? = 1
check "closed streams: no file of the run has their text" sh -c "! grep -rl 'Next:\|forecast  ' '$T/run'"
if [ -c "$T/full" ]; then
  full() { "$ZOFT" "$@" >"$T/full"; }
  case_ "full standard output" 1 full train -h <<'END'
zoft: cannot write to standard output
END
fi
mkdir "$T/dir"
case_ "a directory" 1 generate "$T/dir" <<'END'
zoft: TMP/dir: cannot create: Is a directory
END
finish
