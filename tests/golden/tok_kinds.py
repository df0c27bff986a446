"""Small tokenizers of each kind, trained with the `tokenizers` package."""
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*"
          r"|\s*[\r\n]|\s+(?!\S)|\s+")


def byte_level(size, prose, specials, pre, norm=None, ignore_merges=False, post=None):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if norm:
        t.normalizer = norm
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(prose, trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if post:
        t.post_processor = post(t)
    return t


def gpt2(size, prose):
    return byte_level(size, prose, ["<|endoftext|>"],
                      pre_tokenizers.ByteLevel(add_prefix_space=False),
                      post=lambda t: processors.ByteLevel(trim_offsets=False))


def llama3(size, prose):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bos = "<|begin_of_text|>"
    return byte_level(size, prose, [bos, "<|end_of_text|>", "<|eot_id|>"], pre, ignore_merges=True,
                      post=lambda t: processors.Sequence([
                          processors.ByteLevel(trim_offsets=True),
                          processors.TemplateProcessing(single=bos + " $A", pair=f"{bos} $A {bos} $B",
                                                        special_tokens=[(bos, t.token_to_id(bos))])]))


def qwen2(size, prose):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t = byte_level(size, prose, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pre, norm=normalizers.NFC(),
                   post=lambda t: processors.ByteLevel(trim_offsets=False))
    t.add_tokens([AddedToken("<tool_call>", special=False, normalized=False), AddedToken("é!", normalized=True)])
    return t


def smollm(size, prose):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return byte_level(size, prose, ["<|endoftext|>", "<|im_start|>"], pre)


def roberta(size, prose):
    return byte_level(size, prose, ["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True)],
                      pre_tokenizers.ByteLevel(add_prefix_space=True),
                      post=lambda t: processors.RobertaProcessing(("</s>", 2), ("<s>", 0)))


def cl100k(size, prose):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CL100K), "removed", invert=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return byte_level(size, prose, ["<|endoftext|>"], pre, norm=normalizers.NFKC(), ignore_merges=True)


def sentencepiece(size, prose, norm, pre, decoder, byte_fallback=True, post=True):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    if norm:
        t.normalizer = norm
    if pre:
        t.pre_tokenizer = pre
    t.decoder = decoder
    specials = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    # Words are what merges may not cross; at use there is one piece as in Llama-2.
    train = pre or pre_tokenizers.Split("▁", "merged_with_next")
    t.pre_tokenizer = train
    t.train_from_iterator(prose, trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False,
                                                     limit_alphabet=120))
    import json
    d = json.loads(t.to_str())
    d["added_tokens"] = [a for a in d["added_tokens"] if a["content"] in ("<unk>", "<s>", "</s>")]
    if not pre:
        d["pre_tokenizer"] = None
    t = Tokenizer.from_str(json.dumps(d))
    if post:
        t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B",
                                                         special_tokens=[("<s>", 1)])
    return t


def llama2(size, prose):
    norm = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    dec = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                             decoders.Strip(" ", 1, 0)])
    return sentencepiece(size, prose, norm, None, dec)


def metaspace(size, prose):
    dec = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return sentencepiece(size, prose, normalizers.NFKC(), pre_tokenizers.Metaspace(), dec, post=False)


def metaspace_first(size, prose):
    """No byte fallback, marks only at the very beginning, added words with every option."""
    pre = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t = sentencepiece(size, prose, normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(),
                                                         normalizers.StripAccents(), normalizers.Strip()]),
                      pre, decoders.Metaspace(prepend_scheme="first"), byte_fallback=False)
    t.add_tokens([AddedToken("the", single_word=True), AddedToken("Ångström", rstrip=True, normalized=True)])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True), AddedToken("<sep>", single_word=True)])
    return t


def words(size, prose):
    """Suffixes at the ends of words, as in XLM and CTRL; every splitter there is."""
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Replace(Regex(r"\s+"), " ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"),
                                               pre_tokenizers.Digits(), pre_tokenizers.Whitespace()])
    t.train_from_iterator(prose, trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "[CLS]", "[SEP]"],
                                                     end_of_word_suffix="</w>", show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    t.decoder = decoders.Replace("</w>", " ")
    return t


def bert(size, prose):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train_from_iterator(prose, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False,
        limit_alphabet=150))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t


def bert_cased(size, prose):
    """Other prefix, short words only, no cleaning."""
    t = Tokenizer(models.WordPiece(unk_token="<unk>", max_input_chars_per_word=9, continuing_subword_prefix="@"))
    t.normalizer = normalizers.BertNormalizer(clean_text=False, strip_accents=True, lowercase=False)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece(prefix="@", cleanup=False)
    t.train_from_iterator(prose, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False, limit_alphabet=150,
        continuing_subword_prefix="@"))
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>",
                                                     special_tokens=[("<s>", 1), ("</s>", 2)])
    return t


RULES = [("\u00bd", "1/2"), ("\u2026", "..."), ("\ufb01", "fi"), ("e\u0301", "\u00e9"), ("\u00ad", ""), ("\u200b", " "),
         ("\t", " "), ("\n", " "), ("\r", " "), ("\u3000", " "), ("\u00a0", " "), ("\u03a3", "\u03c3"), ("x\u00b2", "xx")]


def spm_fields(b):
    """(field number, value) of a protobuf message: enough for a SentencePiece model."""
    at = 0

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            v |= (b[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if b[at - 1] < 128:
                return v
    while at < len(b):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            n = {1: 8, 5: 4}.get(key & 7) or varint()
            at += n
            yield key >> 3, b[at - n:at]


def spm_train(prose, **options):
    """The bytes of a tokenizer.model."""
    import io
    import sentencepiece
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(prose), model_writer=out, minloglevel=2,
                                             hard_vocab_limit=False, **options)
    return out.getvalue()


def charsmap(prose, whole):
    """SentencePiece's nmt_nfkc table, or one of RULES alone."""
    import os
    import tempfile
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False, encoding="utf-8") as f:
        for a, b in RULES:
            f.write(" ".join(f"{ord(c):04X}" for c in a) + "\t" + " ".join(f"{ord(c):04X}" for c in b) + "\n")
    options = {} if whole else {"normalization_rule_tsv": f.name}
    model = spm_train(prose[:200], vocab_size=1000, character_coverage=0.98, **options)
    os.unlink(f.name)
    return dict(spm_fields(dict(spm_fields(model))[3]))[2]


def unigram(size, prose, norm, pre, decoder, specials, byte_fallback=False):
    import json
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer, t.decoder = norm, pre, decoder
    # Every character gets a piece: a small vocabulary learns from the English lines alone.
    t.train_from_iterator(prose if size > 1000 else prose[:16], trainers.UnigramTrainer(vocab_size=size, special_tokens=specials,
                                                         unk_token="<unk>", show_progress=False))
    d = json.loads(t.to_str())
    if byte_fallback:
        d["model"]["byte_fallback"] = True
        d["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
    return Tokenizer.from_str(json.dumps(d))


def t5(size, prose):
    norm = normalizers.Sequence([normalizers.Precompiled(charsmap(prose, size > 1000)),
                                 normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    t = unigram(size, prose, norm, pre_tokenizers.Metaspace(), decoders.Metaspace(), ["<pad>", "</s>", "<unk>"])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                     special_tokens=[("</s>", 1)])
    return t


def unigram_bytes(size, prose):
    pre = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="first")])
    dec = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return unigram(size, prose, normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()]), pre, dec,
                   ["<s>", "<unk>"], byte_fallback=True)


def wordlevel(size, prose):
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.CharDelimiterSplit(" "), pre_tokenizers.FixedLength(4)])
    t.decoder = decoders.BPEDecoder(suffix="e")
    t.train_from_iterator(prose, trainers.WordLevelTrainer(vocab_size=size, special_tokens=["<unk>"],
                                                           show_progress=False))
    return t


def scripts(size, prose):
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.UnicodeScripts()
    t.train_from_iterator(prose, trainers.WordLevelTrainer(vocab_size=size, special_tokens=["<unk>"],
                                                           show_progress=False))
    return t


def ctc(size, prose):
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Replace(" ", "|")
    t.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    t.decoder = decoders.CTC()
    t.train_from_iterator(prose, trainers.WordLevelTrainer(vocab_size=size, special_tokens=["<pad>", "<unk>"],
                                                           show_progress=False))
    return t


KINDS = [gpt2, llama3, qwen2, smollm, roberta, cl100k, llama2, metaspace, metaspace_first, words, bert, bert_cased,
         t5, unigram_bytes, wordlevel, ctc,
         scripts]
