#!/bin/sh
# Calibration of option scores: the demo model answers Yes to nearly everything, which its own priors undo.
. tests/cli/lib.sh
demo="configs/demo.yaml compute=f32 num_eval=200"

# shellcheck disable=SC2086
case_ "contextual" 0 "$ZOFT" eval $demo --calibrate contextual val_datasets=[] <<'END'
model  datasets/demo/model

      examples    loss  perplexity  accuracy      F1
────────────────────────────────────────────────────
test       200  0.6667           -    92.0 %  91.9 %

contextual  accuracy before   after      No     Yes
───────────────────────────────────────────────────
test                 48.0 %  92.0 %  33.9 %  66.1 %

test  examples  precision   recall      F1  as No  as Yes
─────────────────────────────────────────────────────────
No         104     86.7 %  100.0 %  92.9 %    104       0
Yes         96    100.0 %   83.3 %  90.9 %     16      80
END
# shellcheck disable=SC2086
case_ "batch" 0 "$ZOFT" eval $demo --calibrate batch val_datasets=[] <<'END'
model  datasets/demo/model

      examples    loss  perplexity  accuracy      F1
────────────────────────────────────────────────────
test       200  0.6671           -    97.0 %  97.0 %

batch  accuracy before   after      No     Yes
──────────────────────────────────────────────
test            48.0 %  97.0 %  34.3 %  65.7 %

test  examples  precision  recall      F1  as No  as Yes
────────────────────────────────────────────────────────
No         104     97.1 %  97.1 %  97.1 %    101       3
Yes         96     96.9 %  96.9 %  96.9 %      3      93
END

# The same numbers from their parts: predictions of the inputs without content, and of the rows.
printf '%s\n' '{"text": "N/A"}' '{"text": ""}' '{"text": "[MASK]"}' >"$T/empty.jsonl"
for kind in none contextual batch; do
  "$ZOFT" predict configs/demo.yaml "$DEMO/dev.jsonl" compute=f32 --calibrate $kind --json >"$T/$kind.json" 2>"$T/err" ||
    cat "$T/err"
  "$ZOFT" eval configs/demo.yaml compute=f32 test_datasets=[] --calibrate $kind --json >"$T/$kind.eval" 2>"$T/err" || cat "$T/err"
done
"$ZOFT" predict configs/demo.yaml "$T/empty.jsonl" compute=f32 --json >"$T/empty.json"
parts() {
  python3 - "$T" <<'END'
import json, math, sys
load = lambda name: json.load(open(f"{sys.argv[1]}/{name}"))
rows = {kind: load(kind + ".json")["predictions"] for kind in ("none", "contextual", "batch")}
shares = lambda row: row["probabilities"]
mean = lambda values: sum(values) / len(values)
empty = [shares(row) for row in load("empty.json")["predictions"]]
shift = {"contextual": {o: math.log(mean([p[o] for p in empty])) for o in ("No", "Yes")},
         "batch": {o: mean([math.log(shares(r)[o]) for r in rows["none"]]) for o in ("No", "Yes")}}
for kind, want in shift.items():
    scores = load(kind + ".eval")["dev"]
    for got in (load(kind + ".json")["calibration"], scores["calibration"]):
        assert got["method"] == kind
        assert all(abs(got["shift"][o] - want[o]) < 1e-12 for o in want), (got, want)
    assert scores["calibration"]["uncalibrated"] == {k: v for k, v in load("none.eval")["dev"].items() if k != "labels"}
    for plain, row in zip(rows["none"], rows[kind]):
        p = {o: shares(plain)[o] / math.exp(want[o]) for o in want}
        assert all(abs(shares(row)[o] - p[o] / sum(p.values())) < 1e-9 for o in p)
        assert row["option"] == max(shares(row), key=shares(row).get)
    assert scores["accuracy"] == mean([r["prediction"] == r["label"] for r in rows[kind]])
    loss = mean([-math.log(shares(r)[("No", "Yes")[r["label"]]]) for r in rows[kind]])
    assert abs(scores["loss"] - loss) < 1e-12
assert load("contextual.eval")["dev"]["calibration"]["inputs"] == ["N/A", "", "[MASK]"]
END
}
check "shift, probabilities and metrics follow from the scores" parts
stream() {
  "$ZOFT" eval configs/demo.yaml compute=f32 test_datasets=[] --calibrate batch --json streaming=true >"$T/stream.eval" &&
    python3 - "$T/batch.eval" "$T/stream.eval" <<'END'
import json, sys
left, right = (json.load(open(name))["dev"] for name in sys.argv[1:])
assert left == right, (left, right)
END
}
check "a stream has the same scores" stream

# Where it has no meaning.
echo '{"text": "a b c", "prompt": "a", "completion": " b"}' >"$T/rows.jsonl"
case_ "a text" 2 "$ZOFT" eval configs/demo.yaml --calibrate batch test_datasets=[] metric_for_best_model=loss \
  datasets="[{path: $T/rows.jsonl, type: text}]" val_datasets="[{path: $T/rows.jsonl, type: text}]" <<'END'
zoft: --calibrate batch: calibration is of options: data of type text have none
END
case_ "a completion" 2 "$ZOFT" eval configs/demo.yaml --calibrate contextual test_datasets=[] metric_for_best_model=loss \
  datasets="[{path: $T/rows.jsonl, type: completion}]" val_datasets="[{path: $T/rows.jsonl, type: completion}]" <<'END'
zoft: --calibrate contextual: calibration is of options: data of type completion have none
END
case_ "options of the row" 2 "$ZOFT" eval configs/demo.yaml --calibrate batch test_datasets=[] datasets.0.options="['{a}', x]" \
  val_datasets="[{path: demo/dev.jsonl, type: classification, prompt: '{text}', options: ['{text}', x]}]" <<'END'
zoft: --calibrate batch: calibration needs options that are the same for every row: options[0] reads the field 'text'
END
case_ "several prompts" 2 "$ZOFT" eval configs/demo.yaml --calibrate batch test_datasets=[] \
  val_datasets="[{path: demo/dev.jsonl}, {path: demo/test.jsonl, type: classification, prompt: '{text}', options: [' a', ' b']}]" <<'END'
zoft: --calibrate batch: calibration needs one prompt and one list of options: the files of the set have several
END
case_ "a filter that takes no other text" 2 "$ZOFT" eval configs/demo.yaml --calibrate contextual test_datasets=[] \
  val_datasets="[{path: demo/dev.jsonl, type: classification, prompt: '{text}{label|map:0=a,1=b}', options: [' a', ' b']}]" <<'END'
zoft: contextual calibration by the text "N/A": field 'label': the value 'N/A' is not in the list map:0=a,1=b
END
case_ "another name" 2 "$ZOFT" eval configs/demo.yaml --calibrate context <<'END'
zoft: --calibrate: calibration is one of none, contextual or batch, found 'context'
END
case_ "a text file" 2 "$ZOFT" eval "$DEMO/model" --text README.md --calibrate batch <<'END'
zoft: --calibrate is for a config or run, whose prompt has options: it does not go with --text
END
finish
