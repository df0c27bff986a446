#!/bin/sh
# zoft data: stats, show, split, convert.
. tests/cli/lib.sh

cat >"$T/a.jsonl" <<'END'
{"text": "the food was good", "label": "pos", "id": 1}
{"text": "the waiter was bad", "label": "neg", "id": 2}

{"text": "the food was good", "label": "pos", "id": 1}
{"text": "good, \"cheap\"\tfood", "label": "pos"}
END

# --- stats ---
case_ "stats" 0 "$ZOFT" data stats "$T/a.jsonl" <<'END'
TMP/a.jsonl
rows        4
fields      text label id (in 3)
copies      1: first TMP/a.jsonl:4 as TMP/a.jsonl:1
characters  mean 20.5, least 20, half 20, 90 % 21, 99 % 21, most 21
         0         0
         2         0
         4         0
         6         0
         8         0
        10         0
        12         0
        14         0
        16         0
        18         0
        20         4  ########################################
labels      2
         3   75.0 %  pos
         1   25.0 %  neg
END
case_ "stats of another label" 0 "$ZOFT" data stats "$T/a.jsonl" --label id --json <<'END'
{"files": [{"path": "TMP/a.jsonl", "rows": 4, "fields": {"text": 4, "label": 4, "id": 3}, "copies": 1, "unit": "characters", "length": {"mean": 20.5, "min": 20, "p50": 20, "p90": 21, "p99": 21, "max": 21}, "bin_width": 2, "bins": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4], "labels": {"1": 2, "2": 1}}]}
END
case_ "stats in tokens" 0 "$ZOFT" data stats "$T/a.jsonl" -t $DEMO/model add_eos=false --sequence-len 9 <<'END'
TMP/a.jsonl
rows        4
fields      text label id (in 3)
tokens      36, of them 32 targets
copies      1: first TMP/a.jsonl:4 as TMP/a.jsonl:1
tokens/row  mean 9.0, least 7, half 8, 90 % 13, 99 % 13, most 13
longer      1 (25.0 %) than sequence_len 9
         0         0
         2         0
         4         0
         6         1  ####################
         8         2  ########################################
        10         0
        12         1  ####################
labels      2
         3   75.0 %  pos
         1   25.0 %  neg
END
"$ZOFT" data stats configs/demo.yaml --json >"$T/v" 2>&1
check "stats of a config's files" grep -q '"set": "training", "rows": 1000, .*"tokens": 63894, "targets": 2000.*"set": "dev", .*"set": "test", ' "$T/v"
: >"$T/empty.jsonl"
case_ "stats of nothing" 0 "$ZOFT" data stats "$T/empty.jsonl" <<'END'
TMP/empty.jsonl
rows        0
fields
copies      0
characters  mean 0.0, least 0, half 0, 90 % 0, 99 % 0, most 0
END
case_ "no such label" 2 "$ZOFT" data stats "$T/a.jsonl" --label gold <<'END'
zoft: TMP/a.jsonl: --label: no row has a field 'gold'
END

# --- show ---
case_ "show" 0 "$ZOFT" data show "$T/a.jsonl" --rows 2,4 <<'END'
TMP/a.jsonl:2
  text: the waiter was bad
  label: neg
  id: 2

TMP/a.jsonl:5
  text: good, "cheap"	food
  label: pos
END
case_ "show what the model sees" 0 "$ZOFT" data show "$T/a.jsonl" -n 1 -t $DEMO/model type=completion prompt='{text}' completion=' {label}' add_eos=false <<'END'
TMP/a.jsonl:1
  text: the food was good
  label: pos
  id: 1
  <|endoftext|>the food was good« pos»  (11 tokens, 3 targets)
  ids 0 84 257 278 639 263 320 639 290 79 83
END
case_ "show as JSON" 0 "$ZOFT" data show "$T/a.jsonl" -n 1 -t $DEMO/model type=completion prompt='{text}' completion=' {label}' add_eos=false --json <<'END'
{"path": "TMP/a.jsonl", "line": 1, "row": {"text":"the food was good","label":"pos","id":1}, "sequences": [{"ids": [0, 84, 257, 278, 639, 263, 320, 639, 290, 79, 83], "targets": [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]}]}
END
case_ "rows that are not there" 2 "$ZOFT" data show "$T/a.jsonl" --rows 3-9 <<'END'
zoft: TMP/a.jsonl: --rows asks for row 9: there are 4
END
for rows in 0 x 3- 5-2 -1 1,,2 ''; do
  check "--rows '$rows' is refused" sh -c "'$ZOFT' data show '$T/a.jsonl' --rows='$rows' >/dev/null 2>&1; [ \$? = 2 ]"
done

# --- split ---
perl -e 'for (1..100) { print "{\"n\": $_, \"label\": ", ($_ % 10 == 0 ? 1 : 0), "}\n" }' >"$T/hundred.jsonl"
case_ "split" 0 "$ZOFT" data split "$T/hundred.jsonl" --dev 0.1 --test 20 --by label <<'END'
      70  TMP/hundred-train.jsonl
      10  TMP/hundred-dev.jsonl
      20  TMP/hundred-test.jsonl
END
check "no row is lost or there twice" [ "$(cat "$T"/hundred-*.jsonl | sort)" = "$(sort "$T/hundred.jsonl")" ]
check "each label has its share" [ "$(grep -c '"label": 1' "$T/hundred-dev.jsonl") $(grep -c '"label": 1' "$T/hundred-test.jsonl")" = "1 2" ]
check "rows are in the order of the file" sh -c "sed 's/.*\"n\": \\([0-9]*\\),.*/\\1/' '$T/hundred-test.jsonl' | sort -n -c"
case_ "nothing is written over" 2 "$ZOFT" data split "$T/hundred.jsonl" --dev 5 <<'END'
zoft: TMP/hundred-train.jsonl: the file exists already, and zoft overwrites no data file: choose another name
END
"$ZOFT" data split "$T/hundred.jsonl" --dev 0.1 --test 20 --by label -o "$T/again" >/dev/null
"$ZOFT" data split "$T/hundred.jsonl" --dev 0.1 --test 20 --by label -o "$T/other" --seed 7 >/dev/null
check "a seed gives one split" cmp "$T/hundred-dev.jsonl" "$T/again-dev.jsonl"
check "another seed another" sh -c "! cmp -s '$T/hundred-dev.jsonl' '$T/other-dev.jsonl'"
printf 'a,b\r\n"x\n,",1\r\n\r\ny,2\r\nz,3\r\n' >"$T/t.csv"
gzip -c "$T/t.csv" >"$T/t.csv.gz"
case_ "split of a compressed table" 0 "$ZOFT" data split "$T/t.csv.gz" --dev 1 --json <<'END'
{"train": {"path": "TMP/t-train.csv.gz", "rows": 2}, "dev": {"path": "TMP/t-dev.csv.gz", "rows": 1}}
END
check "each part has the names" [ "$(gzip -dc "$T/t-dev.csv.gz" | head -n 1) $("$ZOFT" inspect "$T/t-train.csv.gz" --json)" = 'a,b {"kind": "data", "rows": 2, "fields": "a, b"}' ]
case_ "no part" 2 "$ZOFT" data split "$T/hundred.jsonl" <<'END'
zoft: a share or number of rows is needed: --dev, --test or both
END
case_ "a share of nothing" 2 "$ZOFT" data split "$T/a.jsonl" --dev 0.1 <<'END'
zoft: --dev 0.1 of 4 rows is none
END
case_ "nothing to train on" 2 "$ZOFT" data split "$T/a.jsonl" --dev 2 --test 2 <<'END'
zoft: TMP/a.jsonl: --dev and --test leave nothing to train on: there are 4 rows
END
case_ "rows and a half" 2 "$ZOFT" data split "$T/a.jsonl" --dev 1.5 <<'END'
zoft: --dev expects a share below 1 or a number of rows, found 1.5
END
case_ "by a field that a row lacks" 3 "$ZOFT" data split "$T/a.jsonl" --dev 1 --by id -o "$T/lack" <<'END'
zoft: TMP/a.jsonl:5: field 'id' is missing
END
check "nothing half-written" sh -c "! ls '$T' | grep -q -e lack -e tmp"

# --- convert ---
case_ "convert" 0 "$ZOFT" data convert "$T/a.jsonl" "$T/b.csv" -f sentence=text -f label -f prompt='{label|upper}: {text}' <<'END'
       4  TMP/b.csv
END
case_ "what was written" 0 cat "$T/b.csv" <<'END'
sentence,label,prompt
the food was good,pos,POS: the food was good
the waiter was bad,neg,NEG: the waiter was bad
the food was good,pos,POS: the food was good
"good, ""cheap""	food",pos,"POS: good, ""cheap""	food"
END
"$ZOFT" data convert "$T/b.csv" "$T/c.json.zst" >/dev/null && "$ZOFT" data convert "$T/c.json.zst" "$T/d.csv" >/dev/null
check "there and back" cmp "$T/b.csv" "$T/d.csv"
case_ "lines of text" 0 "$ZOFT" data convert "$T/b.csv" "$T/e.txt.gz" -f text=sentence --json <<'END'
{"path": "TMP/e.txt.gz", "rows": 4}
END
check "which gzip reads" [ "$(gzip -dc "$T/e.txt.gz" | head -n 2 | tail -n 1)" = "the waiter was bad" ]
case_ "a tab in a .tsv" 3 "$ZOFT" data convert "$T/a.jsonl" "$T/f.tsv" -f text <<'END'
zoft: TMP/a.jsonl:5: field 'text' has a tab or line end, which this format cannot hold
END
case_ "a field that is not there" 3 "$ZOFT" data convert "$T/a.jsonl" "$T/f.csv" -f x=txt <<'END'
zoft: TMP/a.jsonl:1: field 'txt' is missing: the row has 'text'
END
check "nothing is left of it" sh -c "! ls '$T' | grep -q '^f'"
case_ "a file that is there" 2 "$ZOFT" data convert "$T/a.jsonl" "$T/b.csv" <<'END'
zoft: TMP/b.csv: the file exists already, and zoft overwrites no data file: choose another name
END
case_ "a field twice" 2 "$ZOFT" data convert "$T/a.jsonl" "$T/g.csv" -f a=text -f a=label <<'END'
zoft: --field: 'a' is given twice
END
case_ "a format that is not known" 2 "$ZOFT" data convert "$T/a.jsonl" "$T/g.doc" <<'END'
zoft: TMP/g.doc: unknown ending: expected .jsonl, .ndjson, .json, .csv, .tsv or .txt, followed by .gz or .zst if the file is compressed
END

# --- command lines ---
case_ "no action" 2 "$ZOFT" data <<'END'
zoft: expected: zoft data stats FILE|CONFIG, show FILE|CONFIG, split FILE or convert FROM TO (see 'zoft data -h')
END
case_ "an option of another action" 2 "$ZOFT" data stats "$T/a.jsonl" --dev 3 <<'END'
zoft: --dev has no effect: data stats does not read it
END
case_ "settings without a tokenizer" 2 "$ZOFT" data stats "$T/a.jsonl" type=text <<'END'
zoft: 'type=text' has no effect: without --tokenizer rows are not encoded
END
case_ "a tokenizer that is not there" 2 "$ZOFT" data stats "$T/a.jsonl" -t "$T/none" <<'END'
zoft: TMP/none: no such model directory
END
finish
