#!/bin/sh
# Numbers on the command line: what is not one, or lies outside the range, is refused, and no number
# stands for "not given".
. tests/cli/lib.sh

M=$DEMO/model
# refused COMMAND OPTION VALUE...: each value of the option is a usage error that names it
refused() {
  command=$1 option=$2
  shift 2
  for value; do
    "$ZOFT" $command "--$option=$value" >"$T/out" 2>"$T/err"
    check "$command --$option=$value: exit status" test $? = 2
    check "$command --$option=$value: message" grep -q "^zoft: --$option expects a .*, found '$value'$" "$T/err"
  done
}
for command in "generate $M --prompt a" "chat $M"; do
  refused "$command" temperature nan inf -1 -0.5 1e7 x ''
  refused "$command" top-p nan -inf 0 -1 1.1
  refused "$command" min-p nan -0.1 2
  refused "$command" repetition-penalty nan 0 -1 inf
  refused "$command" top-k -1 1.5 nan 99999999999
  refused "$command" max-new-tokens 0 -1 nan
  refused "$command" seed -1 nan 99999999999999999999
done
refused "generate $M --prompt a" samples 0 -1 65537
refused "generate $M --prompt a" batch-size 0 -1 1025
refused "chat $M" context 0 -1
refused "eval configs/demo.yaml" fail-under nan -1 100.5 inf
task="eval $M --task boolq --data $DEMO/dev.jsonl"
refused "$task" limit -1 0 nan
refused "$task" num-fewshot -1 1.5
refused "$task" max-length 0 -1
refused "replay out" to-step -1 x 4294967296
refused "replay out" scale 0 -1 nan inf
refused "replay out" ema 0 1 nan
refused "apply log model" to-step -1
refused "data show $DEMO/dev.jsonl" number -1
refused "data stats $DEMO/dev.jsonl" sequence-len 0 -1
refused "data split $DEMO/dev.jsonl" dev -1 nan
refused "data split $DEMO/dev.jsonl" seed -1
refused "init c.json --out $T/x" seed -1
refused "validate configs/demo.yaml" examples -1
refused "bench step" repeat 0 -1
refused "bench learning configs/demo.yaml" budget 0 -1

# An option of another action is refused also at the value that is its default.
case_ "an option's default is given" 2 "$ZOFT" data stats $DEMO/dev.jsonl --number 5 <<'END'
zoft: --number has no effect: data stats does not read it
END
case_ "an option without its command" 2 "$ZOFT" eval configs/demo.yaml --num-fewshot 0 <<'END'
zoft: --num-fewshot is for --task
END
case_ "ranges are told" 2 "$ZOFT" generate $M --prompt a --top-p 0 <<'END'
zoft: --top-p expects a number above 0, at most 1, found '0'
END
case_ "without an upper end" 2 "$ZOFT" $task --limit 0 <<'END'
zoft: --limit expects a whole number from 1 on, found '0'
END
gate() { "$ZOFT" eval configs/demo.yaml num_eval=20 val_datasets=[] --fail-under "$1" -q --json >/dev/null; }
case_ "a gate at 0 passes" 0 gate 0 </dev/null
gate 100 2>/dev/null
check "a gate at 100: exit status" test $? = 5
finish
