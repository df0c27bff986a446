"""Published checkpoints: GPT-2, OPT, GPT-NeoX, and encoders.  See make_published.py."""
from facts import BIG, Decoder, Id, Size, false, null, token, true, without
import vocabularies as v

END = "<|endoftext|>"

# --- GPT-2 ---

GPT2_VOCABULARY = lambda: v.byte_level("gpt2", last=[v.added(END, normalized=True)])
GPT2 = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
    "bos_token_id": Id(END), "embd_pdrop": 0.1, "eos_token_id": Id(END), "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 16, "n_embd": 12, "n_head": 3, "n_layer": 2,
    "n_positions": 16, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
    "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
    "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": Size()}
GPT2_ENDS = {"_from_model_config": true, "bos_token_id": Id(END), "eos_token_id": Id(END),
             "transformers_version": "4.26.0.dev0"}

CHECKPOINTS = {
    "openai-community/gpt2": dict(
        vocabulary=GPT2_VOCABULARY, config=GPT2, generation=GPT2_ENDS, tokenizer={"model_max_length": 1024},
        dtype="float32", tensors="gpt2-bare"),
    "distilbert/distilgpt2": dict(
        vocabulary=GPT2_VOCABULARY, generation=GPT2_ENDS, tokenizer={"model_max_length": 1024}, dtype="float32",
        config=GPT2 | {"_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
        tensors="gpt2-masks"),
    "microsoft/DialoGPT-small": dict(
        vocabulary=lambda: GPT2_VOCABULARY().only("vocab.json", "merges.txt"), tokenizer={"model_max_length": 1024},
        config=GPT2 | {"task_specific_params": {"conversational": {"max_length": 1000}}}, dtype="float32",
        generation=GPT2_ENDS | {"transformers_version": "4.27.0.dev0"}, tensors="gpt2-masks"),
}

# --- OPT: GPT-2's cut, its own special tokens, </s> before every text ---

OPT_VOCABULARY = lambda: v.byte_level("gpt2", first=["<s>", "<pad>", "</s>", "<unk>"]).only("vocab.json", "merges.txt")
OPT = {
    "_name_or_path": "facebook/opt-125m", "activation_dropout": 0.0, "activation_function": "relu",
    "architectures": ["OPTForCausalLM"], "attention_dropout": 0.0, "bos_token_id": Id("</s>"),
    "do_layer_norm_before": true, "dropout": 0.1, "eos_token_id": Id("</s>"), "ffn_dim": 24, "hidden_size": 12,
    "init_std": 0.02, "layerdrop": 0.0, "max_position_embeddings": 24, "model_type": "opt",
    "num_attention_heads": 3, "num_hidden_layers": 2, "pad_token_id": Id("<pad>"), "prefix": "</s>",
    "torch_dtype": "float16", "transformers_version": "4.21.0.dev0", "use_cache": true, "vocab_size": Size(16),
    "word_embed_proj_dim": 12}
OPT_TOKENIZER = {
    "errors": "replace", "unk_token": token("</s>", true, true), "bos_token": token("</s>", true, true),
    "eos_token": token("</s>", true, true), "pad_token": token("<pad>", true, true), "add_prefix_space": false,
    "add_bos_token": true, "special_tokens_map_file": null, "name_or_path": "patrickvonplaten/opt-30b",
    "tokenizer_class": "GPT2Tokenizer"}
OPT_SPECIAL = {"bos_token": token("</s>", true), "eos_token": token("</s>", true), "unk_token": token("</s>", true),
               "pad_token": token("<pad>", true)}
OPT_ENDS = {"_from_model_config": true, "bos_token_id": Id("</s>"), "eos_token_id": Id("</s>"),
            "pad_token_id": Id("<pad>"), "transformers_version": "4.27.0.dev0"}
OPT_FILES = dict(vocabulary=OPT_VOCABULARY, tokenizer=OPT_TOKENIZER, special=OPT_SPECIAL, generation=OPT_ENDS,
                 dtype="float16")
CHECKPOINTS |= {
    "facebook/opt-125m": dict(**OPT_FILES, config=OPT),
    "facebook/opt-350m": dict(**OPT_FILES, tensors="opt-decoder", config=OPT | {
        "_name_or_path": "opt-350m", "do_layer_norm_before": false, "transformers_version": "4.20.0.dev0",
        "word_embed_proj_dim": 8}),
}

# --- GPT-NeoX: an own vocabulary with runs of blanks as tokens ---

BLANKS = [v.plain(" " * n, normalized=True) for n in range(8, 1, -1)]
NEOX_VOCABULARY = lambda extra=(): v.byte_level(
    "gpt2", first=["<|endoftext|>", "<|padding|>"], beyond=BLANKS + list(extra), normalizer=v.step("NFC"))
NEOX = {
    "architectures": ["GPTNeoXForCausalLM"], "attention_probs_dropout_prob": 0, "bos_token_id": Id(END),
    "eos_token_id": Id(END), "hidden_act": "gelu_fast", "hidden_dropout_prob": 0, "hidden_size": 16,
    "initializer_range": 0.02, "intermediate_size": 24, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048,
    "model_type": "gpt_neox", "num_attention_heads": 2, "num_hidden_layers": 2, "rotary_emb_base": 10000,
    "rotary_pct": 0.25, "tie_word_embeddings": false, "torch_dtype": "float16",
    "transformers_version": "4.19.0.dev0", "use_cache": true, "vocab_size": Size(16)}
PYTHIA = without(NEOX, "attention_probs_dropout_prob", "hidden_dropout_prob") | {
    "hidden_act": "gelu", "transformers_version": "4.24.0", "use_parallel_residual": true}
NEOX_TOKENIZER = {"unk_token": END, "bos_token": END, "eos_token": END, "add_prefix_space": false,
                  "tokenizer_class": "GPTNeoXTokenizer"}
NEOX_SPECIAL = {"bos_token": END, "eos_token": END, "unk_token": END}
ANSWERS = [v.plain(x, normalized=True) for x in ("### End", "### Instruction:", "### Response:\n")]
CHECKPOINTS |= {
    "EleutherAI/gpt-neox-20b": dict(
        vocabulary=NEOX_VOCABULARY, config=NEOX, dtype="float16", tensors="neox", shards=3,
        tokenizer=NEOX_TOKENIZER | {"special_tokens_map_file": null, "name_or_path": "EleutherAI/gpt-neox-20b"},
        special=NEOX_SPECIAL),
    "EleutherAI/pythia-70m-deduped": dict(
        vocabulary=lambda: NEOX_VOCABULARY().only("tokenizer.json"), config=PYTHIA, dtype="float16", tensors="neox",
        tokenizer=NEOX_TOKENIZER, special=NEOX_SPECIAL),
    "databricks/dolly-v2-3b": dict(
        vocabulary=lambda: NEOX_VOCABULARY(ANSWERS).only("tokenizer.json"), dtype="bfloat16", tensors="neox",
        config=without(PYTHIA, "transformers_version") | {
            "_name_or_path": "EleutherAI/pythia-2.8b", "custom_pipelines": {"text-generation": {
                "impl": "instruct_pipeline.InstructionTextGenerationPipeline", "pt": "AutoModelForCausalLM",
                "tf": "TFAutoModelForCausalLM"}},
            "torch_dtype": "bfloat16", "transformers_version": "4.25.1", "use_cache": true},
        tokenizer={"add_prefix_space": false, "bos_token": END, "eos_token": END, "model_max_length": BIG,
                   "name_or_path": "EleutherAI/pythia-2.8b", "special_tokens_map_file": null,
                   "tokenizer_class": "GPTNeoXTokenizer", "unk_token": END},
        special={"additional_special_tokens": ["### End", "### Instruction:", "### Response:\n"], "bos_token": END,
                 "eos_token": END, "pad_token": END, "unk_token": END}),
}

# --- BERT ---

BERT = {
    "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 12, "initializer_range": 0.02,
    "intermediate_size": 24, "layer_norm_eps": 1e-12, "max_position_embeddings": 24, "model_type": "bert",
    "num_attention_heads": 3, "num_hidden_layers": 2, "pad_token_id": 0, "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0", "type_vocab_size": 2, "use_cache": true, "vocab_size": Size()}
POOLER = {"pooler_fc_size": 12, "pooler_num_attention_heads": 3, "pooler_num_fc_layers": 3,
          "pooler_size_per_head": 4, "pooler_type": "first_token_transform"}
OLD_BERT = without(BERT, "gradient_checkpointing", "transformers_version", "use_cache", "position_embedding_type")
CHINESE = lambda: v.wordpiece(True, True)
CASED = lambda: v.wordpiece(False)
MARKS = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
         "mask_token": "[MASK]"}
WORDS = v.added("[PAD]"), v.added("[UNK]"), v.added("[CLS]"), v.added("[SEP]"), v.added("[MASK]")
ENCODER_TOKENIZER = {"do_lower_case": true, **MARKS, "tokenize_chinese_chars": true, "strip_accents": null,
                     "name_or_path": "nreimers/MiniLM-L6-H384-uncased", "do_basic_tokenize": true,
                     "never_split": null, "tokenizer_class": "BertTokenizer", "model_max_length": 512}
NEW_TOKENIZER = {"added_tokens_decoder": Decoder(*WORDS), "clean_up_tokenization_spaces": true, "cls_token": "[CLS]",
                 "do_basic_tokenize": true, "do_lower_case": true, "mask_token": "[MASK]", "model_max_length": 512,
                 "never_split": null, "pad_token": "[PAD]", "sep_token": "[SEP]", "strip_accents": null,
                 "tokenize_chinese_chars": true, "tokenizer_class": "BertTokenizer", "unk_token": "[UNK]"}
ONE = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}


def limited():
    """tokenizer.json with the truncation and padding that sentence-transformers leave in it."""
    x = v.wordpiece()
    text = x.files["tokenizer.json"].replace('"truncation": null', '"truncation": {"max_length": 128, '
                                             '"strategy": "LongestFirst", "stride": 0}').replace(
        '"padding": null', '"padding": {"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null, '
        '"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}')
    return v.Vocabulary(x.files | {"tokenizer.json": text}, x.ids)


CHECKPOINTS |= {
    "google-bert/bert-base-uncased": dict(
        vocabulary=v.wordpiece, config=BERT, tokenizer={"do_lower_case": true, "model_max_length": 512},
        dtype="float32", tensors="bert-2018"),
    "google-bert/bert-base-cased": dict(
        vocabulary=CASED, config=BERT, tokenizer={"do_lower_case": false, "model_max_length": 512}, dtype="float32",
        tensors="bert-2018"),
    "google-bert/bert-base-multilingual-cased": dict(
        vocabulary=CASED, config=OLD_BERT | {"directionality": "bidi"} | POOLER, dtype="float32",
        tokenizer={"do_lower_case": false, "model_max_length": 512}, tensors="bert-2018"),
    "google-bert/bert-base-chinese": dict(
        vocabulary=CHINESE, config=OLD_BERT | {"directionality": "bidi"} | POOLER, dtype="float32",
        tokenizer={"do_lower_case": false, "model_max_length": 512}, tensors="bert-2018"),
    "sentence-transformers/all-MiniLM-L6-v2": dict(
        vocabulary=limited, dtype="float32", tensors="positions", tokenizer=ENCODER_TOKENIZER, special=MARKS,
        config=BERT | {"_name_or_path": "nreimers/MiniLM-L6-H384-uncased", "architectures": ["BertModel"],
                       "transformers_version": "4.8.2"}),
    "BAAI/bge-small-en-v1.5": dict(
        vocabulary=v.wordpiece, dtype="float32", tensors="positions", special=MARKS, tokenizer=NEW_TOKENIZER,
        config=without(BERT, "gradient_checkpointing") | ONE | {
            "architectures": ["BertModel"], "classifier_dropout": null, "torch_dtype": "float32",
            "transformers_version": "4.30.2"}),
    "intfloat/e5-small-v2": dict(
        vocabulary=v.wordpiece, dtype="float32", tensors="positions", special=MARKS,
        config=without(BERT, "gradient_checkpointing") | {
            "_name_or_path": "tmp/", "architectures": ["BertModel"], "classifier_dropout": null,
            "torch_dtype": "float32", "transformers_version": "4.29.0.dev0"},
        tokenizer={"clean_up_tokenization_spaces": true, "cls_token": "[CLS]", "do_lower_case": true,
                   "mask_token": "[MASK]", "model_max_length": 512, "pad_token": "[PAD]", "sep_token": "[SEP]",
                   "strip_accents": null, "tokenize_chinese_chars": true, "tokenizer_class": "BertTokenizer",
                   "unk_token": "[UNK]"}),
    "cross-encoder/ms-marco-MiniLM-L6-v2": dict(
        vocabulary=v.wordpiece, dtype="float32", tensors="positions", special=MARKS, tokenizer=NEW_TOKENIZER,
        config=BERT | ONE | {
            "architectures": ["BertForSequenceClassification"], "sentence_transformers": {
                "activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0.dev0"},
            "transformers_version": "4.4.0"}),
    "ProsusAI/finbert": dict(
        vocabulary=lambda: v.wordpiece().only("vocab.txt"), dtype="float32", special=MARKS,
        tokenizer={"do_lower_case": true, **MARKS, "tokenize_chinese_chars": true, "strip_accents": null,
                   "model_max_length": 512, "name_or_path": "ProsusAI/finbert"},
        config=BERT | {
            "architectures": ["BertForSequenceClassification"], "hidden_act": "gelu",
            "id2label": {"0": "positive", "1": "negative", "2": "neutral"},
            "label2id": {"positive": 0, "negative": 1, "neutral": 2}, "transformers_version": "4.4.2"}),
    "unitary/toxic-bert": dict(
        vocabulary=lambda: v.wordpiece().only("vocab.txt"), dtype="float32", tensors="positions", special=MARKS,
        tokenizer={"do_lower_case": true, **MARKS, "model_max_length": 512},
        config=BERT | {
            "_name_or_path": "bert-base-uncased", "architectures": ["BertForSequenceClassification"],
            "id2label": {"0": "toxic", "1": "severe_toxic", "2": "obscene", "3": "threat", "4": "insult",
                         "5": "identity_hate"},
            "label2id": {"identity_hate": 5, "insult": 4, "obscene": 2, "severe_toxic": 1, "threat": 3, "toxic": 0},
            "problem_type": "multi_label_classification", "transformers_version": "4.8.0"}),
}

# --- DistilBERT ---

DISTIL = {
    "activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "attention_dropout": 0.1, "dim": 12,
    "dropout": 0.1, "hidden_dim": 24, "initializer_range": 0.02, "max_position_embeddings": 24,
    "model_type": "distilbert", "n_heads": 3, "n_layers": 2, "pad_token_id": 0, "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": false, "tie_weights_": true,
    "transformers_version": "4.10.0.dev0", "vocab_size": Size()}
CHECKPOINTS |= {
    "distilbert/distilbert-base-uncased": dict(
        vocabulary=v.wordpiece, config=DISTIL, tokenizer={"do_lower_case": true, "model_max_length": 512},
        dtype="float32"),
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": dict(
        vocabulary=lambda: v.wordpiece().only("vocab.txt"), dtype="float32",
        tokenizer={"model_max_length": 512, "do_lower_case": true},
        config=without(DISTIL, "transformers_version") | {
            "architectures": ["DistilBertForSequenceClassification"], "finetuning_task": "sst-2",
            "id2label": {"0": "NEGATIVE", "1": "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
            "output_past": true}),
}

# --- RoBERTa ---

ROBERTA_POST = lambda ids: v.step("RobertaProcessing", sep=["</s>", ids["</s>"]], cls=["<s>", ids["<s>"]],
                                  trim_offsets=True, add_prefix_space=False)
ROBERTA_VOCABULARY = lambda: v.byte_level(
    "gpt2", first=[v.added("<s>", normalized=True), v.added("<pad>", normalized=True),
                   v.added("</s>", normalized=True), v.added("<unk>", normalized=True)],
    last=[v.added("<mask>", lstrip=True)], post=ROBERTA_POST)
ROBERTA = {
    "architectures": ["RobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": Id("<s>"),
    "eos_token_id": Id("</s>"), "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 12,
    "initializer_range": 0.02, "intermediate_size": 24, "layer_norm_eps": 1e-05, "max_position_embeddings": 26,
    "model_type": "roberta", "num_attention_heads": 3, "num_hidden_layers": 2, "pad_token_id": Id("<pad>"),
    "type_vocab_size": 1, "vocab_size": Size()}
ROBERTA_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>",
                   "pad_token": "<pad>", "cls_token": "<s>", "mask_token": {
                       "content": "<mask>", "single_word": false, "lstrip": true, "rstrip": false,
                       "normalized": false}}
MOODS = {"id2label": {"0": "negative", "1": "neutral", "2": "positive"},
         "label2id": {"negative": 0, "neutral": 1, "positive": 2}}
CHECKPOINTS |= {
    "FacebookAI/roberta-base": dict(
        vocabulary=ROBERTA_VOCABULARY, config=ROBERTA, tokenizer={"model_max_length": 512}, dtype="float32",
        tensors="roberta"),
    "cardiffnlp/twitter-roberta-base-sentiment": dict(
        vocabulary=lambda: ROBERTA_VOCABULARY().only("vocab.json", "merges.txt"), special=ROBERTA_SPECIAL,
        dtype="float32", config=ROBERTA | {
            "architectures": ["RobertaForSequenceClassification"],
            "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
            "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}, "gradient_checkpointing": false}),
    "cardiffnlp/twitter-roberta-base-sentiment-latest": dict(
        vocabulary=lambda: ROBERTA_VOCABULARY().only("vocab.json", "merges.txt"), special=ROBERTA_SPECIAL,
        dtype="float32", tensors="positions", config=ROBERTA | MOODS | {
            "_name_or_path": "cardiffnlp/twitter-roberta-base-2021-124m",
            "architectures": ["RobertaForSequenceClassification"], "classifier_dropout": null,
            "gradient_checkpointing": false, "position_embedding_type": "absolute", "torch_dtype": "float32",
            "transformers_version": "4.13.0.dev0", "use_cache": true}),
}

# --- ModernBERT ---

MODERN_MARKS = [v.added("[UNK]"), v.added("[CLS]"), v.added("[SEP]"), v.added("[PAD]"), v.added("[MASK]", lstrip=True)]
MODERN_FIRST = [v.added("|||IP_ADDRESS|||"), v.added("<|padding|>")]
MODERN_LAST = [v.added(END)] + MODERN_MARKS
CHECKPOINTS |= {
    "answerdotai/ModernBERT-base": dict(
        vocabulary=lambda: v.byte_level(
            "gpt2", first=MODERN_FIRST, beyond=BLANKS + MODERN_LAST, normalizer=v.step("NFC"), pairs=True,
            post=lambda ids: v.template_step(ids, ["[CLS]"], ["[SEP]"])).only("tokenizer.json"),
        config={
            "architectures": ["ModernBertForMaskedLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": Id("[CLS]"), "classifier_activation": "gelu", "classifier_bias": false,
            "classifier_dropout": 0.0, "classifier_pooling": "mean", "cls_token_id": Id("[CLS]"),
            "decoder_bias": true, "deterministic_flash_attn": false, "embedding_dropout": 0.0,
            "eos_token_id": Id("[SEP]"), "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
            "gradient_checkpointing": false, "hidden_activation": "gelu", "hidden_size": 12,
            "initializer_cutoff_factor": 2.0, "initializer_range": 0.02, "intermediate_size": 20,
            "layer_norm_eps": 1e-05, "local_attention": 8, "local_rope_theta": 10000.0,
            "max_position_embeddings": 8192, "mlp_bias": false, "mlp_dropout": 0.0, "model_type": "modernbert",
            "norm_bias": false, "norm_eps": 1e-05, "num_attention_heads": 3, "num_hidden_layers": 4,
            "pad_token_id": Id("[PAD]"), "position_embedding_type": "absolute", "reference_compile": null,
            "repad_logits_with_grad": false, "sep_token_id": Id("[SEP]"), "sparse_pred_ignore_index": -100,
            "sparse_prediction": false, "torch_dtype": "float32", "transformers_version": "4.47.0.dev0",
            "vocab_size": Size(16)},
        tokenizer={
            "added_tokens_decoder": Decoder(*MODERN_FIRST, *BLANKS, *MODERN_LAST),
            "clean_up_tokenization_spaces": true, "cls_token": "[CLS]", "extra_special_tokens": {},
            "mask_token": "[MASK]", "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 8192,
            "pad_token": "[PAD]", "sep_token": "[SEP]", "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": "[UNK]"},
        special={"cls_token": token("[CLS]"), "mask_token": token("[MASK]") | {"lstrip": true},
                 "pad_token": token("[PAD]"), "sep_token": token("[SEP]"), "unk_token": token("[UNK]")},
        dtype="float32"),
}
