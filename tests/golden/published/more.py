"""Published checkpoints with settings that the best-known ones do not have.  See make_published.py."""
from classic import (BERT, CHECKPOINTS as CLASSIC, GPT2, GPT2_VOCABULARY, MARKS, NEOX_SPECIAL, NEOX_TOKENIZER,
                     NEOX_VOCABULARY, ONE, PYTHIA, ROBERTA, ROBERTA_SPECIAL, ROBERTA_VOCABULARY)
from facts import Decoder, Id, Size, false, null, token, true, without
from llamas import (FIRST_ENDS, FIRST_TOKENIZER, L3_CHAT, L3_TOKENIZER, L3_VOCABULARY, LLAMA2, LLAMA2_SPECIAL,
                    LLAMA2_TOKENIZER, LLAMA3, LLAMA_VOCABULARY, SPECIAL, STRETCH, TURN)
from others import (END, GEMMA, GEMMA3, GEMMA_SPECIAL, GEMMA_TOKENIZER, GV, LAYERS, Q2, Q3, QV, QWEN2,
                    QWEN2_TOKENIZER, QWEN3, STABLE, STABLE2)
import vocabularies as v

CHECKPOINTS = {}

# --- GPT-2's shape in other hands ---

CHECKPOINTS |= {
    "cerebras/Cerebras-GPT-111M": dict(
        vocabulary=GPT2_VOCABULARY, dtype="float32",
        config={
            "activation_function": "gelu", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.0,
            "bos_token_id": Id(END), "embd_pdrop": 0.0, "eos_token_id": Id(END), "initializer_range": 0.02,
            "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_embd": 12, "n_head": 3, "n_inner": 28, "n_layer": 2,
            "n_positions": 16, "reorder_and_upcast_attn": false, "resid_pdrop": 0.0,
            "scale_attn_by_inverse_layer_idx": false, "scale_attn_weights": true, "torch_dtype": "float32",
            "transformers_version": "4.20.1", "use_cache": true, "vocab_size": Size()},
        tokenizer={"model_max_length": 2048}),
    "stanford-crfm/alias-gpt2-small-x21": dict(
        vocabulary=GPT2_VOCABULARY, dtype="float32",
        config=GPT2 | {"n_inner": null, "reorder_and_upcast_attn": true, "scale_attn_by_inverse_layer_idx": true,
                       "scale_attn_weights": true, "torch_dtype": "float32", "transformers_version": "4.13.0.dev0",
                       "use_cache": false}),
    "MBZUAI/LaMini-GPT-124M": dict(
        vocabulary=lambda: v.byte_level("gpt2", last=[v.added(END, normalized=True)], beyond=[v.added("[PAD]")]),
        dtype="float32", config=GPT2 | {
            "_name_or_path": "gpt2", "n_inner": null, "reorder_and_upcast_attn": false,
            "scale_attn_by_inverse_layer_idx": false, "scale_attn_weights": true, "torch_dtype": "float32",
            "transformers_version": "4.28.0.dev0", "use_cache": true},
        tokenizer={"add_prefix_space": false, "bos_token": END, "clean_up_tokenization_spaces": true,
                   "eos_token": END, "model_max_length": 512, "padding_side": "right",
                   "tokenizer_class": "GPT2Tokenizer", "unk_token": END},
        special={"bos_token": token(END, true), "eos_token": token(END, true), "pad_token": "[PAD]",
                 "unk_token": token(END, true)},
        added={"[PAD]": Id("[PAD]")},
        generation={"_from_model_config": true, "bos_token_id": Id(END), "eos_token_id": Id(END),
                    "transformers_version": "4.28.0.dev0"}),
    "uer/gpt2-chinese-cluecorpussmall": dict(
        vocabulary=lambda: v.wordpiece(True, True).only("vocab.txt"), dtype="float32",
        config=without(GPT2, "bos_token_id", "eos_token_id") | {
            "gradient_checkpointing": false, "output_past": true, "task_specific_params": {
                "text-generation": {"do_sample": true, "max_length": 320}}, "tokenizer_class": "BertTokenizer"},
        tokenizer={"do_lower_case": false, "model_max_length": 1024, "tokenizer_class": "BertTokenizer"}),
    "togethercomputer/RedPajama-INCITE-Base-3B-v1": dict(
        vocabulary=lambda: NEOX_VOCABULARY().only("tokenizer.json"), dtype="float16", special=NEOX_SPECIAL, tensors="neox",
        config=PYTHIA | {"rotary_pct": 1.0, "transformers_version": "4.28.1", "use_parallel_residual": false},
        tokenizer=NEOX_TOKENIZER | {"clean_up_tokenization_spaces": true, "model_max_length": 2048}),
    "facebook/galactica-125m": dict(
        vocabulary=lambda: v.byte_level(
            "gpt2", first=["<s>", "<pad>", "</s>", "<unk>", "[START_REF]", "[END_REF]", "[IMAGE]"]).only(
                "tokenizer.json"),
        dtype="float16",
        config={
            "_name_or_path": "mini", "_remove_final_layer_norm": false, "activation_dropout": 0.0,
            "activation_function": "gelu", "architectures": ["OPTForCausalLM"], "attention_dropout": 0.1,
            "bos_token_id": 0, "do_layer_norm_before": true, "dropout": 0.1, "enable_bias": true, "eos_token_id": 2,
            "ffn_dim": 24, "hidden_size": 12, "init_std": 0.02, "layer_norm_elementwise_affine": true,
            "layerdrop": 0.0, "learned_embeddings": true, "max_position_embeddings": 24, "model_type": "opt",
            "num_attention_heads": 3, "num_hidden_layers": 2, "pad_token_id": 1, "scale_embeddings": false,
            "torch_dtype": "float16", "transformers_version": "4.21.0.dev0", "use_cache": true, "vocab_size": Size(),
            "word_embed_proj_dim": 12},
        tokenizer={"name_or_path": "tokenizer", "special_tokens_map_file": "special_tokens_map.json",
                   "tokenizer_class": "PreTrainedTokenizerFast"}, special={}),
}

# --- Llama's shape in other hands ---

CODE = [v.added(t) for t in ("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")]
FALCON = [v.added(t) for t in (">>TITLE<<", ">>ABSTRACT<<", "<|endoftext|>", "<|pad|>")]
CHECKPOINTS |= {
    "openlm-research/open_llama_3b_v2": dict(
        vocabulary=lambda: LLAMA_VOCABULARY().only("tokenizer.model"), dtype="float16", generation=FIRST_ENDS,
        config=without(LLAMA2, "_name_or_path", "num_key_value_heads", "pretraining_tp", "rope_scaling") | {
            "max_position_embeddings": 2048, "rms_norm_eps": 1e-06, "transformers_version": "4.30.0.dev0"},
        tokenizer=FIRST_TOKENIZER, special=SPECIAL),
    "lmsys/vicuna-7b-v1.5-16k": dict(
        vocabulary=lambda: LLAMA_VOCABULARY().only("tokenizer.model"), dtype="float16", shards=2,
        config=LLAMA2 | {"_name_or_path": "vicuna-7b-v1.5-16k", "max_sequence_length": 16384,
                         "rope_scaling": {"factor": 4.0, "type": "linear"}, "transformers_version": "4.31.0"},
        tokenizer=LLAMA2_TOKENIZER | {"model_max_length": 16384}, special=LLAMA2_SPECIAL | {"pad_token": "<unk>"}),
    "NousResearch/Yarn-Llama-2-7b-64k": dict(
        vocabulary=LLAMA_VOCABULARY, dtype="bfloat16", special=LLAMA2_SPECIAL, tokenizer=LLAMA2_TOKENIZER,
        config=without(LLAMA2, "_name_or_path") | {
            "max_position_embeddings": 65536, "rope_scaling": {
                "factor": 16.0, "original_max_position_embeddings": 4096, "type": "yarn", "finetuned": true},
            "torch_dtype": "bfloat16", "transformers_version": "4.32.0.dev0"}),
    "tiiuae/Falcon3-1B-Base": dict(
        vocabulary=lambda: v.byte_level("cl100k", first=FALCON, pairs=True).only("tokenizer.json"), dtype="bfloat16",
        config=without(LLAMA3, "initializer_range") | {
            "bos_token_id": null, "eos_token_id": Id(END), "head_dim": 8, "mlp_bias": false, "rms_norm_eps": 1e-06,
            "rope_theta": 1000042, "transformers_version": "4.46.1"},
        tokenizer={"added_tokens_decoder": Decoder(*FALCON), "additional_special_tokens": [">>TITLE<<", ">>ABSTRACT<<"],
                   "clean_up_tokenization_spaces": true, "eos_token": END,
                   "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 32768,
                   "pad_token": "<|pad|>", "tokenizer_class": "PreTrainedTokenizerFast"},
        special={"additional_special_tokens": [">>TITLE<<", ">>ABSTRACT<<"], "eos_token": token(END),
                 "pad_token": token("<|pad|>")},
        generation={"_from_model_config": true, "eos_token_id": Id(END), "transformers_version": "4.46.1"}),
    "ibm-granite/granite-3b-code-base": dict(
        vocabulary=lambda: v.byte_level("digits", first=CODE), dtype="bfloat16",
        config=without(LLAMA3, "pretraining_tp") | {
            "attention_bias": true, "attention_dropout": 0.1, "bos_token_id": 0, "eos_token_id": 0,
            "max_position_embeddings": 2048, "mlp_bias": true, "num_key_value_heads": 4, "pad_token_id": 0,
            "rope_theta": 10000, "tie_word_embeddings": true, "transformers_version": "4.41.0.dev0"},
        tokenizer={"add_prefix_space": false, "added_tokens_decoder": Decoder(*CODE),
                   "additional_special_tokens": [t["content"] for t in CODE], "bos_token": END,
                   "clean_up_tokenization_spaces": true, "eos_token": END, "model_max_length": 9223372036854775807,
                   "pad_token": END, "padding_side": "left", "tokenizer_class": "GPT2Tokenizer", "unk_token": END,
                   "vocab_size": 49152},
        special={"additional_special_tokens": [t["content"] for t in CODE], "bos_token": END, "eos_token": END,
                 "pad_token": END, "unk_token": END},
        generation={"_from_model_config": true, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
                    "transformers_version": "4.41.0.dev0"}),
    "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2": dict(
        vocabulary=L3_VOCABULARY, dtype="bfloat16", shards=2,
        config=LLAMA3 | ONE | {
            "architectures": ["LlamaForSequenceClassification"], "eos_token_id": Id(TURN), "head_dim": 4,
            "max_position_embeddings": 131072, "mlp_bias": false, "pad_token_id": Id("<|end_of_text|>"),
            "rope_scaling": STRETCH(8.0), "transformers_version": "4.45.2", "use_cache": false},
        tokenizer=L3_TOKENIZER | {"chat_template": L3_CHAT, "eos_token": TURN, "model_max_length": 131072,
                                  "pad_token": "[PAD]"},
        special={"bos_token": token("<|begin_of_text|>"), "eos_token": token(TURN), "pad_token": token("[PAD]")}),
}

# --- Qwen, Gemma, StableLM ---

CHECKPOINTS |= {
    "Qwen/Qwen1.5-0.5B": dict(
        vocabulary=lambda: QV(Q2), dtype="bfloat16",
        config=without(QWEN2, "hidden_size", "intermediate_size") | {
            "hidden_size": 16, "intermediate_size": 28, "max_position_embeddings": 32768, "max_window_layers": 21,
            "num_attention_heads": 4, "num_key_value_heads": 4, "sliding_window": 32768,
            "transformers_version": "4.37.0"},
        tokenizer=QWEN2_TOKENIZER, generation={
            "bos_token_id": Id(END), "do_sample": false, "eos_token_id": Id(END), "max_new_tokens": 2048,
            "transformers_version": "4.37.0"}),
    "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": dict(
        vocabulary=lambda: v.byte_level("qwen2", beyond=Q3, normalizer=v.step("NFC"), around=([END], [])).only(
            "tokenizer.json"),
        dtype="bfloat16",
        config=QWEN3 | {
            "bos_token_id": Id(END), "max_position_embeddings": 131072, "max_window_layers": 36,
            "num_key_value_heads": 1, "rope_scaling": {
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768,
                "attn_factor": 0.8782488562869419},
            "tie_word_embeddings": false},
        tokenizer={"add_bos_token": true, "add_eos_token": false, "bos_token": token(END, true, true),
                   "clean_up_tokenization_spaces": false, "eos_token": token("<|im_end|>", true, true),
                   "legacy": true, "model_max_length": 131072, "pad_token": token(END, true, true),
                   "sp_model_kwargs": {}, "unk_token": null, "tokenizer_class": "LlamaTokenizerFast"},
        generation={"_from_model_config": true, "bos_token_id": Id(END), "eos_token_id": Id("<|im_end|>"),
                    "do_sample": true, "temperature": 0.6, "top_p": 0.95, "transformers_version": "4.51.0"}),
    "google/gemma-1.1-2b-it": dict(
        vocabulary=GV, tokenizer=GEMMA_TOKENIZER, special=GEMMA_SPECIAL, dtype="bfloat16",
        config=GEMMA | {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
                        "transformers_version": "4.38.1"},
        generation={"_from_model_config": true, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
                    "transformers_version": "4.38.1"}),
    "google/embeddinggemma-300m": dict(
        vocabulary=GV, tokenizer=GEMMA_TOKENIZER, special=GEMMA_SPECIAL, dtype="float32", tensors="bare-model",
        config=GEMMA3 | {"architectures": ["Gemma3TextModel"], "_sliding_window_pattern": 6, "layer_types": LAYERS,
                         "dtype": "float32", "transformers_version": "4.57.0.dev0",
                         "use_bidirectional_attention": true}),
    "stabilityai/stablelm-2-12b": dict(
        vocabulary=lambda: v.byte_level("cl100k", beyond=STABLE2), dtype="bfloat16", shards=3,
        config=STABLE | {
            "attention_dropout": 0.0, "hidden_dropout": 0.0, "num_key_value_heads": 1, "qk_layernorm": true,
            "torch_dtype": "bfloat16", "transformers_version": "4.40.0", "use_parallel_residual": true,
            "use_qkv_bias": false},
        tokenizer={"add_prefix_space": false, "added_tokens_decoder": Decoder(*STABLE2), "bos_token": END,
                   "clean_up_tokenization_spaces": false, "eos_token": END, "model_max_length": 4096,
                   "pad_token": END, "tokenizer_class": "GPT2Tokenizer", "unk_token": END}),
}

# --- encoders: without "architectures", classifiers of every kind, heads for other tasks ---

NLI = {"id2label": {"0": "CONTRADICTION", "1": "NEUTRAL", "2": "ENTAILMENT"},
       "label2id": {"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2}}
TAGS = {"id2label": {"0": "O", "1": "B-PER", "2": "I-PER"}, "label2id": {"O": 0, "B-PER": 1, "I-PER": 2}}
MODERN = CLASSIC["answerdotai/ModernBERT-base"]
CHECKPOINTS |= {
    "google/bert_uncased_L-2_H-128_A-2": dict(
        vocabulary=lambda: v.wordpiece().only("vocab.txt"), dtype="float32", tensors="bert-2018", auto="MaskedLM",
        config={"attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
                "hidden_size": 12, "initializer_range": 0.02, "intermediate_size": 24,
                "max_position_embeddings": 24, "model_type": "bert", "num_attention_heads": 2,
                "num_hidden_layers": 2, "type_vocab_size": 2, "vocab_size": Size()}),
    "textattack/bert-base-uncased-SST-2": dict(
        vocabulary=lambda: v.wordpiece().only("vocab.txt"), dtype="float32", special=MARKS,
        tokenizer={"model_max_length": 512},
        config=without(BERT, "gradient_checkpointing", "position_embedding_type", "transformers_version",
                       "use_cache") | {
            "architectures": ["BertForSequenceClassification"], "finetuning_task": "sst-2"}),
    "nlptown/bert-base-multilingual-uncased-sentiment": dict(
        vocabulary=lambda: v.wordpiece().only("vocab.txt"), dtype="float32", special=MARKS,
        tokenizer={"do_lower_case": true},
        config=without(BERT, "gradient_checkpointing", "position_embedding_type", "transformers_version",
                       "use_cache") | {
            "_num_labels": 5, "architectures": ["BertForSequenceClassification"], "directionality": "bidi",
            "finetuning_task": "sentiment-analysis", "id2label": {
                "0": "1 star", "1": "2 stars", "2": "3 stars", "3": "4 stars", "4": "5 stars"},
            "label2id": {"1 star": 0, "2 stars": 1, "3 stars": 2, "4 stars": 3, "5 stars": 4}, "output_past": true}),
    "FacebookAI/roberta-large-mnli": dict(
        vocabulary=ROBERTA_VOCABULARY, dtype="float32", tokenizer={"model_max_length": 512}, tensors="positions",
        config=ROBERTA | NLI | {"_num_labels": 3, "architectures": ["RobertaForSequenceClassification"]}),
    "SamLowe/roberta-base-go_emotions": dict(
        vocabulary=ROBERTA_VOCABULARY, dtype="float32", special=ROBERTA_SPECIAL, added={"<mask>": Id("<mask>")},
        tokenizer={"add_prefix_space": false, "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>",
                   "errors": "replace", "mask_token": token("<mask>", false, true) | {"lstrip": true},
                   "model_max_length": 512, "name_or_path": "roberta-base", "pad_token": "<pad>",
                   "sep_token": "</s>", "special_tokens_map_file": null, "tokenizer_class": "RobertaTokenizer",
                   "trim_offsets": true, "unk_token": "<unk>"},
        config=ROBERTA | {
            "_name_or_path": "roberta-base", "architectures": ["RobertaForSequenceClassification"],
            "classifier_dropout": null, "id2label": {"0": "admiration", "1": "amusement", "2": "anger"},
            "label2id": {"admiration": 0, "amusement": 1, "anger": 2}, "position_embedding_type": "absolute",
            "problem_type": "multi_label_classification", "torch_dtype": "float32", "transformers_version": "4.20.1",
            "use_cache": true}),
    "Alibaba-NLP/gte-reranker-modernbert-base": dict(
        vocabulary=MODERN["vocabulary"], tokenizer=MODERN["tokenizer"], special=MODERN["special"], dtype="float16",
        config=MODERN["config"] | ONE | {
            "_name_or_path": "gte-reranker-modernbert-base", "architectures": ["ModernBertForSequenceClassification"],
            "torch_dtype": "float16", "transformers_version": "4.48.0"}),
    "dslim/bert-base-NER": dict(
        vocabulary=lambda: v.wordpiece(False).only("vocab.txt"), dtype="float32",
        tokenizer={"do_lower_case": false, "model_max_length": 512}, special=MARKS,
        config=without(BERT, "gradient_checkpointing", "position_embedding_type", "transformers_version",
                       "use_cache") | TAGS | {
            "_num_labels": 3, "architectures": ["BertForTokenClassification"], "output_past": true}),
    "deepset/roberta-base-squad2": dict(
        vocabulary=lambda: ROBERTA_VOCABULARY().only("vocab.json", "merges.txt"), dtype="float32",
        special=ROBERTA_SPECIAL, tokenizer={"do_lower_case": false, "model_max_length": 512, "full_tokenizer_file": null},
        config=ROBERTA | {"architectures": ["RobertaForQuestionAnswering"], "gradient_checkpointing": false,
                          "language": "english", "name": "Roberta"}),
}
