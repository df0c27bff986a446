"""Published checkpoints: Mistral, Qwen, Gemma, Phi, OLMo, Granite, StableLM.  See make_published.py."""
from facts import BIG, CHATML, Decoder, Id, Size, false, null, token, true, turns, without
from llamas import INST, LLAMA2_SPECIAL, S
import vocabularies as v

END = "<|endoftext|>"
CHECKPOINTS = {}

# --- Mistral ---

MISTRAL = {
    "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": 16, "initializer_range": 0.02, "intermediate_size": 28, "max_position_embeddings": 32768,
    "model_type": "mistral", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 1,
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": Size()}
WIDE = MISTRAL | {"attention_dropout": 0.0, "rope_theta": 1000000.0, "sliding_window": null}
MISTRAL_TOKENIZER = {
    "add_bos_token": true, "add_eos_token": false, "added_tokens_decoder": Decoder(*S),
    "additional_special_tokens": [], "bos_token": "<s>", "clean_up_tokenization_spaces": false, "eos_token": "</s>",
    "legacy": true, "model_max_length": BIG, "pad_token": null, "sp_model_kwargs": {},
    "spaces_between_special_tokens": false, "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>",
    "use_default_system_prompt": false}
MISTRAL_ENDS = {"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2, "transformers_version": "4.34.0.dev0"}
SP = lambda **keys: v.sentencepieces(**{"around": (["<s>"], []), **keys})
TOOLS = ["[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"]
NEMO = [v.added(t) for t in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>")]
CHECKPOINTS |= {
    "mistralai/Mistral-7B-v0.1": dict(
        vocabulary=SP, config=MISTRAL, tokenizer=MISTRAL_TOKENIZER, generation=MISTRAL_ENDS, dtype="bfloat16",
        special=LLAMA2_SPECIAL, shards=2),
    "mistralai/Mistral-7B-Instruct-v0.2": dict(
        vocabulary=SP, config=WIDE | {"transformers_version": "4.36.0"}, dtype="bfloat16", shards=3,
        tokenizer=MISTRAL_TOKENIZER | {"chat_template": INST}, special=LLAMA2_SPECIAL,
        generation=MISTRAL_ENDS | {"transformers_version": "4.36.0"}),
    "mistralai/Mistral-7B-Instruct-v0.3": dict(
        vocabulary=lambda: SP(user=TOOLS, listed=S + [v.added(t) for t in TOOLS], metaspace=True), dtype="bfloat16",
        config=WIDE | {"transformers_version": "4.42.0.dev0", "vocab_size": Size(16)}, shards=3,
        tokenizer=MISTRAL_TOKENIZER | {
            "add_prefix_space": null, "added_tokens_decoder": Decoder(*S, *TOOLS), "chat_template": INST,
            "legacy": false},
        special=LLAMA2_SPECIAL, generation=MISTRAL_ENDS | {"transformers_version": "4.42.0.dev0"}),
    "mistralai/Mistral-Nemo-Instruct-2407": dict(
        vocabulary=lambda: v.byte_level("tekken", first=NEMO, ignore_merges=True, around=(["<s>"], [])).only(
            "tokenizer.json"),
        config=WIDE | {"head_dim": 8, "hidden_size": 20, "max_position_embeddings": 131072,
                       "transformers_version": "4.43.0.dev0"},
        tokenizer={"add_bos_token": true, "add_eos_token": false, "add_prefix_space": false,
                   "added_tokens_decoder": Decoder(*NEMO), "bos_token": "<s>", "chat_template": INST,
                   "clean_up_tokenization_spaces": false, "eos_token": "</s>", "model_max_length": BIG,
                   "tokenizer_class": "GPT2Tokenizer", "unk_token": "<unk>"},
        special=LLAMA2_SPECIAL, generation=MISTRAL_ENDS | {"transformers_version": "4.43.0.dev0"}, dtype="bfloat16",
        shards=5),
    "HuggingFaceH4/zephyr-7b-beta": dict(
        vocabulary=SP, config=MISTRAL | {"_name_or_path": "dummy", "pad_token_id": 2, "transformers_version": "4.35.0"},
        tokenizer=without(MISTRAL_TOKENIZER, "add_bos_token", "add_eos_token", "spaces_between_special_tokens") | {
            "additional_special_tokens": ["<unk>", "<s>", "</s>"], "pad_token": "</s>", "truncation_side": "left",
            "chat_template": turns("<|{{ message['role'] }}|>\n", "{{ eos_token }}\n", "<|assistant|>\n"),
            "use_default_system_prompt": true},
        special={"additional_special_tokens": ["<unk>", "<s>", "</s>"], **LLAMA2_SPECIAL, "pad_token": token("</s>")},
        generation={"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2, "transformers_version": "4.35.0"},
        dtype="bfloat16", shards=8, added={"</s>": 2, "<s>": 1, "<unk>": 0}),
}

# --- Qwen ---

Q2 = [v.added(t) for t in (END, "<|im_start|>", "<|im_end|>")]
Q25 = Q2 + [v.added(t) for t in ("<|object_ref_start|>", "<|vision_pad|>", "<|image_pad|>")] + [
    v.plain(t) for t in ("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|repo_name|>", "<|file_sep|>")]
Q3 = Q25 + [v.plain(t) for t in ("<tool_response>", "</tool_response>", "<think>", "</think>")]
QV = lambda tokens, **keys: v.byte_level("qwen2", beyond=tokens, normalizer=v.step("NFC"),
                                         post=lambda ids: v.byte_step(False, False, False), **keys)
QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": Id(END), "eos_token_id": Id(END),
    "hidden_act": "silu", "hidden_size": 28, "initializer_range": 0.02, "intermediate_size": 28,
    "max_position_embeddings": 131072, "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 7,
    "num_hidden_layers": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "sliding_window": 131072, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1", "use_cache": true, "use_sliding_window": false, "vocab_size": Size(16)}
QWEN2_TOKENIZER = {
    "add_prefix_space": false, "added_tokens_decoder": Decoder(*Q2),
    "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": null, "chat_template": CHATML,
    "clean_up_tokenization_spaces": false, "eos_token": END, "errors": "replace", "model_max_length": 32768,
    "pad_token": END, "split_special_tokens": false, "tokenizer_class": "Qwen2Tokenizer", "unk_token": null}
QWEN25_TOKENIZER = QWEN2_TOKENIZER | {
    "add_bos_token": false, "added_tokens_decoder": Decoder(*Q25), "additional_special_tokens": [
        "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|vision_pad|>", "<|image_pad|>"],
    "eos_token": "<|im_end|>", "model_max_length": 131072}
QWEN3 = without(QWEN2, "sliding_window") | {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "eos_token_id": Id("<|im_end|>"), "head_dim": 8,
    "hidden_size": 16, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
    "num_attention_heads": 4, "num_key_value_heads": 2, "rope_scaling": null, "rope_theta": 1000000,
    "sliding_window": null, "transformers_version": "4.51.0"}
QWEN3_TOKENIZER = QWEN25_TOKENIZER | {"added_tokens_decoder": Decoder(*Q3)}
QWEN3_ENDS = {"bos_token_id": Id(END), "do_sample": true, "eos_token_id": [Id("<|im_end|>"), Id(END)],
              "pad_token_id": Id(END), "temperature": 0.6, "top_k": 20, "top_p": 0.95,
              "transformers_version": "4.51.0"}
CHECKPOINTS |= {
    "Qwen/Qwen2-0.5B": dict(
        vocabulary=lambda: QV(Q2), config=QWEN2, tokenizer=QWEN2_TOKENIZER, dtype="bfloat16",
        generation={"bos_token_id": Id(END), "do_sample": false, "eos_token_id": Id(END), "max_new_tokens": 2048,
                    "transformers_version": "4.37.0"}),
    "Qwen/Qwen2.5-0.5B-Instruct": dict(
        vocabulary=lambda: QV(Q25), tokenizer=QWEN25_TOKENIZER, dtype="bfloat16",
        config=QWEN2 | {"eos_token_id": Id("<|im_end|>"), "max_position_embeddings": 32768, "max_window_layers": 21,
                        "sliding_window": 32768, "transformers_version": "4.43.1"},
        generation={"bos_token_id": Id(END), "pad_token_id": Id(END), "do_sample": true,
                    "eos_token_id": [Id("<|im_end|>"), Id(END)], "repetition_penalty": 1.1, "temperature": 0.7,
                    "top_p": 0.8, "top_k": 20, "transformers_version": "4.37.0"}),
    "Qwen/Qwen2.5-Math-1.5B": dict(
        vocabulary=lambda: QV(Q25), dtype="bfloat16", tokenizer=QWEN25_TOKENIZER | {"eos_token": END},
        config=QWEN2 | {"hidden_size": 24, "max_position_embeddings": 4096, "max_window_layers": 21,
                        "num_attention_heads": 6, "rope_theta": 10000, "sliding_window": 4096,
                        "tie_word_embeddings": true, "transformers_version": "4.44.0", "use_mrope": false},
        generation={"bos_token_id": Id(END), "do_sample": false, "eos_token_id": Id(END), "max_new_tokens": 2048,
                    "transformers_version": "4.37.0"}),
    "Qwen/Qwen3-0.6B": dict(
        vocabulary=lambda: QV(Q3), config=QWEN3, tokenizer=QWEN3_TOKENIZER, generation=QWEN3_ENDS, dtype="bfloat16",
        tensors="head"),
    "Qwen/Qwen3-4B-Instruct-2507": dict(
        vocabulary=lambda: QV(Q3), tokenizer=QWEN3_TOKENIZER | {"model_max_length": 1010000}, dtype="bfloat16",
        config=QWEN3 | {"max_position_embeddings": 262144, "max_window_layers": 36, "num_key_value_heads": 1,
                        "rope_theta": 5000000},
        generation=QWEN3_ENDS | {"temperature": 0.7, "top_p": 0.8}, shards=3),
    "Qwen/Qwen3-Embedding-0.6B": dict(
        vocabulary=lambda: v.byte_level("qwen2", beyond=Q3, normalizer=v.step("NFC"), post=lambda ids: v.step(
            "Sequence", processors=[v.byte_step(False, False, False), v.template_step(ids, [], [END])])),
        config=QWEN3 | {"eos_token_id": Id(END), "max_position_embeddings": 32768, "transformers_version": "4.51.3"},
        tokenizer=QWEN3_TOKENIZER, dtype="bfloat16", tensors="bare-model",
        generation={"bos_token_id": Id(END), "eos_token_id": Id(END), "max_new_tokens": 2048,
                    "transformers_version": "4.51.3"}),
}

# --- Gemma ---

G = [v.added(t) for t in ("<pad>", "<eos>", "<bos>", "<unk>")]
GU = ["<mask>", "<unused0>", "<start_of_turn>", "<end_of_turn>", "\n\n", "<h1>"]
G1 = G + [v.plain("<mask>"), v.plain("<unused0>"), v.added("<start_of_turn>"), v.added("<end_of_turn>"), v.plain("\n\n"),
          v.plain("<h1>")]
GV = lambda **keys: v.sentencepieces("gemma", listed=G1, user=GU, around=(["<bos>"], []), **keys)
GEMMA_CHAT = "{{ bos_token }}" + turns("<start_of_turn>{{ message['role'] }}\n", "<end_of_turn>\n",
                                       "<start_of_turn>model\n")
GEMMA_SPECIAL = {"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"], "bos_token": token("<bos>"),
                 "eos_token": token("<eos>"), "pad_token": token("<pad>"), "unk_token": token("<unk>")}
GEMMA_TOKENIZER = {
    "add_bos_token": true, "add_eos_token": false, "added_tokens_decoder": Decoder(*G1),
    "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"], "bos_token": "<bos>",
    "clean_up_tokenization_spaces": false, "eos_token": "<eos>", "model_max_length": BIG, "pad_token": "<pad>",
    "sp_model_kwargs": {}, "spaces_between_special_tokens": false, "tokenizer_class": "GemmaTokenizer",
    "unk_token": "<unk>", "use_default_system_prompt": false}
GEMMA = {
    "architectures": ["GemmaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 2,
    "eos_token_id": 1, "head_dim": 8, "hidden_act": "gelu", "hidden_size": 16, "initializer_range": 0.02,
    "intermediate_size": 48, "max_position_embeddings": 8192, "model_type": "gemma", "num_attention_heads": 4,
    "num_hidden_layers": 2, "num_key_value_heads": 1, "pad_token_id": 0, "rms_norm_eps": 1e-06,
    "rope_scaling": null, "rope_theta": 10000.0, "torch_dtype": "bfloat16", "transformers_version": "4.38.0.dev0",
    "use_cache": true, "vocab_size": Size()}
GEMMA2 = without(GEMMA, "rope_scaling") | {
    "architectures": ["Gemma2ForCausalLM"], "attn_logit_softcapping": 50.0, "cache_implementation": "hybrid",
    "final_logit_softcapping": 30.0, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
    "model_type": "gemma2", "num_key_value_heads": 2, "query_pre_attn_scalar": 256, "sliding_window": 4,
    "transformers_version": "4.42.4"}
LAYERS = ["sliding_attention"] * 5 + ["full_attention"]
GEMMA3 = without(GEMMA, "hidden_act") | {
    "architectures": ["Gemma3ForCausalLM"], "attn_logit_softcapping": null, "final_logit_softcapping": null,
    "hidden_activation": "gelu_pytorch_tanh", "intermediate_size": 24, "max_position_embeddings": 32768,
    "model_type": "gemma3_text", "num_hidden_layers": 6, "query_pre_attn_scalar": 256,
    "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0, "sliding_window": 4}
SMALL3 = GEMMA3 | {"_sliding_window_pattern": 6, "layer_types": LAYERS, "transformers_version": "4.55.0.dev0",
                   "use_bidirectional_attention": false}
SOFT = v.added("<image_soft_token>")
IMAGE = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
GEMMA3_TOKENIZER = without(GEMMA_TOKENIZER, "additional_special_tokens") | {
    "added_tokens_decoder": Decoder(*G1, SOFT), **IMAGE, "chat_template": GEMMA_CHAT, "extra_special_tokens": IMAGE,
    "processor_class": "Gemma3Processor", "sp_model_kwargs": null}
GV3 = lambda: v.sentencepieces("gemma", listed=G1, user=GU + ["<start_of_image>", "<end_of_image>"], beyond=[SOFT],
                               around=(["<bos>"], []), pairs=True)
GEMMA3_SPECIAL = without(GEMMA_SPECIAL, "additional_special_tokens") | IMAGE
HYBRID = {"bos_token_id": 2, "cache_implementation": "hybrid", "do_sample": true,
          "eos_token_id": [1, Id("<end_of_turn>")], "pad_token_id": 0, "top_k": 64, "top_p": 0.95,
          "transformers_version": "4.50.0.dev0"}
G3_FILES = dict(vocabulary=GV3, special=GEMMA3_SPECIAL, added={"<image_soft_token>": Id("<image_soft_token>")},
                dtype="bfloat16")
CHECKPOINTS |= {
    "google/gemma-2b": dict(
        vocabulary=GV, config=GEMMA, tokenizer=without(GEMMA_TOKENIZER, "additional_special_tokens"),
        special=without(GEMMA_SPECIAL, "additional_special_tokens"), dtype="bfloat16", shards=2,
        generation={"_from_model_config": true, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
                    "transformers_version": "4.38.0.dev0"}),
    "google/gemma-2-2b": dict(
        vocabulary=GV, config=GEMMA2 | {"torch_dtype": "float32"}, tokenizer=GEMMA_TOKENIZER, special=GEMMA_SPECIAL,
        dtype="float32", shards=3,
        generation={"_from_model_config": true, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
                    "pad_token_id": 0, "transformers_version": "4.42.4"}),
    "google/gemma-2-2b-it": dict(
        vocabulary=GV, config=GEMMA2 | {"eos_token_id": [1, Id("<end_of_turn>")]}, dtype="bfloat16", shards=2,
        tokenizer=GEMMA_TOKENIZER | {"chat_template": GEMMA_CHAT}, special=GEMMA_SPECIAL,
        generation={"_from_model_config": true, "bos_token_id": 2, "cache_implementation": "hybrid",
                    "eos_token_id": [1, Id("<end_of_turn>")], "pad_token_id": 0, "transformers_version": "4.42.4"}),
    "google/gemma-3-270m": dict(
        **G3_FILES, config=SMALL3, tokenizer=without(GEMMA3_TOKENIZER, "chat_template"),
        generation=without(HYBRID, "eos_token_id") | {"eos_token_id": 1, "transformers_version": "4.55.0.dev0"}),
    "google/gemma-3-270m-it": dict(
        **G3_FILES, config=SMALL3, tokenizer=without(GEMMA3_TOKENIZER, "chat_template"), chat=GEMMA_CHAT,
        generation=without(HYBRID, "bos_token_id", "pad_token_id") | {"transformers_version": "4.55.0.dev0"}),
    "google/gemma-3-1b-it": dict(
        **G3_FILES, tokenizer=GEMMA3_TOKENIZER, generation=HYBRID,
        config=GEMMA3 | {"cache_implementation": "hybrid", "eos_token_id": [1, Id("<end_of_turn>")],
                         "rope_local_base_freq": 10000, "rope_theta": 1000000, "sliding_window_pattern": 6,
                         "transformers_version": "4.50.0.dev0"}),
    "google/gemma-3-4b-it": dict(
        **G3_FILES, tokenizer=GEMMA3_TOKENIZER, generation=HYBRID, shards=2, tensors="gemma3",
        config={
            "architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": Id("<start_of_image>"),
            "eoi_token_index": Id("<end_of_image>"), "eos_token_id": [1, Id("<end_of_turn>")],
            "image_token_index": Id("<image_soft_token>"), "initializer_range": 0.02, "mm_tokens_per_image": 1,
            "model_type": "gemma3",
            "text_config": {
                "head_dim": 8, "hidden_size": 16, "intermediate_size": 24, "model_type": "gemma3_text",
                "num_attention_heads": 4, "num_hidden_layers": 6, "num_key_value_heads": 2,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 4, "vocab_size": Size(16)},
            "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
            "vision_config": {
                "hidden_size": 4, "image_size": 4, "intermediate_size": 4, "model_type": "siglip_vision_model",
                "num_attention_heads": 1, "num_hidden_layers": 1, "patch_size": 4, "vision_use_head": false}}),
}

# --- Phi ---

PHI_BEYOND = [v.added(END)] + [v.added(t, rstrip=True) for t in (
    "<|assistant|>", "<|placeholder1|>", "<|system|>", "<|end|>", "<|user|>")]
PHI_S = [v.added("<unk>"), v.added("<s>"), v.plain("</s>", rstrip=True)]
PHI_VOCABULARY = lambda: v.sentencepieces(listed=PHI_S, beyond=PHI_BEYOND)
PHI_CHAT = turns("<|{{ message['role'] }}|>\n", "<|end|>\n", "<|assistant|>\n")
PHI3 = {
    "_name_or_path": "Phi-3-mini-4k-instruct", "architectures": ["Phi3ForCausalLM"], "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config",
                 "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"},
    "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": Id(END), "hidden_act": "silu", "hidden_size": 12,
    "initializer_range": 0.02, "intermediate_size": 28, "max_position_embeddings": 4096, "model_type": "phi3",
    "num_attention_heads": 2, "num_hidden_layers": 2, "num_key_value_heads": 2,
    "original_max_position_embeddings": 4096, "pad_token_id": Id(END), "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
    "rope_scaling": null, "rope_theta": 10000.0, "sliding_window": 5, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "transformers_version": "4.40.2", "use_cache": true, "attention_bias": false,
    "vocab_size": Size(16)}
PHI3_TOKENIZER = {
    "add_bos_token": false, "add_eos_token": false, "added_tokens_decoder": Decoder(*PHI_S, *PHI_BEYOND),
    "bos_token": "<s>", "chat_template": PHI_CHAT, "clean_up_tokenization_spaces": false, "eos_token": END,
    "legacy": false, "model_max_length": 4096, "pad_token": END, "padding_side": "left", "sp_model_kwargs": {},
    "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>", "use_default_system_prompt": false}
PHI3_ENDS = {"_from_model_config": true, "bos_token_id": 1,
             "eos_token_id": [Id(END), Id("<|assistant|>"), Id("<|end|>")], "pad_token_id": Id(END),
             "transformers_version": "4.39.3"}
PHI_FILES = dict(vocabulary=PHI_VOCABULARY, generation=PHI3_ENDS, dtype="bfloat16", shards=2,
                 special={"bos_token": token("<s>"), "eos_token": token(END), "pad_token": token(END),
                          "unk_token": token("<unk>")},
                 added={t["content"]: Id(t["content"]) for t in reversed(PHI_BEYOND)})
LONG = {"long_factor": [1.0700000524520874, 12.390000343322754, 64.12435150146484],
        "short_factor": [1.0, 1.02, 2.8], "type": "longrope"}
PHI4 = [v.added(t, lstrip=True, rstrip=True) for t in ("<|dummy_0|>", END, "<|fim_prefix|>", "<|im_start|>", "<|im_end|>",
                                                       "<|im_sep|>", "<|dummy_85|>")]
PHI4M = [v.added(END)] + [v.added(t, rstrip=True) for t in ("<|assistant|>", "<|end|>", "<|user|>", "<|system|>")] + [
    v.plain("<|tool|>", rstrip=True)]
CHECKPOINTS |= {
    "microsoft/Phi-3-mini-4k-instruct": dict(**PHI_FILES, config=PHI3, tokenizer=PHI3_TOKENIZER),
    "microsoft/Phi-3-mini-128k-instruct": dict(
        **PHI_FILES, tokenizer=PHI3_TOKENIZER | {"model_max_length": 131072},
        config=PHI3 | {"_name_or_path": "Phi-3-mini-128k-instruct", "max_position_embeddings": 131072,
                       "rope_scaling": LONG, "sliding_window": 262144}),
    "microsoft/phi-4": dict(
        vocabulary=lambda: v.byte_level("cl100k", beyond=PHI4, ignore_merges=None), dtype="bfloat16", shards=6,
        config=without(PHI3, "_name_or_path", "auto_map") | {
            "bos_token_id": Id(END), "eos_token_id": Id("<|im_end|>"), "hidden_size": 16, "max_position_embeddings": 16384,
            "num_attention_heads": 4, "num_key_value_heads": 1, "original_max_position_embeddings": 16384, "pad_token_id": Id("<|dummy_85|>"),
            "rope_theta": 250000.0, "sliding_window": null, "transformers_version": "4.47.0"},
        tokenizer={"add_prefix_space": false, "added_tokens_decoder": Decoder(*PHI4), "bos_token": END,
                   "chat_template": turns("<|im_start|>{{ message['role'] }}<|im_sep|>", "<|im_end|>",
                                          "<|im_start|>assistant<|im_sep|>"),
                   "clean_up_tokenization_spaces": false, "eos_token": "<|im_end|>", "model_max_length": 16384,
                   "pad_token": "<|dummy_85|>", "tokenizer_class": "GPT2Tokenizer", "unk_token": "�"},
        special={"bos_token": token(END) | {"lstrip": true, "rstrip": true},
                 "eos_token": token("<|im_end|>") | {"lstrip": true, "rstrip": true},
                 "pad_token": token("<|dummy_85|>") | {"lstrip": true, "rstrip": true}},
        generation={"_from_model_config": true, "bos_token_id": Id(END), "eos_token_id": [Id("<|im_end|>")],
                    "pad_token_id": Id("<|dummy_85|>"), "transformers_version": "4.47.0"}),
    "microsoft/Phi-4-mini-instruct": dict(
        vocabulary=lambda: v.byte_level("o200k", beyond=PHI4M, pairs=True), dtype="bfloat16", shards=2,
        config=PHI3 | {
            "_name_or_path": "Phi-4-mini-instruct", "auto_map": {
                "AutoConfig": "configuration_phi3.Phi3Config",
                "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM", "AutoTokenizer": "Xenova/gpt-4o"},
            "bos_token_id": Id(END), "full_attn_mod": 1, "hidden_size": 24, "interpolate_factor": 1, "lm_head_bias": false,
            "max_position_embeddings": 131072, "mlp_bias": false, "num_attention_heads": 3, "num_key_value_heads": 1,
            "partial_rotary_factor": 0.75, "rope_scaling": {
                "long_factor": [1, 5.351743533, 47.77], "short_factor": [1.0, 1.0, 1.0], "type": "longrope"},
            "sliding_window": 262144, "tie_word_embeddings": true, "transformers_version": "4.45.0"},
        tokenizer={"add_bos_token": false, "add_eos_token": false, "add_prefix_space": false,
                   "added_tokens_decoder": Decoder(*PHI4M), "bos_token": END, "chat_template": PHI_CHAT,
                   "clean_up_tokenization_spaces": false, "eos_token": END, "model_max_length": 131072,
                   "pad_token": END, "tokenizer_class": "GPT2Tokenizer", "unk_token": END},
        special={"bos_token": token(END), "eos_token": token(END), "pad_token": token(END), "unk_token": token(END)},
        added={t["content"]: Id(t["content"]) for t in PHI4M},
        generation={"_from_model_config": true, "bos_token_id": Id(END), "eos_token_id": [Id("<|end|>"), Id(END)],
                    "pad_token_id": Id(END), "transformers_version": "4.45.0"}),
}

# --- OLMo 2, Granite, StableLM ---

OLMO = [v.added(END), v.plain("<|fim_prefix|>"), v.plain("<|im_start|>"), v.plain("<|im_end|>"), v.added("<|pad|>")]
GRANITE = [v.added(t) for t in ("<|end_of_text|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>",
                                "<filename>", "<gh_stars>")]
ROLES = [v.added(t) for t in ("<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>")]
EOT = "<|end_of_text|>"
STABLE = {
    "architectures": ["StableLmForCausalLM"], "bos_token_id": Id(END), "eos_token_id": Id(END), "hidden_act": "silu",
    "hidden_size": 16, "initializer_range": 0.02, "intermediate_size": 28, "max_position_embeddings": 4096,
    "model_type": "stablelm", "layer_norm_eps": 1e-05, "num_attention_heads": 2, "num_hidden_layers": 2,
    "num_key_value_heads": 2, "partial_rotary_factor": 0.25, "rope_theta": 10000, "tie_word_embeddings": false,
    "torch_dtype": "float16", "transformers_version": "4.38.0", "use_cache": true, "use_qkv_bias": true,
    "vocab_size": Size(16)}
STABLE2 = [v.added(t) for t in (END, "<|fim_prefix|>", "<|endofprompt|>", "<|im_start|>", "<|im_end|>")]
STABLE_ENDS = {"_from_model_config": true, "bos_token_id": Id(END), "eos_token_id": Id(END),
               "transformers_version": "4.38.0"}
CHECKPOINTS |= {
    "allenai/OLMo-2-0425-1B": dict(
        vocabulary=lambda: v.byte_level("cl100k", beyond=OLMO), dtype="float32", shards=2,
        config={
            "architectures": ["Olmo2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "eos_token_id": Id(END), "hidden_act": "silu", "hidden_size": 12, "initializer_range": 0.02,
            "intermediate_size": 28, "max_position_embeddings": 4096, "model_type": "olmo2",
            "num_attention_heads": 3, "num_hidden_layers": 2, "num_key_value_heads": 3,
            "pad_token_id": Id("<|pad|>"), "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 500000,
            "tie_word_embeddings": false, "torch_dtype": "float32", "transformers_version": "4.47.0",
            "use_cache": false, "vocab_size": Size(16)},
        tokenizer={"add_prefix_space": false, "added_tokens_decoder": Decoder(*OLMO), "bos_token": END,
                   "clean_up_tokenization_spaces": false, "eos_token": END, "extra_special_tokens": {},
                   "model_max_length": BIG, "pad_token": "<|pad|>", "tokenizer_class": "GPT2Tokenizer",
                   "unk_token": END},
        special={"bos_token": token(END), "eos_token": token(END), "pad_token": token("<|pad|>"),
                 "unk_token": token(END)},
        generation={"_from_model_config": true, "eos_token_id": Id(END), "pad_token_id": Id("<|pad|>"),
                    "transformers_version": "4.47.0"}),
    "ibm-granite/granite-3.1-2b-instruct": dict(
        vocabulary=lambda: v.byte_level("digits", first=GRANITE, beyond=ROLES), dtype="bfloat16", shards=2,
        config={
            "architectures": ["GraniteForCausalLM"], "attention_bias": false, "attention_dropout": 0.1,
            "attention_multiplier": 0.015625, "bos_token_id": Id(EOT), "embedding_multiplier": 12.0,
            "eos_token_id": Id(EOT), "hidden_act": "silu", "hidden_size": 16, "initializer_range": 0.02,
            "intermediate_size": 28, "logits_scaling": 8.0, "max_position_embeddings": 131072, "mlp_bias": false,
            "model_type": "granite", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 1,
            "pad_token_id": Id(EOT), "residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": null,
            "rope_theta": 5000000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
            "transformers_version": "4.47.0", "use_cache": true, "vocab_size": Size()},
        tokenizer={"add_bos_token": false, "add_prefix_space": false, "added_tokens_decoder": Decoder(*GRANITE, *ROLES),
                   "additional_special_tokens": ["<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>"],
                   "bos_token": EOT, "clean_up_tokenization_spaces": true, "errors": "replace",
                   "chat_template": turns("<|start_of_role|>{{ message['role'] }}<|end_of_role|>", EOT + "\n",
                                          "<|start_of_role|>assistant<|end_of_role|>"),
                   "eos_token": EOT, "model_max_length": 9223372036854775807, "pad_token": EOT,
                   "padding_side": "left", "tokenizer_class": "GPT2Tokenizer", "unk_token": EOT, "vocab_size": 49152},
        special={"additional_special_tokens": ["<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>"],
                 "bos_token": token(EOT), "eos_token": token(EOT), "pad_token": token(EOT), "unk_token": token(EOT)},
        added={t["content"]: Id(t["content"]) for t in ROLES},
        generation={"_from_model_config": true, "bos_token_id": Id(EOT), "eos_token_id": Id(EOT),
                    "pad_token_id": Id(EOT), "transformers_version": "4.47.0"}),
    "stabilityai/stablelm-2-1_6b": dict(
        vocabulary=lambda: v.byte_level("cl100k", beyond=STABLE2), config=STABLE, dtype="float16",
        tokenizer={"add_prefix_space": false, "added_tokens_decoder": Decoder(*STABLE2), "bos_token": END,
                   "clean_up_tokenization_spaces": false, "eos_token": END, "model_max_length": BIG,
                   "tokenizer_class": "GPT2Tokenizer", "unk_token": END},
        special={"bos_token": END, "eos_token": END, "unk_token": END}, generation=STABLE_ENDS),
    "stabilityai/stablelm-3b-4e1t": dict(
        vocabulary=lambda: v.byte_level("gpt2", first=[END, "<|padding|>"], normalizer=v.step("NFC")).only(
            "tokenizer.json"),
        config=STABLE | {"torch_dtype": "bfloat16", "use_qkv_bias": false}, dtype="bfloat16",
        tokenizer={"add_prefix_space": false, "bos_token": END, "clean_up_tokenization_spaces": true,
                   "eos_token": END, "model_max_length": BIG, "tokenizer_class": "GPTNeoXTokenizer",
                   "unk_token": END},
        special={"bos_token": END, "eos_token": END, "unk_token": END}, generation=STABLE_ENDS),
}
