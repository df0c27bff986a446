"""Makes gguf/ends.json: which tokens of some vocabularies llama.cpp takes for the end of a generation.

    python tests/golden/make_gguf_ends.py

{"llama_cpp_python": version, "cases": [{"tokens": [...], "keys": {key: id}, "ends": [ids]}]}"""
import ctypes
import json
import os
import tempfile

import gguf
import llama_cpp as lib

TEXTS = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
         "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
         "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
         "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
         "<｜end▁of▁sentence｜>", "<|message|>", "<|fim_prefix|>", "<s>"]
TOGETHER = [["<|end|>", "<|return|>", "<|call|>"], ["<|end|>", "<|calls|>", "<|flush|>"], ["<|end|>", "<|return|>"],
            ["<|end|>", "<|call|>"], ["</s>", "<|tool_response>"], ["<|end|>", "<|return|>", "<|calls|>"],
            ["<|end|>", "<|flush|>", "<|call|>"], ["<|im_end|>", "<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]]
KEYS = ["eot_token_id", "eom_token_id", "fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id", "fim_pre_token_id"]


def write(path, tokens, keys):
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(64)
    w.add_embedding_length(32)
    w.add_block_count(1)
    w.add_feed_forward_length(32)
    w.add_head_count(2)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([1, 1, 1] + [3] * (len(tokens) - 3))
    w.add_token_merges(["a b"])
    for key, value in keys.items():
        w.add_uint32("tokenizer.ggml." + key, value)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def ends(path, n):
    params = lib.llama_model_default_params()
    params.vocab_only = True
    model = lib.llama_model_load_from_file(path.encode(), params)
    vocab = lib.llama_model_get_vocab(model)
    out = [i for i in range(n) if lib.llama_vocab_is_eog(vocab, i)]
    lib.llama_model_free(model)
    return out


def main():
    quiet = lib.llama_log_callback(lambda *a: None)
    lib.llama_log_set(quiet, ctypes.c_void_p(0))
    lib.llama_backend_init()
    base = ["a", "b", "ab", "zeos", "other"]
    jobs = [(base + [t], {"eos_token_id": 3}) for t in TEXTS] + [(base + t, {"eos_token_id": 3}) for t in TOGETHER]
    jobs += [(base, {"eos_token_id": 3, key: 4}) for key in KEYS]
    cases = []
    with tempfile.TemporaryDirectory() as tmp:
        for tokens, keys in jobs:
            path = os.path.join(tmp, "v.gguf")
            write(path, tokens, keys)
            cases.append({"tokens": tokens, "keys": keys, "ends": ends(path, len(tokens))})
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "gguf", "ends.json"), "w", encoding="utf-8") as f:
        f.write('{"llama_cpp_python": "%s", "cases": [\n' % lib.__version__)
        f.write(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
