# shellcheck shell=sh
# Sourced by the command-line tests.  Each case states a command, its exit status and its exact
# output (standard output and error together); what changes from run to run is replaced first.
#
#   case_ NAME STATUS COMMAND... <<'END'
#   expected output
#   END

set -u
ZOFT=${ZOFT:-build/zoft}
DEMO=datasets/demo
T=$(mktemp -d "${TMPDIR:-/tmp}/zoft-cli-XXXXXX")
trap 'rm -rf "$T"' EXIT
passed=0
failed=0
export LC_ALL=C NO_COLOR=1

# Times, speeds and sizes of memory differ from machine to machine; paths of the test do as well.
normal() {
  ROOT=$T perl -pe 's/\Q$ENV{ROOT}\E/TMP/g; s/[0-9.]+ tok\/s/N tok\/s/g;
    s/  [0-9:.]+( s)? left/  TIME left/; s/[0-9.]+ ([kMG]?B)\b/N $1/g;
    s/^read back: KL divergence .*/read back: .../; s/, "kl": .*"perplexity_source": [0-9.]+/, KL/'
}

case_() {
  name=$1 want=$2
  shift 2
  "$@" >"$T/.got" 2>&1 </dev/null
  got=$?
  cat >"$T/.want"
  normal <"$T/.got" >"$T/.normal"
  if [ $got = "$want" ] && cmp -s "$T/.normal" "$T/.want"; then
    passed=$((passed + 1))
    return
  fi
  failed=$((failed + 1))
  echo "FAIL $name: exit $got, expected $want"
  diff "$T/.want" "$T/.normal" | head -n 40
}

# check NAME COMMAND...: the command succeeds.
check() {
  name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $name: $*"
  fi
}

# A copy of the demo model that a case may break.
broken() {
  rm -rf "$T/m"
  cp -r "$DEMO/model" "$T/m"
  chmod -R u+w "$T/m"
}

finish() {
  echo "$((passed + failed)) cases"
  echo "100%: Checks: $((passed + failed)), Failures: $failed, Errors: 0"
  [ $failed = 0 ]
}

# $T/tok, the demo's tokenizer with a mask token behind its 1024 ids, and $T/roberta.json, a small masked model.
masked_model() {
  mkdir "$T/tok"
  perl -0pe 's/"added_tokens": \[/"added_tokens": [{"id": 1024, "content": "<mask>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false, "special": true},/' \
    $DEMO/model/tokenizer.json >"$T/tok/tokenizer.json"
  cp $DEMO/model/tokenizer_config.json "$T/tok"
  cat >"$T/roberta.json" <<'EOF'
{"architectures": ["RobertaForMaskedLM"], "model_type": "roberta", "vocab_size": 1025, "hidden_size": 32,
 "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 98,
 "type_vocab_size": 1, "layer_norm_eps": 1e-5, "initializer_range": 0.1, "pad_token_id": 1}
EOF
}
