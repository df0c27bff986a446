#!/bin/sh
# Broken models, tokenizers and data: exit status 3, the file and the tensor, line or key; nothing written.
. tests/cli/lib.sh

sed -e "s|^base_model:.*|base_model: $T/m|" -e "s|^output_dir:.*|output_dir: $T/out|" configs/demo.yaml >"$T/c.yaml"
# edit FROM TO: same length, in the weights' header
edit() {
  perl -pi -e "s|$1|$2|" "$T/m/model.safetensors"
}
train() {
  "$ZOFT" train "$T/c.yaml" -q "$@"
}

broken
head -c 1000 $DEMO/model/model.safetensors >"$T/m/model.safetensors"
case_ "truncated weights: header" 3 train <<'END'
zoft: TMP/m/model.safetensors: its header would be 3960 bytes long, but only 992 follow
END
head -c 100000 $DEMO/model/model.safetensors >"$T/m/model.safetensors"
case_ "truncated weights: values" 3 train <<'END'
zoft: TMP/m/model.safetensors: is truncated: its tensors take 533632 bytes, only 96032 are there
END
head -c 4 $DEMO/model/model.safetensors >"$T/m/model.safetensors"
case_ "weights of four bytes" 3 train <<'END'
zoft: TMP/m/model.safetensors: has 4 bytes: too short for the 8 of a header's length
END
broken
printf '\377\377\377\177' | dd of="$T/m/model.safetensors" bs=1 conv=notrunc 2>/dev/null
case_ "header length lies" 3 train <<'END'
zoft: TMP/m/model.safetensors: its header would be 2147483647 bytes long, more than the 100000000 allowed
END
broken
edit '"data_offsets":\[0,' '"data_offsets":[4,'
case_ "offsets that do not fit the shape" 3 train <<'END'
zoft: TMP/m/model.safetensors: tensor 'model.embed_tokens.weight': its shape and dtype take 131072 bytes, its offsets span 131068
END
header='{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
{
  # shellcheck disable=SC2059
  printf "\\$(printf %03o ${#header})\\000\\000\\000\\000\\000\\000\\000"
  printf '%s123456789012' "$header"
} >"$T/over.safetensors"
case_ "overlapping tensors" 3 "$ZOFT" inspect "$T/over.safetensors" <<'END'
zoft: TMP/over.safetensors: tensor 'b': begins at byte 4 of the buffer and overlaps tensor 'a', which ends at byte 8
END
broken
edit 'model.norm.weight' 'model.morn.weight'
case_ "missing tensor" 3 train <<'END'
zoft: TMP/m: tensor 'model.norm.weight' is missing
END
broken
perl -pi -e 's|"intermediate_size": [0-9]*|"intermediate_size": 100|' "$T/m/config.json"
case_ "shape not matching config" 3 train <<'END'
zoft: TMP/m/model.safetensors: tensor 'model.layers.0.mlp.gate_proj.weight': expected shape [100, 64] by config.json, found [176, 64]
END
broken
size=$(wc -c <"$T/m/model.safetensors")
printf '\000\000\300\177' | dd of="$T/m/model.safetensors" bs=1 seek=$((size - 400)) conv=notrunc 2>/dev/null
case_ "NaN weight" 3 train <<'END'
zoft: TMP/m/model.safetensors: tensor 'model.layers.3.self_attn.v_proj.weight': element 3961 is nan, not a finite number
END
broken
perl -pi -e 's|"model_type": "llama"|"model_type": "mamba"|' "$T/m/config.json"
case_ "unknown model_type" 3 train <<'END'
zoft: TMP/m/config.json: model_type 'mamba' is not supported; supported are llama, mistral, qwen2, qwen3, gpt2, opt, smollm3, granite, olmo2, phi3, stablelm, gpt_neox, gemma, gemma2, gemma3_text, gemma3, bert, roberta, distilbert, modernbert
END
broken
perl -pi -e 's|"hidden_size": [0-9]*|"hidden_size": "wide"|' "$T/m/config.json"
case_ "config.json: wrong type" 3 train <<'END'
zoft: TMP/m/config.json: key 'hidden_size': expected an integer, found a string
END
broken
echo '{' >"$T/m/config.json"
case_ "config.json: not JSON" 3 train <<'END'
zoft: TMP/m/config.json:2:0: string or '}' expected near end of file
END
broken
rm "$T/m/config.json"
case_ "config.json missing" 2 train <<'END'
zoft: TMP/m/config.json: cannot open: No such file or directory
END
broken
rm "$T/m/model.safetensors"
case_ "weights missing" 2 train <<'END'
zoft: TMP/m: holds neither model.safetensors nor model.safetensors.index.json
END
broken
perl -pi -e 's|"type": *"ByteLevel"|"type":"Bytelevel"|' "$T/m/tokenizer.json"
case_ "unknown tokenizer component" 3 train <<'END'
zoft: TMP/m/tokenizer.json: pre_tokenizer: type 'Bytelevel' is not supported; there are ByteLevel, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, Metaspace, BertPreTokenizer, CharDelimiterSplit, UnicodeScripts, FixedLength, Sequence
END
broken
rm "$T"/m/tokenizer*
case_ "no tokenizer" 2 train <<'END'
zoft: TMP/m: no tokenizer: none of tokenizer.json, vocab.json with merges.txt, tokenizer.model, vocab.txt
END
broken
: >"$T/empty.jsonl"
case_ "empty data set" 3 train datasets.0.path="$T/empty.jsonl" <<'END'
zoft: TMP/empty.jsonl: the data set is empty: it has no row
END
printf '{"text": "fine", "label": 0}\n{"text": "fine", "label": 7}\n' >"$T/label.jsonl"
case_ "label out of range" 3 train datasets.0.path="$T/label.jsonl" val_datasets=[] <<'END'
zoft: TMP/label.jsonl:2: label 7 is out of range: there are 2 options (0 to 1)
END
printf '{"text": "fine", "label": 0}\n{"txt": "fine", "label": 1}\n' >"$T/field.jsonl"
case_ "field missing" 3 train datasets.0.path="$T/field.jsonl" <<'END'
zoft: TMP/field.jsonl:2: field 'text' is missing: the row has 'txt'
END
printf '{"text": "fine", "label": 0}\n{"text": "fine", \n' >"$T/json.jsonl"
case_ "row not JSON" 3 train datasets.0.path="$T/json.jsonl" <<'END'
zoft: TMP/json.jsonl:2:17: string or '}' expected near end of file
END
printf 'text,label\nfine,0\nfine,1,2\n' >"$T/rows.csv"
case_ "CSV row too wide" 3 train datasets.0.path="$T/rows.csv" <<'END'
zoft: TMP/rows.csv:3:1: expected the 2 fields that the first row names, found 3
END
printf '{"text": ""}\n{"text": ""}\n' >"$T/blank.jsonl"
cat >"$T/text.yaml" <<END
base_model: $DEMO/model
output_dir: $T/out
datasets:
  - path: $T/blank.jsonl
    type: text
add_eos: false
learning_rate: 1e-4
END
case_ "every target masked" 3 "$ZOFT" train "$T/text.yaml" -q <<'END'
zoft: TMP/blank.jsonl: the training set has no target: all 2 examples are empty or masked
END
case_ "example longer than sequence_len" 3 train sequence_len=20 excess_length_strategy=raise <<'END'
zoft: datasets/demo/train.jsonl:382: the example has 33 tokens, sequence_len is 20
END
case_ "all examples dropped" 3 train sequence_len=4 excess_length_strategy=drop <<'END'
zoft: datasets/demo/train.jsonl: the training set is empty: all 1000 examples are longer than sequence_len and were dropped
END
printf '%s ' the film was good and the film was good >"$T/long.txt"
for _ in 1 2 3 4 5 6; do cat "$T/long.txt" "$T/long.txt" >"$T/l2" && mv "$T/l2" "$T/long.txt"; done
case_ "score: text longer than the context" 3 "$ZOFT" score $DEMO/model --text "$T/long.txt" <<'END'
zoft: TMP/long.txt:1: 707 tokens, more than the model's context of 128
END
check "nothing was written" test ! -e "$T/out"
finish
