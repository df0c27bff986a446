#!/bin/sh
# Predictions for new rows: the same choices as the scores of eval, whatever form the rows have.
. tests/cli/lib.sh
"$ZOFT" train configs/demo.yaml output_dir="$T/run" max_steps=300 compute=f32 eval_steps=never -q >"$T/log" 2>&1 ||
  cat "$T/log"

case_ "rows of a file" 0 "$ZOFT" predict "$T/run" "$DEMO/test.jsonl" -o "$T/out.jsonl" <<'END'
TMP/out.jsonl: 500 rows
END
shares() {
  python3 - "$T/out.jsonl" "$1" <<'END'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
right = sum(row["prediction"] == row["label"] for row in rows) / len(rows)
assert right == json.loads(sys.argv[2])["test"]["accuracy"], right
for row in rows:
    shares = row["probabilities"]
    assert abs(sum(shares.values()) - 1) < 1e-12
    assert row["probability"] == max(shares.values()) == shares[row["option"]]
END
}
check "the accuracy of eval" shares "$("$ZOFT" eval "$T/run" --json)"

sed 's/, *"label": *[0-9]*//' "$DEMO/test.jsonl" >"$T/new.jsonl"
"$ZOFT" predict "$T/run" "$T/new.jsonl" -o "$T/new.out" -q
same() { sed 's/,"label":[0-9]*//' "$T/out.jsonl" | cmp - "$T/new.out"; }
check "rows without a label" same

text() { python3 -c 'import json,sys; print(json.loads(open(sys.argv[1]).readline())["text"])' "$T/new.jsonl"; }
first=$(text)
one() { head -n 1 "$T/new.out" | tr -d '\n' >"$T/one"; grep -F "$(cat "$T/one")" >/dev/null; }
piped() { printf '%s\n' "$first" | "$ZOFT" predict "$T/run" - --json | one; }
check "a line of standard input" piped
lines() { "$ZOFT" predict "$T/run" - --json <"$T/new.jsonl" | one; }
check "JSON lines of standard input" lines
word() { "$ZOFT" predict "$T/run" "$first" --json | one; }
check "a text" word

case_ "texts" 0 "$ZOFT" predict "$T/run" "The plot was very inspiring." "The sound ruined my week." <<'END'
model  TMP/run

line  prediction  probability  text
───────────────────────────────────────────────────────────
   1  Yes              79.2 %  The plot was very inspiring.
   2  No               73.8 %  The sound ruined my week.
END

mkdir "$T/tmp"
case_ "a text that cannot be read" 2 env TMPDIR="$T/tmp" "$ZOFT" predict "$T/run" "a text" base_model="$T/none" <<'END'
zoft: TMP/none: no such model directory
END
check "no temporary file stays" rmdir "$T/tmp"
case_ "no rows" 2 "$ZOFT" predict "$T/run" <<'END'
zoft: expected a run (or config) and a FILE, '-' or texts
END
case_ "no such file" 2 "$ZOFT" predict "$T/run" nothing.jsonl <<'END'
zoft: nothing.jsonl: no such file
END
echo '{"body": "x"}' >"$T/field.jsonl"
case_ "a field is missing" 3 "$ZOFT" predict "$T/run" "$T/field.jsonl" <<'END'
zoft: TMP/field.jsonl:1: field 'text' is missing: the row has 'body'
END
case_ "several fields" 2 "$ZOFT" predict "$T/run" "a text" datasets.0.prompt='{title}: {text}' <<'END'
zoft: the prompt "{title}: {text}" reads several fields: give rows as a file, or as JSON lines
END
echo '{"prompt": "a", "completion": "b"}' >"$T/pair.jsonl"
case_ "no options" 2 "$ZOFT" predict "$T/run" "$T/pair.jsonl" \
  datasets="[{path: $T/pair.jsonl, type: completion}]" metric_for_best_model=loss <<'END'
zoft: the data are texts without options: there is no label to predict
END

# Several labels, and numbers.
printf '%s\n' '{"text": "the cat sat", "label": ["cat"]}' '{"text": "a dog", "label": ["dog"]}' >"$T/several.jsonl"
printf '%s\n' '{"text": "the cat sat", "label": 1.5}' '{"text": "a dog", "label": 0}' >"$T/numbers.jsonl"
cat >"$T/several.yaml" <<END
base_model: $DEMO/model
output_dir: $T/several
sequence_len: 32
micro_batch_size: 2
max_steps: 2
learning_rate: 1e-4
datasets:
  - path: $T/several.jsonl
    type: labels
    problem_type: multi_label_classification
    prompt: "{text}"
    options: [the cat, a dog, a mat]
    labels: [cat, dog, mat]
END
sed -e "s#several#numbers#; s/problem_type: .*/problem_type: regression/; /options:/d; /labels: \[/d" "$T/several.yaml" >"$T/numbers.yaml"
for name in several numbers; do "$ZOFT" train "$T/$name.yaml" threads=1 compute=f32 -q >/dev/null 2>&1; done
kinds() {
  "$ZOFT" predict "$T/several" "$T/several.jsonl" -o "$T/several.out" -q
  "$ZOFT" predict "$T/numbers" "$T/numbers.jsonl" -o "$T/numbers.out" -q
  python3 - "$T/several.out" "$T/numbers.out" <<'END'
import json, sys
for line in open(sys.argv[1]):
    row = json.loads(line)
    assert row["prediction"] == [n for n in ("cat", "dog", "mat") if row["probabilities"][n] >= 0.5], row
for line in open(sys.argv[2]):
    assert isinstance(json.loads(line)["prediction"], float)
END
}
check "several labels, and numbers" kinds
finish
