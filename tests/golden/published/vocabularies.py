"""Small vocabularies, each in the files and with the settings of a published kind.

A vocabulary is made by a function of this file, which returns a Vocabulary: its files (name to
text or bytes), the id of each token, the number of ids.  Pieces come from the prose of
tok_texts.py; special tokens are those of the published tokenizers."""
import collections
import functools
import io
import json
import os
import sys

import sentencepiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tok_kinds  # noqa: E402
import tok_texts  # noqa: E402

O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPLITS = {"llama3": tok_kinds.LLAMA3, "qwen2": tok_kinds.QWEN2, "cl100k": tok_kinds.CL100K, "o200k": O200K,
          "tekken": TEKKEN}
PIECES = 296  # of byte-level vocabularies: 256 bytes and 40 merges
CODE = ["def count(x):\n    if x > 10:\n        return x - 1\n    return 2 * x\n"] * 3
PROSE = tok_texts.PROSE + tok_texts.PHRASES[:3] + CODE


class Vocabulary:
    def __init__(self, files, ids):
        self.files = files
        self.ids = ids
        self.size = max(ids.values()) + 1

    def only(self, *names):
        """The same with some of the files."""
        return Vocabulary({k: v for k, v in self.files.items() if k in names}, self.ids)


def dumps(value):
    return json.dumps(value, ensure_ascii=False) + "\n"


def added(content, **flags):
    """A token as tokenizer.json and tokenizer_config.json write it; special unless said."""
    row = dict(content=content, lstrip=False, normalized=False, rstrip=False, single_word=False)
    return row | dict(special=True) | flags


def plain(content, **flags):
    return added(content, special=False, **flags)


def rows_of(tokens):
    return [added(t) if isinstance(t, str) else t for t in tokens]


def decoder_table(vocabulary, tokens):
    """added_tokens_decoder of a tokenizer_config.json."""
    rows = sorted((vocabulary.ids[t["content"]], t) for t in rows_of(tokens))
    return {str(i): t for i, t in rows}


def step(kind, **keys):
    return {"type": kind, **keys}


def byte_step(space=False, trim=True, regex=None):
    out = step("ByteLevel", add_prefix_space=space, trim_offsets=trim)
    return out if regex is None else out | {"use_regex": regex}


def split_step(pattern):
    return step("Split", pattern={"Regex": pattern}, behavior="Isolated", invert=False)


def cut_steps(cut, space=False):
    """The pre-tokenizer of a byte-level kind, as tokenizer.json writes it."""
    if cut == "gpt2":
        return byte_step(space)
    if cut == "digits":
        return step("Sequence", pretokenizers=[step("Digits", individual_digits=True), byte_step(False, True, True)])
    if cut == "deepseek":
        rows = [split_step(x) for x in ("[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+")]
        rows.append(step("Digits", individual_digits=True))
    else:
        rows = [split_step(SPLITS[cut])]
    return step("Sequence", pretokenizers=rows + [byte_step(False, True, False)])


@functools.cache
def byte_pieces(cut):
    """(pieces in the order of their ids, merges) of a byte-level BPE trained under a cut."""
    t = Tokenizer(models.BPE())
    pre = {"gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False),
           "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                              pre_tokenizers.ByteLevel(add_prefix_space=False)])}
    t.pre_tokenizer = pre[cut] if cut in pre else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLITS.get(cut, tok_kinds.QWEN2)), "isolated"),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(PROSE, trainers.BpeTrainer(vocab_size=PIECES, show_progress=False,
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(t.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    return pieces, [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]


def template_step(ids, before, after):
    def side(kind):
        out = [{"SpecialToken": {"id": t, "type_id": kind}} for t in before]
        out.append({"Sequence": {"id": "AB"[kind], "type_id": kind}})
        return out + [{"SpecialToken": {"id": t, "type_id": kind}} for t in after]
    table = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in dict.fromkeys([*before, *after])}
    return step("TemplateProcessing", single=side(0), pair=side(0) + side(1), special_tokens=table)


def byte_level(cut, first=(), last=(), beyond=(), told=None, normalizer=None, post=None, around=None,
               space=False, ignore_merges=None, pairs=False, unk=None):
    """first, last: tokens inside the vocabulary before and after the pieces; beyond: after it, in
    added_tokens alone.  told: those of the former that added_tokens lists (default: all).
    around: (tokens before, tokens after) a text, put by a template after the ByteLevel step;
    post: a whole post-processor."""
    pieces, merges = byte_pieces(cut)
    first, last, beyond = (rows_of(x) for x in (first, last, beyond))
    names = [t["content"] for t in first] + list(pieces) + [t["content"] for t in last]
    vocab = {p: i for i, p in enumerate(names)}
    ids = dict(vocab)
    for t in beyond:
        ids.setdefault(t["content"], len(ids))
    listed = (first + last if told is None else rows_of(told)) + beyond
    table = [{"id": ids[t["content"]], **t} for t in listed]
    table.sort(key=lambda t: t["id"])
    post = post(ids) if post else byte_step(True, False)
    if around:
        post = step("Sequence", processors=[byte_step(True, False, True), template_step(ids, *around)])
    model = step("BPE", dropout=None, unk_token=unk, continuing_subword_prefix=None if unk is None else "",
                 end_of_word_suffix=None if unk is None else "", fuse_unk=False, byte_fallback=False)
    if ignore_merges is not None:
        model["ignore_merges"] = ignore_merges
    model |= {"vocab": vocab, "merges": [list(m) if pairs else " ".join(m) for m in merges]}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": table,
             "normalizer": normalizer, "pre_tokenizer": cut_steps(cut, space), "post_processor": post,
             "decoder": byte_step(True, True), "model": model}
    lines = "#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in merges)
    return Vocabulary({"tokenizer.json": dumps(whole), "vocab.json": json.dumps(vocab), "merges.txt": lines}, ids)


@functools.cache
def sentencepiece_model(kind, user=()):
    """Bytes of a tokenizer.model and its pieces (name, score, type)."""
    out = io.BytesIO()
    ids = dict(llama=dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1),
               gemma=dict(pad_id=0, eos_id=1, bos_id=2, unk_id=3, eos_piece="<eos>", bos_piece="<bos>"))[kind]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(tok_texts.PROSE + CODE), model_writer=out, model_type="bpe", vocab_size=350 + len(user),
        byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        add_dummy_prefix=kind == "llama", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        user_defined_symbols=list(user), hard_vocab_limit=False, minloglevel=2, num_threads=1,
        character_coverage=0.98, **ids)
    p = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    return out.getvalue(), [(p.id_to_piece(i), p.get_score(i), not (p.is_control(i) or p.is_unknown(i) or p.is_byte(i)))
                            for i in range(p.get_piece_size())]


def merges_of(pieces, apart):
    """The merges that a scored vocabulary stands for: every split of a piece into two, best first."""
    ids = {name: i for i, (name, _, normal) in enumerate(pieces) if normal and name not in apart}
    found = []
    for name, at in ids.items():
        splits = [(name[:k], name[k:]) for k in range(1, len(name))]
        splits = [s for s in splits if s[0] in ids and s[1] in ids]
        found += [(at, ids[a], ids[b], a, b) for a, b in splits]
    return [(a, b) for *_, a, b in sorted(found)]


def sentencepiece_json(kind, pieces, listed, beyond, around, user, pairs, metaspace):
    ids = {name: i for i, (name, _, _) in enumerate(pieces)}
    vocab = dict(ids)
    for t in beyond:
        ids.setdefault(t["content"], len(ids))
    merges = merges_of(pieces, user)
    table = sorted(({"id": ids[t["content"]], **t} for t in listed + beyond), key=lambda t: t["id"])
    model = step("BPE", dropout=None, unk_token="<unk>", continuing_subword_prefix=None, end_of_word_suffix=None,
                 fuse_unk=True, byte_fallback=True, ignore_merges=False, vocab=vocab,
                 merges=[list(m) if pairs else " ".join(m) for m in merges])
    blank = step("Replace", pattern={"String": " "}, content="▁")
    back = [step("Replace", pattern={"String": "▁"}, content=" "), step("ByteFallback"), step("Fuse")]
    if kind == "gemma":
        normalizer, cut = blank, step("Split", pattern={"String": " "}, behavior="MergedWithPrevious", invert=False)
    else:
        normalizer, cut = step("Sequence", normalizers=[step("Prepend", prepend="▁"), blank]), None
        back.append(step("Strip", content=" ", start=1, stop=0))
    if metaspace:
        normalizer, cut = None, step("Metaspace", replacement="▁", prepend_scheme="first", split=False)
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": table, "normalizer": normalizer,
            "pre_tokenizer": cut, "post_processor": template_step(ids, *around) if around else None,
            "decoder": step("Sequence", decoders=back), "model": model}, ids


def sentencepieces(kind="llama", listed=None, beyond=(), around=None, user=(), pairs=False, metaspace=False):
    """tokenizer.model and tokenizer.json of the same pieces.  user: symbols inside the vocabulary;
    beyond: tokens after it; listed: those inside that added_tokens names."""
    proto, pieces = sentencepiece_model(kind, tuple(user))
    listed = rows_of(listed if listed is not None else ["<unk>", "<s>", "</s>"])
    beyond = rows_of(beyond)
    whole, ids = sentencepiece_json(kind, pieces, listed, beyond, around, user, pairs, metaspace)
    return Vocabulary({"tokenizer.model": proto, "tokenizer.json": dumps(whole)}, ids)


@functools.cache
def words(lower, chinese):
    """Pieces of a WordPiece vocabulary: characters, letters and endings within a word, the commonest words.
    (The package's trainer gives others at each run.)"""
    cut, norm = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(lowercase=lower)
    lines = PROSE + (tok_texts.PHRASES[7:8] if chinese else [])
    count = collections.Counter(w for line in lines for w, _ in cut.pre_tokenize_str(norm.normalize_str(line)))
    letters = sorted({c for w in count for c in w})
    inside = ["##" + x for x in [c for c in letters if c.isascii() and c.isalnum()] + ["er", "ing", "ly", "ouse", "th"]]
    common = sorted((w for w in count if len(w) > 1), key=lambda w: (-count[w], w))
    return letters + inside + common[:100]


def wordpiece(lower=True, chinese=False):
    """vocab.txt with the holes of BERT's ([unused0] and on), and tokenizer.json."""
    names = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused2]"] + words(lower, chinese)
    vocab = {p: i for i, p in enumerate(names)}
    special = rows_of(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    whole = {"version": "1.0", "truncation": None, "padding": None,
             "added_tokens": [{"id": vocab[t["content"]], **t} for t in special],
             "normalizer": step("BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None,
                                lowercase=lower),
             "pre_tokenizer": step("BertPreTokenizer"),
             "post_processor": template_step(vocab, ["[CLS]"], ["[SEP]"]),
             "decoder": step("WordPiece", prefix="##", cleanup=True),
             "model": step("WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100,
                           vocab=vocab)}
    return Vocabulary({"vocab.txt": "".join(p + "\n" for p in names), "tokenizer.json": dumps(whole)}, vocab)
