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


KINDS = [gpt2, llama3, qwen2, smollm, roberta, cl100k, llama2, metaspace, metaspace_first, words]
