"""What the tables of checkpoints are written with: JSON's words, and places for what follows
from the small vocabulary."""
import vocabularies as v

true, false, null = True, False, None
BIG = 1000000000000000019884624838656  # what releases up to 4 write for "no limit"


class Id:
    """The id of a token in the small vocabulary."""
    def __init__(self, token):
        self.token = token

    def value(self, vocabulary):
        return vocabulary.ids[self.token]


class Size:
    """The number of ids, rounded up as published tables are."""
    def __init__(self, multiple=1):
        self.multiple = multiple

    def value(self, vocabulary):
        return -(-vocabulary.size // self.multiple) * self.multiple


class Decoder:
    """added_tokens_decoder of these tokens."""
    def __init__(self, *tokens):
        self.tokens = tokens

    def value(self, vocabulary):
        return v.decoder_table(vocabulary, self.tokens)


def resolve(x, vocabulary):
    if isinstance(x, (Id, Size, Decoder)):
        return x.value(vocabulary)
    if isinstance(x, dict):
        return {k: resolve(y, vocabulary) for k, y in x.items()}
    if isinstance(x, list):
        return [resolve(y, vocabulary) for y in x]
    return x


def without(d, *keys):
    return {k: x for k, x in d.items() if k not in keys}


def token(content, normalized=false, typed=false, special=null):
    """An AddedToken as tokenizer_config.json and special_tokens_map.json write one."""
    out = {"__type": "AddedToken"} if typed else {}
    out |= {"content": content, "lstrip": false, "normalized": normalized, "rstrip": false, "single_word": false}
    return out if special is null else out | {"special": special}


def turns(before, after, prompt):
    """A short chat template of our own in a family's tokens."""
    return ("{% for message in messages %}" + before + "{{ message['content'] }}" + after +
            "{% endfor %}{% if add_generation_prompt %}" + prompt + "{% endif %}")


CHATML = turns("<|im_start|>{{ message['role'] }}\n", "<|im_end|>\n", "<|im_start|>assistant\n")
