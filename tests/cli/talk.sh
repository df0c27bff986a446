#!/bin/sh
# Texts behind the prompts of a file, and conversations: piped, on a terminal, interrupted.
. tests/cli/lib.sh
M=$DEMO/model

cat >"$T/in.jsonl" <<'END'
{"prompt":"The film was","id":3}
{"messages":[{"role":"user","content":"the food"}]}
{"prompt":"A","completion":"makes way"}
END
cat >"$T/want" <<'END'
{"prompt":"The film was","id":3,"completion":" a mistake. The film is set in ","finish":"length","prompt_tokens":4,"new_tokens":12}
{"messages":[{"role":"user","content":"the food"}],"completion":". The first song was a master. The band was","finish":"length","prompt_tokens":36,"new_tokens":12}
{"prompt":"A","completion":"s my boss said, the first chapter was a master","finish":"length","prompt_tokens":2,"new_tokens":12}
END
for n in 1 2 8; do
  "$ZOFT" generate $M --jsonl - --chat-template chatml -n 12 --batch-size $n -o "$T/out.jsonl" -q <"$T/in.jsonl" 2>/dev/null
  check "file of prompts, $n at once" cmp "$T/out.jsonl" "$T/want"
done
case_ "several stops, several texts" 0 "$ZOFT" generate $M --jsonl "$T/in.jsonl" --chat-template chatml -n 12 --stop ' The' --stop ' band' --stop 'never' <<'END'
{"prompt":"The film was","id":3,"completion":" a mistake.","finish":"stop","prompt_tokens":4,"new_tokens":7}
{"messages":[{"role":"user","content":"the food"}],"completion":".","finish":"stop","prompt_tokens":36,"new_tokens":2}
{"prompt":"A","completion":"s my boss said, the first chapter was a master","finish":"length","prompt_tokens":2,"new_tokens":12}
warning: 1 of 3 lines had a field of a result's name, which the result replaces; the first is TMP/in.jsonl:3
END
sampled() { "$ZOFT" generate $M --jsonl "$T/in.jsonl" --chat-template chatml -n 9 -t 1 --samples 3 --batch-size "$1"; }
sampled 1 >"$T/a"
sampled 4 >"$T/b"
check "samples do not depend on the batch" cmp "$T/a" "$T/b"
check "samples differ" perl -MJSON::PP -ne 'my $l = decode_json($_)->{completions}; exit 1 if @$l != 3 || $l->[0]{completion} eq $l->[1]{completion}' "$T/a"
head -n 1 "$T/a" >"$T/a1"
"$ZOFT" generate $M -p 'The film was' -n 9 -t 1 --samples 3 >"$T/plain"
check "those of one prompt are those of row 0" perl -MJSON::PP -e 'open F, $ARGV[0]; my $l = decode_json(<F>)->{completions}; open P, $ARGV[1]; for (@$l) { my $p = <P>; chomp $p; exit 1 if $p ne "The film was$_->{completion}" }' "$T/a1" "$T/plain"
: >"$T/empty.jsonl"
case_ "no prompts" 0 "$ZOFT" generate $M --jsonl "$T/empty.jsonl" </dev/null
printf '{"prompt":"a"}\n{"promt":"b"}\n' >"$T/bad.jsonl"
case_ "no prompt" 3 "$ZOFT" generate $M --jsonl "$T/bad.jsonl" -o "$T/no" <<'END'
zoft: TMP/bad.jsonl:2: expected a field 'prompt' or 'messages'
END
check "nothing half-written" [ ! -e "$T/no" ]
perl -e 'print "{\"prompt\":\"", "word " x 300, "\"}\n"' >"$T/long.jsonl"
case_ "too long" 3 "$ZOFT" generate $M --jsonl "$T/long.jsonl" <<'END'
zoft: TMP/long.jsonl:1: the prompt has 902 tokens, the model's context is 128
END
case_ "messages without a template" 2 "$ZOFT" generate $M --jsonl "$T/in.jsonl" <<'END'
zoft: datasets/demo/model has no chat template: give --chat-template one of chatml, llama3, gemma, phi3, mistral, zephyr, alpaca, vicuna, or a file
END
case_ "no context" 2 "$ZOFT" chat $M --chat-template chatml --context 0 <<'END'
zoft: --context expects a whole number from 1 on, found '0'
END
case_ "no effect" 2 "$ZOFT" generate $M -p a -o "$T/no" <<'END'
zoft: --output and --chat-template have no effect without --jsonl
END

# eos_token_id as a list, in either file: ' The' (id from the tokenizer) ends a text.
broken
id=$("$ZOFT" tokenize "$T/m" ' The' --no-special --json | perl -ne 'print $1 if /"ids": \[(\d+)\]/')
echo "{\"eos_token_id\": [1, $id]}" >"$T/m/generation_config.json"
case_ "a list of ends" 0 "$ZOFT" generate "$T/m" -p 'The film was' -n 12 <<'END'
The film was a mistake.
END
echo '{"eos_token_id": "x"}' >"$T/m/generation_config.json"
case_ "ends of another kind" 3 "$ZOFT" generate "$T/m" -p 'The film was' -n 12 <<'END'
zoft: TMP/m/generation_config.json: key 'eos_token_id': expected a token id or a list of them, found a string
END

cat >"$T/talk" <<'END'
The film was
/tokens
And the \
actors
"""
A block
of two
"""
/regenerate
/undo
/savee x
/save SAVED
/system Be kind.
/reset
/undo
/quit
never read
END
sed -i.old "s|SAVED|$T/s.json|" "$T/talk"
talk() { "$ZOFT" chat $M --chat-template chatml -t 0 -n 12 "$@" <"$T/talk"; }
talk -v >"$T/.got" 2>"$T/.err"
cat >"$T/.want" <<'END'
. The film was a masterpiful. The
. The film was a master.
. The film was a master. The film is set
. The film was a master. The film is set
END
check "replies" cmp "$T/.got" "$T/.want"
cat >"$T/.want" <<'END'
datasets/demo/model: temperature 0, context 128 tokens; /help lists the commands
keys and values of a full context: N kB
the reply was cut at 12 tokens (--max-new-tokens)
35 tokens of prompt, 0 of them read before; 12 new, N tok/s
68 of 128 tokens
96 tokens of prompt, 46 of them read before; 8 new, N tok/s
the context of 128 tokens is full: the oldest 2 messages are left out
the reply was cut at 12 tokens (--max-new-tokens)
98 tokens of prompt, 11 of them read before; 12 new, N tok/s
the reply was cut at 12 tokens (--max-new-tokens)
98 tokens of prompt, 97 of them read before; 12 new, N tok/s
your last message and its reply are removed
warning: unknown command '/savee': did you mean /save
4 messages in TMP/s.json
the system message is set
the conversation is empty
warning: there is no message to remove
END
normal <"$T/.err" >"$T/.normal"
check "what is said about them" diff "$T/.want" "$T/.normal"
check "what was saved" perl -MJSON::PP -e 'local $/; open F, $ARGV[0]; my $m = decode_json(<F>)->{messages}; exit(@$m != 4 || $m->[2]{content} ne "And the \nactors" || $m->[1]{role} ne "assistant")' "$T/s.json"
case_ "one object a turn" 0 sh -c "echo 'The film was' | '$ZOFT' chat $M --chat-template chatml -t 0 -n 4 --json -q | perl -pe 's/s\": [0-9.]+}/s\": N}/'" <<'END'
{"role": "assistant", "content": ". The film was", "finish": "length", "prompt_tokens": 35, "kept_tokens": 0, "new_tokens": 4, "tokens_per_s": N}
END
case_ "no template" 2 "$ZOFT" chat $M <<'END'
zoft: datasets/demo/model has no chat template: give --chat-template one of chatml, llama3, gemma, phi3, mistral, zephyr, alpaca, vicuna, or a file
END

# A model that is slow enough to be interrupted: 8 layers of random weights.
cat >"$T/config.json" <<'END'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 1024, "hidden_size": 256,
 "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2,
 "max_position_embeddings": 4096, "hidden_act": "silu", "rms_norm_eps": 1e-5, "initializer_range": 0.02,
 "tie_word_embeddings": true, "bos_token_id": 1023, "eos_token_id": 1023}
END
"$ZOFT" init "$T/config.json" --out "$T/slow" --tokenizer $M --dtype bf16 -q >/dev/null
cat >"$T/talk.pl" <<'END'
use IPC::Open2;
$SIG{ALRM} = sub { kill 'KILL', $pid; exit 1 };
alarm 40;
my @how = ($ENV{ZOFT}, 'chat', "$ENV{T}/slow", qw(--chat-template chatml -t 0 -n 3000 -q));
my ($out, $in);
sub ask { # a message, and a signal once the reply has begun
  $pid = open2($out, $in, @how);
  $in->autoflush(1);
  print $in "hello\n";
  sysread $out, my $said, 1 or exit 1;
  kill 'INT', $pid;
  while ($said !~ /\[stopped\]\n/) { sysread $out, $said, 4096, length $said or exit 1 }
}
ask();
print $in "/save $ENV{T}/stopped.json\n/quit\n"; # the program goes on
waitpid $pid, 0;
exit 1 if $?;
local $/;
open my $f, '<', "$ENV{T}/stopped.json" or exit 1;
exit 1 if scalar(() = <$f> =~ /"role"/g) != 2;
ask();
select undef, undef, undef, 0.3;
kill 'INT', $pid; # between messages it leaves
waitpid $pid, 0;
exit($? >> 8 != 130);
END
export T ZOFT
check "Ctrl-C stops the reply, not the program; then it leaves" perl "$T/talk.pl"
"$ZOFT" generate "$T/slow" --jsonl "$T/in.jsonl" --chat-template chatml -n 3000 -o "$T/late.jsonl" -q 2>"$T/.err" &
pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ -n "$(find "$T" -name "*late*")" ] && break
  sleep 0.2
done
kill -INT $pid 2>/dev/null
wait $pid
check "an interrupted file is not there" sh -c "[ $? = 130 ] && [ ! -e '$T/late.jsonl' ] && ! ls '$T' | grep -q late"
if script -qec true /dev/null >/dev/null 2>&1; then
  printf 'The film was\n/quit\n' | script -qec "$ZOFT chat $M --chat-template chatml -t 0 -n 12" /dev/null >"$T/tty" 2>&1
  check "on a terminal" grep -q '^\. The film was a masterpiful\. The' "$T/tty"
  check "with a prompt" grep -q '^> ' "$T/tty"
  shown() { # shown <pattern>: waits for it on the terminal
    for _ in $(seq 100); do
      grep -q "$1" "$T/tty2" 2>/dev/null && return
      sleep 0.1
    done
  }
  : >"$T/tty2"
  (
    shown '^> '
    printf 'half a line\003'
    shown 'Ctrl-C again'
    printf 'The film was\n/quit\n'
  ) | script -qec "$ZOFT chat $M --chat-template chatml -t 0 -n 12" /dev/null >"$T/tty2" 2>&1
  check "Ctrl-C gives up a line" grep -q 'Ctrl-C again, Ctrl-D or /quit leaves' "$T/tty2"
  check "and the next one is answered" grep -q '^\. The film was a masterpiful' "$T/tty2"
else
  echo "SKIP chat on a terminal: no script of util-linux"
fi
finish
