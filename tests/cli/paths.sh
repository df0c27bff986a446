#!/bin/sh
# Where relative paths of a config lead: the working directory, then the config's own; and the
# configs that are installed with the program.
. tests/cli/lib.sh
zoft=$(cd "$(dirname "$ZOFT")" && pwd)/$(basename "$ZOFT")
demo=$(cd "$DEMO" && pwd)
mkdir -p "$T/home/data" "$T/else" "$T/prefix/bin" "$T/prefix/share/zoft/configs/datasets"
head -n 20 "$DEMO/train.jsonl" >"$T/home/rows.jsonl"
cp "$T/home/rows.jsonl" "$T/home/data/inner.jsonl"
cat >"$T/home/mine.yaml" <<END
base_model: model
output_dir: $T/out
overwrite_output_dir: true
learning_rate: 1e-4
max_steps: 1
datasets:
  - path: rows.jsonl
    type: classification
    prompt: "{text} Would I recommend it?"
    options: [" No", " Yes"]
END
ln -s "$demo/model" "$T/home/model"

rows() { # from DIR, a config and words: the files of the first text that validate shows
  (cd "$1" && shift && "$zoft" validate "$@" 2>&1 | grep -m1 -o '[^ ]*\.jsonl:[0-9]*\|zoft: [^,]*' | sed 's/:[0-9]*$//') | normal
}
case_ "beside the config, from there" 0 rows "$T/home" mine.yaml <<'END'
./rows.jsonl
END
case_ "beside the config, from elsewhere" 0 rows "$T/else" "$T/home/mine.yaml" <<'END'
TMP/home/rows.jsonl
END
case_ "a data_dir of the config, from elsewhere" 0 rows "$T/else" "$T/home/mine.yaml" data_dir="$T/home/data" datasets.0.path=inner.jsonl <<'END'
TMP/home/data/inner.jsonl
END
sed 's/^datasets:/data_dir: data\ndatasets:/; s/rows.jsonl/inner.jsonl/' "$T/home/mine.yaml" >"$T/home/inner.yaml"
case_ "a relative data_dir in the config, from elsewhere" 0 rows "$T/else" "$T/home/inner.yaml" <<'END'
TMP/home/data/inner.jsonl
END
cp "$T/home/rows.jsonl" "$T/else/rows.jsonl"
case_ "the working directory comes first" 0 rows "$T/else" "$T/home/mine.yaml" <<'END'
./rows.jsonl
END
mkdir "$T/else/datasets" && cp "$T/home/rows.jsonl" "$T/else/datasets"
case_ "datasets comes before it" 0 rows "$T/else" "$T/home/mine.yaml" <<'END'
datasets/rows.jsonl
END
case_ "a path of the command line is the working directory's" 0 rows "$T/else" "$T/home/mine.yaml" base_model=model <<'END'
zoft: model: no such directory
END

# A run made so serves from anywhere.
rm -r "$T/else/datasets" "$T/else/rows.jsonl"
(cd "$T/else" && "$zoft" train "$T/home/mine.yaml" -q) >"$T/log" 2>&1 || cat "$T/log"
replay() { (cd / && "$zoft" replay "$T/out" --verify 2>&1 | tail -n 1) | normal; }
case_ "its replay from elsewhere" 0 replay <<'END'
verified   1 logged hash of the run's own weights
END
more() { (cd / && "$zoft" train "$T/out/config.yaml" --resume max_steps=2 -q --json) >/dev/null 2>"$T/err" || cat "$T/err"; }
case_ "its resume from elsewhere" 0 more </dev/null

# PREFIX/bin/zoft finds PREFIX/share/zoft/configs.
cp "$zoft" "$T/prefix/bin/zoft"
cp configs/demo.yaml "$T/prefix/share/zoft/configs/"
cp -r "$DEMO" "$T/prefix/share/zoft/configs/datasets/demo"
installed() { (cd "$T/else" && "$T/prefix/bin/zoft" validate configs/demo.yaml 2>&1 | head -n 2 | cut -d'(' -f1) | normal; }
case_ "an installed config" 0 installed <<'END'
config     TMP/prefix/share/zoft/configs/demo.yaml
model      TMP/prefix/share/zoft/configs/datasets/demo/model 
END
case_ "no such config" 2 "$T/prefix/bin/zoft" validate configs/none.yaml <<'END'
zoft: configs/none.yaml: cannot open: No such file or directory
END
finish
