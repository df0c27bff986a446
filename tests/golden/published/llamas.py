"""Published checkpoints: Llama and those that are shaped like it.  See make_published.py."""
from facts import BIG, CHATML, Decoder, Id, Size, false, null, token, true, turns, without
import vocabularies as v

HEADS = {"num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 1}
CHECKPOINTS = {}

# --- the first conversions, Llama 2 and what was made of them: SentencePiece ---

S = [v.added("<unk>"), v.added("<s>"), v.added("</s>")]
BOS = (["<s>"], [])
LLAMA_VOCABULARY = lambda **keys: v.sentencepieces(**{"around": BOS, **keys})
FIRST = {
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": 16, "initializer_range": 0.02, "intermediate_size": 28, "max_position_embeddings": 2048,
    "max_sequence_length": 2048, "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2,
    "pad_token_id": 0, "rms_norm_eps": 1e-06, "tie_word_embeddings": false, "torch_dtype": "float16",
    "transformers_version": "4.28.0.dev0", "use_cache": true, "vocab_size": Size()}
FIRST_ENDS = {"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
              "transformers_version": "4.28.0.dev0"}
FIRST_TOKENIZER = {
    "add_bos_token": true, "add_eos_token": false, "bos_token": token("<s>", true, true),
    "clean_up_tokenization_spaces": false, "eos_token": token("</s>", true, true), "model_max_length": 2048,
    "pad_token": null, "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer",
    "unk_token": token("<unk>", true, true)}
SPECIAL = {"bos_token": token("<s>", true), "eos_token": token("</s>", true), "unk_token": token("<unk>", true)}
LLAMA2 = without(FIRST, "max_sequence_length") | {
    "_name_or_path": "meta-llama/Llama-2-7b-hf", "max_position_embeddings": 4096, "num_key_value_heads": 4,
    "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "transformers_version": "4.31.0.dev0"}
LLAMA2_TOKENIZER = {
    "add_bos_token": true, "add_eos_token": false, "bos_token": token("<s>", false, true),
    "clean_up_tokenization_spaces": false, "eos_token": token("</s>", false, true), "legacy": false,
    "model_max_length": BIG, "pad_token": null, "padding_side": "right", "sp_model_kwargs": {},
    "tokenizer_class": "LlamaTokenizer", "unk_token": token("<unk>", false, true)}
LLAMA2_SPECIAL = {"bos_token": token("<s>"), "eos_token": token("</s>"), "unk_token": token("<unk>")}
INST = "{{ bos_token }}" + turns("[INST] ", " [/INST] ", "")
FILL = ["▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"]

CHECKPOINTS |= {
    "huggyllama/llama-7b": dict(
        vocabulary=LLAMA_VOCABULARY, config=FIRST, generation=FIRST_ENDS, tokenizer=FIRST_TOKENIZER, special=SPECIAL,
        dtype="float16", tensors="inv_freq", shards=2),
    "decapoda-research/llama-7b-hf": dict(
        vocabulary=lambda: LLAMA_VOCABULARY().only("tokenizer.model"), dtype="float16", tensors="inv_freq", shards=4,
        config=without(FIRST, "max_position_embeddings", "tie_word_embeddings") | {
            "architectures": ["LLaMAForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": -1,
            "transformers_version": "4.27.0.dev0"},
        generation={"_from_model_config": true, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
                    "transformers_version": "4.27.0.dev0"},
        tokenizer={"bos_token": "", "eos_token": "", "model_max_length": BIG, "tokenizer_class": "LLaMATokenizer",
                   "unk_token": ""},
        no_tokenizer="Transformers 5.24 recurses without end over an unk_token of ''"),
    "meta-llama/Llama-2-7b-hf": dict(
        vocabulary=LLAMA_VOCABULARY, config=LLAMA2, tokenizer=LLAMA2_TOKENIZER, special=LLAMA2_SPECIAL,
        generation={"bos_token_id": 1, "do_sample": true, "eos_token_id": 2, "max_length": 4096, "pad_token_id": 0,
                    "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.31.0.dev0"},
        dtype="float16", tensors="inv_freq", shards=2),
    "meta-llama/Llama-2-7b-chat-hf": dict(
        vocabulary=LLAMA_VOCABULARY, special=LLAMA2_SPECIAL, dtype="float16", tensors="inv_freq", shards=2,
        config=LLAMA2 | {"_name_or_path": "meta-llama/Llama-2-7b-chat-hf", "transformers_version": "4.32.0.dev0"},
        tokenizer=LLAMA2_TOKENIZER | {"chat_template": INST},
        generation={"bos_token_id": 1, "do_sample": true, "eos_token_id": 2, "pad_token_id": 0, "temperature": 0.6,
                    "max_length": 4096, "top_p": 0.9, "transformers_version": "4.32.0.dev0"}),
    "lmsys/vicuna-7b-v1.5": dict(
        vocabulary=lambda: LLAMA_VOCABULARY().only("tokenizer.model"), dtype="float16", shards=2,
        config=LLAMA2 | {"_name_or_path": "vicuna-7b-v1.5", "transformers_version": "4.31.0"},
        tokenizer=LLAMA2_TOKENIZER | {"model_max_length": 4096},
        special=LLAMA2_SPECIAL | {"pad_token": "<unk>"},
        generation={"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_length": 4096, "temperature": 0.9,
                    "top_p": 0.6, "transformers_version": "4.31.0"}),
    "codellama/CodeLlama-7b-hf": dict(
        vocabulary=lambda: LLAMA_VOCABULARY(user=FILL, listed=S + [v.added(t) for t in FILL]), dtype="bfloat16", shards=2,
        config=without(LLAMA2, "_name_or_path", "pad_token_id") | {
            "max_position_embeddings": 16384, "rope_theta": 1000000, "torch_dtype": "bfloat16",
            "transformers_version": "4.33.0.dev0"},
        tokenizer={
            "bos_token": token("<s>", true, true), "clean_up_tokenization_spaces": false,
            "eos_token": token("</s>", true, true), "eot_token": "▁<EOT>", "fill_token": "<FILL_ME>", "legacy": null,
            "middle_token": "▁<MID>", "model_max_length": BIG, "pad_token": null, "prefix_token": "▁<PRE>",
            "sp_model_kwargs": {}, "suffix_first": false, "suffix_token": "▁<SUF>",
            "tokenizer_class": "CodeLlamaTokenizer", "unk_token": token("<unk>", true, true),
            "use_default_system_prompt": false},
        special={"additional_special_tokens": ["▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"], **SPECIAL},
        generation={"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2,
                    "transformers_version": "4.33.0.dev0"}),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": dict(
        vocabulary=LLAMA_VOCABULARY, dtype="bfloat16",
        config=without(LLAMA2, "_name_or_path", "pad_token_id") | HEADS | {
            "attention_bias": false, "max_position_embeddings": 2048, "rope_theta": 10000.0,
            "torch_dtype": "bfloat16", "transformers_version": "4.35.0"},
        tokenizer={
            "add_bos_token": true, "add_eos_token": false, "added_tokens_decoder": Decoder(*S), "bos_token": "<s>",
            "chat_template": turns("<|{{ message['role'] }}|>\n", "</s>\n", "<|assistant|>\n"),
            "clean_up_tokenization_spaces": false, "eos_token": "</s>", "legacy": false, "model_max_length": 2048,
            "pad_token": "</s>", "padding_side": "right", "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer",
            "unk_token": "<unk>", "use_default_system_prompt": false},
        special=LLAMA2_SPECIAL | {"pad_token": token("</s>")},
        generation={"bos_token_id": 1, "eos_token_id": 2, "max_length": 2048, "pad_token_id": 0,
                    "transformers_version": "4.35.0"}),
}

# --- Llama 3 ---

BEGIN, ENDED, TURN = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
L3 = [v.added(t) for t in (BEGIN, ENDED, "<|reserved_special_token_0|>", "<|finetune_right_pad_id|>",
                           "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", TURN, "<|python_tag|>")]
L3_VOCABULARY = lambda: v.byte_level("llama3", beyond=L3, around=([BEGIN], []), ignore_merges=True).only("tokenizer.json")
L3_CHAT = "{{ bos_token }}" + turns("<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n", TURN,
                                    "<|start_header_id|>assistant<|end_header_id|>\n\n")
LLAMA3 = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": Id(BEGIN), "eos_token_id": Id(ENDED), "hidden_act": "silu", "hidden_size": 16,
    "initializer_range": 0.02, "intermediate_size": 28, "max_position_embeddings": 8192, "model_type": "llama",
    **HEADS, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 500000.0,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.40.0.dev0",
    "use_cache": true, "vocab_size": Size()}
STRETCH = lambda factor: {"factor": factor, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                          "original_max_position_embeddings": 8192, "rope_type": "llama3"}
L3_TOKENIZER = {"added_tokens_decoder": Decoder(*L3), "bos_token": BEGIN, "clean_up_tokenization_spaces": true,
                "eos_token": ENDED, "model_input_names": ["input_ids", "attention_mask"], "model_max_length": BIG,
                "tokenizer_class": "PreTrainedTokenizerFast"}
L3_ENDS = [Id(ENDED), Id("<|eom_id|>"), Id(TURN)]
SAMPLED = {"bos_token_id": Id(BEGIN), "do_sample": true, "temperature": 0.6, "top_p": 0.9}
CHECKPOINTS |= {
    "meta-llama/Meta-Llama-3-8B": dict(
        vocabulary=L3_VOCABULARY, config=LLAMA3, tokenizer=L3_TOKENIZER, dtype="bfloat16", shards=4,
        special={"bos_token": BEGIN, "eos_token": ENDED},
        generation=SAMPLED | {"eos_token_id": Id(ENDED), "max_length": 4096, "transformers_version": "4.40.0.dev0"}),
    "meta-llama/Meta-Llama-3-8B-Instruct": dict(
        vocabulary=L3_VOCABULARY, config=LLAMA3 | {"eos_token_id": Id(TURN)}, dtype="bfloat16", shards=4,
        tokenizer=L3_TOKENIZER | {"chat_template": L3_CHAT, "eos_token": TURN},
        special={"bos_token": BEGIN, "eos_token": TURN},
        generation=SAMPLED | {"eos_token_id": [Id(ENDED), Id(TURN)], "max_length": 4096,
                              "transformers_version": "4.40.0.dev0"}),
    "meta-llama/Llama-3.1-8B-Instruct": dict(
        vocabulary=L3_VOCABULARY, dtype="bfloat16", shards=4,
        config=LLAMA3 | {"eos_token_id": L3_ENDS, "max_position_embeddings": 131072, "mlp_bias": false,
                         "rope_scaling": STRETCH(8.0), "transformers_version": "4.42.3"},
        tokenizer=L3_TOKENIZER | {"chat_template": L3_CHAT, "eos_token": TURN, "model_max_length": 131072},
        special={"bos_token": token(BEGIN), "eos_token": token(TURN)},
        generation=SAMPLED | {"eos_token_id": L3_ENDS, "transformers_version": "4.42.3"}),
    "meta-llama/Llama-3.2-1B": dict(
        vocabulary=L3_VOCABULARY, dtype="bfloat16", special={"bos_token": token(BEGIN), "eos_token": token(ENDED)},
        config=LLAMA3 | {"head_dim": 8, "max_position_embeddings": 131072, "mlp_bias": false,
                         "rope_scaling": STRETCH(32.0), "tie_word_embeddings": true,
                         "transformers_version": "4.45.0.dev0"},
        tokenizer=L3_TOKENIZER | {"model_max_length": 131072},
        generation={"_from_model_config": true, **SAMPLED, "eos_token_id": Id(ENDED),
                    "transformers_version": "4.45.0.dev0"}),
    "meta-llama/Llama-3.2-1B-Instruct": dict(
        vocabulary=L3_VOCABULARY, dtype="bfloat16", special={"bos_token": token(BEGIN), "eos_token": token(TURN)},
        config=LLAMA3 | {"eos_token_id": L3_ENDS, "head_dim": 8, "max_position_embeddings": 131072,
                         "mlp_bias": false, "rope_scaling": STRETCH(32.0), "tie_word_embeddings": true,
                         "transformers_version": "4.45.0.dev0"},
        tokenizer=L3_TOKENIZER | {"chat_template": L3_CHAT, "eos_token": TURN, "model_max_length": 131072},
        generation=SAMPLED | {"eos_token_id": L3_ENDS, "transformers_version": "4.45.0.dev0"}),
}

# --- SmolLM, in the shape of Llama; SmolLM3 ---

REPO = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>",
        "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>",
        "<jupyter_code>", "<jupyter_output>", "<jupyter_script>", "<empty_output>"]
SMOL_VOCABULARY = lambda: v.byte_level("digits", first=REPO)
SMOL = without(LLAMA3, "rope_theta") | {
    "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.02, "max_position_embeddings": 2048,
    "hidden_size": 12, "num_attention_heads": 3, "num_key_value_heads": 1, "rope_theta": 10000.0,
    "tie_word_embeddings": true,
    "transformers_version": "4.41.2"}
SMOL2 = SMOL | {
    "initializer_range": 0.041666666666666664, "is_llama_config": true, "max_position_embeddings": 8192,
    "mlp_bias": false, "rope_interleaved": false, "rope_theta": 100000, "transformers_version": "4.40.1"}
SMOL_TOKENIZER = {
    "add_prefix_space": false, "added_tokens_decoder": Decoder(*REPO), "additional_special_tokens": REPO,
    "bos_token": "<|endoftext|>", "clean_up_tokenization_spaces": false, "eos_token": "<|endoftext|>",
    "model_max_length": BIG, "tokenizer_class": "GPT2Tokenizer", "unk_token": "<|endoftext|>"}
SMOL_SPECIAL = {"additional_special_tokens": REPO, "bos_token": token("<|endoftext|>"),
                "eos_token": token("<|endoftext|>"), "unk_token": token("<|endoftext|>")}
SMOL_ENDS = {"_from_model_config": true, "bos_token_id": 0, "eos_token_id": 0, "transformers_version": "4.41.2"}
S3 = [v.added(t) for t in (BEGIN, ENDED)] + [v.plain("<think>"), v.plain("</think>"), v.added("<|finetune_right_pad_id|>"),
                                             v.added("<|im_start|>"), v.added("<|im_end|>")]
CHECKPOINTS |= {
    "HuggingFaceTB/SmolLM-135M": dict(
        vocabulary=SMOL_VOCABULARY, config=SMOL, tokenizer=SMOL_TOKENIZER | {"vocab_size": 49152},
        special=SMOL_SPECIAL, generation=SMOL_ENDS, dtype="float32"),
    "HuggingFaceTB/SmolLM2-135M": dict(
        vocabulary=SMOL_VOCABULARY, config=SMOL2, tokenizer=SMOL_TOKENIZER | {
            "model_max_length": 8192, "vocab_size": 49152},
        special=SMOL_SPECIAL, generation=SMOL_ENDS | {"transformers_version": "4.40.1"}, dtype="bfloat16"),
    "HuggingFaceTB/SmolLM2-135M-Instruct": dict(
        vocabulary=SMOL_VOCABULARY, dtype="bfloat16",
        config=SMOL2 | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "transformers.js_config": {
            "kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}}, "transformers_version": "4.42.3"},
        tokenizer=SMOL_TOKENIZER | {
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": "<|im_start|>",
            "chat_template": CHATML, "eos_token": "<|im_end|>", "model_max_length": 8192, "pad_token": "<|im_end|>",
            "vocab_size": 49152},
        special={"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": token("<|im_start|>"),
                 "eos_token": token("<|im_end|>"), "pad_token": token("<|im_end|>"),
                 "unk_token": token("<|endoftext|>")},
        generation={"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
                    "transformers_version": "4.42.3"}),
    "HuggingFaceTB/SmolLM3-3B": dict(
        vocabulary=lambda: v.byte_level("llama3", beyond=S3, ignore_merges=True, pairs=True,
                                        around=([], [])).only("tokenizer.json"),
        dtype="bfloat16", shards=2, chat=CHATML,
        config={
            "architectures": ["SmolLM3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": null, "eos_token_id": Id("<|im_end|>"), "hidden_act": "silu", "hidden_size": 16,
            "initializer_range": 0.02, "intermediate_size": 32, "layer_types": ["full_attention"] * 4,
            "max_position_embeddings": 65536, "max_window_layers": 28, "mlp_bias": false, "model_type": "smollm3",
            "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0], "num_attention_heads": 4,
            "num_hidden_layers": 4, "num_key_value_heads": 1, "pad_token_id": Id("<|finetune_right_pad_id|>"),
            "pretraining_tp": 2, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 5000000.0,
            "sliding_window": null, "torch_dtype": "bfloat16", "transformers_version": "4.54.0.dev0",
            "use_cache": false, "use_sliding_window": false, "vocab_size": Size()},
        tokenizer={"added_tokens_decoder": Decoder(*S3), "bos_token": null, "clean_up_tokenization_spaces": true,
                   "eos_token": "<|im_end|>", "extra_special_tokens": {}, "fast": false,
                   "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 131072,
                   "pad_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"},
        special={"eos_token": token("<|im_end|>"), "pad_token": "<|im_end|>"},
        generation={"do_sample": true, "eos_token_id": Id("<|im_end|>"), "pad_token_id": Id("<|finetune_right_pad_id|>"),
                    "temperature": 0.6, "top_p": 0.95, "transformers_version": "4.54.0.dev0"}),
}

# --- DeepSeek: a Llama tokenizer's class over byte-level pieces ---

DS_BEGIN, DS_END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
DS_TOKENIZER = {
    "add_bos_token": true, "add_eos_token": false, "bos_token": token(DS_BEGIN, true, true),
    "clean_up_tokenization_spaces": false, "eos_token": token(DS_END, true, true), "legacy": true,
    "model_max_length": 16384, "pad_token": token(DS_END, true, true), "sp_model_kwargs": {}, "unk_token": null,
    "tokenizer_class": "LlamaTokenizerFast"}
R1 = [v.added(DS_END), v.plain("<｜User｜>"), v.plain("<｜Assistant｜>"), v.added(DS_BEGIN), v.plain("<｜EOT｜>"),
      v.plain("<think>"), v.plain("</think>")]
R1_CHAT = "{{ bos_token }}" + turns("{{ '<｜User｜>' if message['role'] == 'user' else '<｜Assistant｜>' }}", "",
                                    "<｜Assistant｜>")
R1_ENDS = {"_from_model_config": true, "bos_token_id": Id(DS_BEGIN), "eos_token_id": Id(DS_END), "do_sample": true,
           "temperature": 0.6, "top_p": 0.95, "transformers_version": "4.39.3"}
R1_VOCABULARY = lambda cut: v.byte_level(cut, beyond=R1, around=([DS_BEGIN], []),
                                         ignore_merges=True if cut == "llama3" else None,
                                         normalizer=v.step("NFC") if cut == "qwen2" else None).only("tokenizer.json")
CHECKPOINTS |= {
    "deepseek-ai/deepseek-coder-1.3b-base": dict(
        vocabulary=lambda: v.byte_level("deepseek", beyond=[v.added(DS_BEGIN, normalized=True), v.added(
            DS_END, normalized=True), v.plain("<｜fim▁hole｜>"), v.plain("<|User|>"), v.plain("<|EOT|>")],
            around=([DS_BEGIN], []), normalizer=v.step("Sequence", normalizers=[])).only("tokenizer.json"),
        dtype="bfloat16", tokenizer=DS_TOKENIZER,
        config=without(LLAMA2, "_name_or_path", "pad_token_id") | {
            "bos_token_id": Id(DS_BEGIN), "eos_token_id": Id(DS_END), "max_position_embeddings": 16384,
            "rms_norm_eps": 1e-06, "rope_scaling": {"factor": 4.0, "type": "linear"}, "rope_theta": 100000,
            "torch_dtype": "bfloat16", "transformers_version": "4.33.1", "vocab_size": Size(16)},
        generation={"_from_model_config": true, "bos_token_id": Id(DS_BEGIN), "eos_token_id": Id(DS_END),
                    "transformers_version": "4.33.1"}),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": dict(
        vocabulary=lambda: R1_VOCABULARY("llama3"), dtype="bfloat16", shards=2, generation=R1_ENDS,
        config=LLAMA3 | {"bos_token_id": Id(DS_BEGIN), "eos_token_id": Id(DS_END), "max_position_embeddings": 131072,
                         "mlp_bias": false, "rope_scaling": STRETCH(8.0), "transformers_version": "4.43.0.dev0"},
        tokenizer=DS_TOKENIZER | {"chat_template": R1_CHAT}),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": dict(
        vocabulary=lambda: R1_VOCABULARY("qwen2"), dtype="bfloat16", generation=R1_ENDS,
        config={
            "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": Id(DS_END),
            "eos_token_id": Id(DS_END), "hidden_act": "silu", "hidden_size": 24, "initializer_range": 0.02,
            "intermediate_size": 28, "max_position_embeddings": 131072, "max_window_layers": 21,
            "model_type": "qwen2", "num_attention_heads": 6, "num_hidden_layers": 2, "num_key_value_heads": 1,
            "rms_norm_eps": 1e-06, "rope_theta": 10000, "sliding_window": 4096, "tie_word_embeddings": false,
            "torch_dtype": "bfloat16", "transformers_version": "4.44.0", "use_cache": true, "use_mrope": false,
            "use_sliding_window": false, "vocab_size": Size(16)},
        tokenizer=DS_TOKENIZER | {"chat_template": R1_CHAT}),
}
