#!/bin/sh
# What other people's JSON, tokenizer and generation files hold beside what zoft needs.
. tests/cli/lib.sh

first() { "$@" 2>&1 | sed -n 1p; }

broken
perl -pi -e 's|^\{|{"router_jitter": Infinity, "big": 1e999, "longest": 1000000000000000019884624838656,|' "$T/m/config.json" "$T/m/tokenizer_config.json"
case_ "numbers beyond 64 bits that nobody reads" 0 first "$ZOFT" inspect "$T/m" <<'END'
kind         model
END
broken
perl -pi -e 's|"hidden_size": [0-9]*|"hidden_size": 18446744073709551616|' "$T/m/config.json"
case_ "a number beyond 64 bits that is read" 3 "$ZOFT" inspect "$T/m" <<'END'
zoft: TMP/m/config.json: key 'hidden_size': expected an integer, found 18446744073709551616
END
broken
printf '{"a": "x\\u0000"}\n' >"$T/zero.jsonl"
case_ "the zero character" 3 "$ZOFT" data convert "$T/zero.jsonl" "$T/zero.csv" <<'END'
zoft: TMP/zero.jsonl:1:15: a string holds \u0000, the zero character, which zoft's texts cannot hold: remove it or write another character for it
END
printf '{"prompt": "the", "id": 18446744073709551615, "score": NaN}\n' >"$T/p.jsonl"
case_ "rows keep their wide numbers" 0 "$ZOFT" generate $DEMO/model --jsonl "$T/p.jsonl" -n 1 <<'END'
{"prompt":"the","id":18446744073709551615,"score":NaN,"completion":" five","finish":"length","prompt_tokens":3,"new_tokens":1}
END
finish
