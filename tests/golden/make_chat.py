"""Makes chat/golden.json: what Transformers renders for the templates in chat/*.jinja.

    python tests/golden/make_chat.py

The templates are written from the documented prompt formats of the models that they are named
after.  Each case: [template, variables, text, [spans of generation blocks in bytes] or null, or
an error's text]."""
import glob
import json
import os

import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat")
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Weather at a \"place\" <é>",
          "parameters": {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
                         "required": ["place"]}}}]
CHATS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "user", "content": "  Wie geht's? \n"}, {"role": "assistant", "content": " Gut, <danke> & \"du\"?\n\n"}],
    [{"role": "system", "content": "Be brief.\n"}, {"role": "user", "content": "1+1?"},
     {"role": "assistant", "content": "<think>\nadd\n</think>\n\n2"}, {"role": "user", "content": "äöü 你好 👍"},
     {"role": "assistant", "content": "ok"}],
    [{"role": "user", "content": "weather?"},
     {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {
         "name": "weather", "arguments": {"place": "Köln", "days": 2, "x": [1, 2.5, True, None]}}}]},
     {"role": "tool", "name": "weather", "content": "{\"t\": 20}"}, {"role": "assistant", "content": "20 degrees"}],
    [{"role": "assistant", "content": "out of turn"}, {"role": "user", "content": "x"}],
]


def render(text, variables):
    template = _compile_jinja_template(text)
    try:
        if "{% generation" in text or "{%- generation" in text:
            out, spans = [], []
            with template.environment.activate_tracker(out, spans):
                for part in template.generate(**variables):
                    out.append(part)
            whole = "".join(out)
            return [whole, [[len(whole[:a].encode()), len(whole[:b].encode())] for a, b in spans]]
        return [template.render(**variables), None]
    except Exception as e:  # noqa: BLE001: the kind does not matter, zoft must refuse too
        return [None, str(e)[:80]]


def main():
    cases = []
    for path in sorted(glob.glob(os.path.join(HERE, "*.jinja"))):
        name = os.path.basename(path)[:-6]
        text = open(path, encoding="utf-8", newline="").read()
        for i, chat in enumerate(CHATS):
            for prompt in ((False, True) if i < 3 else (False,)):
                v = {"messages": chat, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>",
                     "pad_token": "<pad>", "unk_token": "<unk>"}
                if i == 3:
                    v["tools"] = TOOLS
                else:
                    v["tools"] = None
                cases.append([name, v] + render(text, v))
    with open(os.path.join(HERE, "golden.json"), "w", encoding="utf-8") as f:
        rows = [json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases]
        f.write('{"transformers":"%s","cases":[\n%s\n]}\n' % (transformers.__version__, ",\n".join(rows)))
    print(len(cases), "cases of", len({c[0] for c in cases}), "templates;", sum(c[2] is None for c in cases), "refused")


if __name__ == "__main__":
    main()
