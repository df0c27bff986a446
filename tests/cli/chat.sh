#!/bin/sh
# Conversations, instructions and segments as training data: what is learned, and its loss.
. tests/cli/lib.sh

cat >"$T/chat.jsonl" <<'END'
{"messages":[{"role":"user","content":"the food"},{"role":"assistant","content":"was good"},{"role":"user","content":"and"},{"role":"assistant","content":"bad"}]}
END
cat >"$T/seg.jsonl" <<'END'
{"segments":[{"label":false,"text":"the food"},{"label":true,"text":" was good"},{"label":false,"text":" and"},{"label":true,"text":" bad"}]}
END
cat >"$T/one.jsonl" <<'END'
{"prompt":"the food","completion":" was good"}
END
cat >"$T/seg1.jsonl" <<'END'
{"segments":[{"label":false,"text":"the food"},{"label":true,"text":" was good"}]}
END
cat >"$T/seg2.jsonl" <<'END'
{"segments":[{"label":false,"text":"the food was good and"},{"label":true,"text":" bad"}]}
END
set_="base_model=$DEMO/model learning_rate=1e-3 max_steps=2 micro_batch_size=2"

"$ZOFT" validate $set_ datasets.0.path="$T/chat.jsonl" datasets.0.type=chat chat_template=chatml >"$T/shown" 2>&1
check "chat is valid" grep -q "are valid" "$T/shown"
check "both answers are targets, nothing else" sh -c "tr '\n' ' ' <'$T/shown' | grep -q '<|im_start|>assistant «was good<|im_end|> »<|im_start|>user and<|im_end|> <|im_start|>assistant «bad<|im_end|> »  ('"
"$ZOFT" validate $set_ datasets.0.path="$T/seg.jsonl" datasets.0.type=input_output >"$T/shown" 2>&1
check "segments" grep -q "the food« was good» and« bad»" "$T/shown"

# The loss of a masked text is the sum of its stretches' losses, each alone.
nll() {
  "$ZOFT" eval $set_ datasets.0.path="$T/$1.jsonl" test_datasets.0.path="$T/$1.jsonl" datasets.0.type="$2" --json 2>/dev/null |
    perl -ne 'print $1 if /"loss": ([0-9.]+)/'
}
n() {
  "$ZOFT" validate $set_ datasets.0.path="$T/$1.jsonl" datasets.0.type="$2" --json 2>/dev/null | perl -ne 'print $1 if /"targets": (\d+)/'
}
sum=$(perl -e 'printf "%.3f", ($ARGV[0]*$ARGV[1]+$ARGV[2]*$ARGV[3])/($ARGV[1]+$ARGV[3])' "$(nll seg1 input_output)" "$(n seg1 input_output)" "$(nll seg2 input_output)" "$(n seg2 input_output)")
check "loss of stretches" [ "$sum" = "$(perl -e 'printf "%.3f", $ARGV[0]' "$(nll seg input_output)")" ]

case_ "no template" 2 "$ZOFT" validate $set_ datasets.0.path="$T/chat.jsonl" datasets.0.type=chat <<'END'
zoft: datasets/demo/model has no chat template: set chat_template to one of chatml, llama3, gemma, phi3, mistral, zephyr, alpaca, vicuna, or a file
END
case_ "no effect" 2 "$ZOFT" validate $set_ datasets.0.path="$T/one.jsonl" datasets.0.type=completion chat_template=chatml <<'END'
zoft: command line: 'chat_template' has no effect: only type chat has it
END
finish
