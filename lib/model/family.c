/* The table of families.  A new family is a new row; see CONTRIBUTING.md. */
#include "model/family.h"

#include <stddef.h>
#include <string.h>

#define LLAMA_SIZES                                                                                \
  .k_hidden = "hidden_size", .k_layers = "num_hidden_layers", .k_heads = "num_attention_heads",    \
  .k_kv_heads = "num_key_value_heads", .k_head_dim = "head_dim", .k_ffn = "intermediate_size",     \
  .k_max_pos = "max_position_embeddings"
#define ENCODER_SIZES                                                                              \
  .k_hidden = "hidden_size", .k_layers = "num_hidden_layers", .k_heads = "num_attention_heads",    \
  .k_ffn = "intermediate_size", .k_max_pos = "max_position_embeddings"
#define RMS_EPS   .k_norm_eps = "rms_norm_eps", .norm_eps = 1e-6
#define LAYER_EPS .k_norm_eps = "layer_norm_eps", .norm_eps = 1e-5
#define ACT(how)  .k_act = "hidden_act", .act = how

#define LLAMA_KEYS LLAMA_SIZES, RMS_EPS, ACT("silu")

#define ROPE_RMS .norm = ZF_NORM_RMS, .pos = ZF_POS_ROPE, .gated = 1, .affine = {NULL, 1}

#define CAUSAL_TAILS                                                                               \
  .lm = {.head = "lm_head.weight"}, .classify = {.head = "score.weight"}

#define LLAMA_BODY                                                                                 \
  .embed = "embed_tokens.weight", .final_norm = "norm.weight",                                     \
  .q = "layers.#.self_attn.q_proj.weight", .k = "layers.#.self_attn.k_proj.weight",                \
  .v = "layers.#.self_attn.v_proj.weight", .o = "layers.#.self_attn.o_proj.weight",                \
  .gate = "layers.#.mlp.gate_proj.weight", .up = "layers.#.mlp.up_proj.weight",                    \
  .down = "layers.#.mlp.down_proj.weight"

#define LLAMA_NAMES                                                                                \
  LLAMA_BODY, .norm1 = "layers.#.input_layernorm.weight",                                          \
              .norm2 = "layers.#.post_attention_layernorm.weight"

#define GEMMA                                                                                      \
  LLAMA_SIZES, RMS_EPS, .head_dim = 256, .tie = {"tie_word_embeddings", 1},                        \
  .qkv_bias = {"attention_bias", 0}, .o_bias = {"attention_bias", 0}, .norm_plus = 1,              \
  .embed_rooted = 1, .refused = {"use_bidirectional_attention", 0}, ROPE_RMS

#define GEMMA_NORMS                                                                                \
  .norm1 = "layers.#.input_layernorm.weight",                                                      \
  .post1 = "layers.#.post_attention_layernorm.weight",                                             \
  .norm2 = "layers.#.pre_feedforward_layernorm.weight",                                            \
  .post2 = "layers.#.post_feedforward_layernorm.weight"

#define GEMMA3                                                                                     \
  GEMMA, .k_act = "hidden_activation", .act = "gelu_pytorch_tanh", .theta = 1e6,                   \
  .theta_local = 1e4,                                                                              \
  .k_theta_local = "rope_local_base_freq", .scale_by = {"query_pre_attn_scalar", 256, 256},        \
  .logit_cap = {"final_logit_softcapping", 0, 0},                                                  \
  .window = {NULL, 1}, .k_window = "sliding_window", .window_size = 4096,                          \
  .local = ZF_LOCAL_PERIOD, .k_local = "sliding_window_pattern", .local_def = 6, .local_phase = 1, \
  .qk_normed = {NULL, 1},                                                                          \
  .names = {LLAMA_BODY, GEMMA_NORMS, .q_norm = "layers.#.self_attn.q_norm.weight",                 \
            .k_norm = "layers.#.self_attn.k_norm.weight"}

#define MASKED .bidirectional = 1, .affine = {NULL, 1}, .norm = ZF_NORM_LAYER

#define BERT                                                                                       \
  .k_norm_eps = "layer_norm_eps", .norm_eps = 1e-12, ACT("gelu"),                                  \
  .tie = {"tie_word_embeddings", 1}, MASKED, .post_norm = {NULL, 1}, .qkv_bias = {NULL, 1},        \
  .o_bias = {NULL, 1}, .mlp_bias = {NULL, 1}, .norm_bias = {NULL, 1}, .pos = ZF_POS_LEARNED,       \
  .refused = {"is_decoder", 0}

#define BERT_NAMES                                                                                 \
  .embed = "embeddings.word_embeddings.weight",                                                    \
  .pos = "embeddings.position_embeddings.weight", .embed_norm = "embeddings.LayerNorm.weight",     \
  .q = "encoder.layer.#.attention.self.query.weight",                                              \
  .k = "encoder.layer.#.attention.self.key.weight",                                                \
  .v = "encoder.layer.#.attention.self.value.weight",                                              \
  .o = "encoder.layer.#.attention.output.dense.weight",                                            \
  .norm1 = "encoder.layer.#.attention.output.LayerNorm.weight",                                    \
  .up = "encoder.layer.#.intermediate.dense.weight",                                               \
  .down = "encoder.layer.#.output.dense.weight",                                                   \
  .norm2 = "encoder.layer.#.output.LayerNorm.weight"

static const struct zf_family table[] = {
    {
        .model_type = "llama",
        .about = "Llama 1-3, SmolLM, SmolLM2, TinyLlama",
        .max_pos = 2048,
        .classifier = "LlamaForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .mlp_bias = {"mlp_bias", 0},
        ROPE_RMS,
        .names = {LLAMA_NAMES},
        CAUSAL_TAILS,
    },
    {
        .model_type = "mistral",
        .about = "Mistral 7B, Nemo",
        .kv_heads = 8,
        .max_pos = 131072,
        .classifier = "MistralForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .window = {NULL, 1},
        .k_window = "sliding_window",
        .window_size = 4096,
        ROPE_RMS,
        .names = {LLAMA_NAMES},
        CAUSAL_TAILS,
    },
    {
        .model_type = "qwen2",
        .about = "Qwen2, Qwen2.5",
        .kv_heads = 32,
        .max_pos = 32768,
        .classifier = "Qwen2ForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .qkv_bias = {NULL, 1},
        .window = {"use_sliding_window", 0},
        .k_window = "sliding_window",
        .window_size = 4096,
        .local = ZF_LOCAL_FROM,
        .k_local = "max_window_layers",
        .local_def = 28,
        ROPE_RMS,
        .names = {LLAMA_NAMES},
        CAUSAL_TAILS,
    },
    {
        .model_type = "qwen3",
        .about = "Qwen3 (dense)",
        .kv_heads = 32,
        .max_pos = 32768,
        .classifier = "Qwen3ForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .window = {"use_sliding_window", 0},
        .k_window = "sliding_window",
        .window_size = 4096,
        .local = ZF_LOCAL_FROM,
        .k_local = "max_window_layers",
        .local_def = 28,
        ROPE_RMS,
        .head_dim = 128,
        .qk_normed = {NULL, 1},
        .names = {LLAMA_NAMES, .q_norm = "layers.#.self_attn.q_norm.weight",
                  .k_norm = "layers.#.self_attn.k_norm.weight"},
        CAUSAL_TAILS,
    },
    {
        .model_type = "gpt2",
        .about = "GPT-2, DistilGPT2",
        .max_pos = 1024,
        .classifier = "GPT2ForSequenceClassification",
        .prefix = {"transformer.", ""},
        .mapped = 1,
        .k_hidden = "n_embd",
        .k_layers = "n_layer",
        .k_heads = "n_head",
        .k_ffn = "n_inner",
        .k_max_pos = "n_positions",
        .k_norm_eps = "layer_norm_epsilon",
        .k_act = "activation_function",
        .norm_eps = 1e-5,
        .act = "gelu_new",
        .ffn_multiple = 4,
        .tie = {"tie_word_embeddings", 1},
        .qkv_bias = {NULL, 1},
        .o_bias = {NULL, 1},
        .mlp_bias = {NULL, 1},
        .inverse_layer_scale = {"scale_attn_by_inverse_layer_idx", 0},
        .unit_scale = {"!scale_attn_weights", 0},
        .norm = ZF_NORM_LAYER,
        .affine = {NULL, 1},
        .norm_bias = {NULL, 1},
        .pos = ZF_POS_LEARNED,
        .transposed = 1,
        .names =
            {
                .embed = "wte.weight",
                .pos = "wpe.weight",
                .final_norm = "ln_f.weight",
                .norm1 = "h.#.ln_1.weight",
                .qkv = "h.#.attn.c_attn.weight",
                .o = "h.#.attn.c_proj.weight",
                .norm2 = "h.#.ln_2.weight",
                .up = "h.#.mlp.c_fc.weight",
                .down = "h.#.mlp.c_proj.weight",
            },
        CAUSAL_TAILS,
    },
    {
        .model_type = "opt",
        .about = "OPT 125M to 66B, 350M included",
        .max_pos = 2048,
        .classifier = "OPTForSequenceClassification",
        .prefix = {"model.decoder.", "decoder.", ""},
        .k_hidden = "hidden_size",
        .k_layers = "num_hidden_layers",
        .k_heads = "num_attention_heads",
        .k_ffn = "ffn_dim",
        .k_max_pos = "max_position_embeddings",
        .k_act = "activation_function",
        .k_embed_dim = "word_embed_proj_dim",
        .norm_eps = 1e-5,
        .act = "relu",
        .pos_offset = 2,
        .tie = {"tie_word_embeddings", 1},
        .post_norm = {"!do_layer_norm_before", 0},
        .no_final_norm = {"_remove_final_layer_norm", 0},
        .affine = {"layer_norm_elementwise_affine", 1},
        .qkv_bias = {"enable_bias", 1},
        .o_bias = {"enable_bias", 1},
        .mlp_bias = {"enable_bias", 1},
        .norm = ZF_NORM_LAYER,
        .norm_bias = {NULL, 1},
        .pos = ZF_POS_LEARNED,
        .names =
            {
                .embed = "embed_tokens.weight",
                .pos = "embed_positions.weight",
                .project_in = "project_in.weight",
                .project_out = "project_out.weight",
                .final_norm = "final_layer_norm.weight",
                .norm1 = "layers.#.self_attn_layer_norm.weight",
                .q = "layers.#.self_attn.q_proj.weight",
                .k = "layers.#.self_attn.k_proj.weight",
                .v = "layers.#.self_attn.v_proj.weight",
                .o = "layers.#.self_attn.out_proj.weight",
                .norm2 = "layers.#.final_layer_norm.weight",
                .up = "layers.#.fc1.weight",
                .down = "layers.#.fc2.weight",
            },
        CAUSAL_TAILS,
    },
    {
        .model_type = "smollm3",
        .about = "SmolLM3",
        .kv_heads = 4,
        .max_pos = 32768,
        .classifier = "SmolLM3ForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .theta = 2e6,
        .tie = {"tie_word_embeddings", 1},
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .mlp_bias = {"mlp_bias", 0},
        .window = {"use_sliding_window", 0},
        .k_window = "sliding_window",
        .local = ZF_LOCAL_NOPE,
        .window_listed = 1,
        .k_nope = "no_rope_layers",
        .k_nope_period = "no_rope_layer_interval",
        .nope_period = 4,
        ROPE_RMS,
        .names = {LLAMA_NAMES},
        CAUSAL_TAILS,
    },
    {
        .model_type = "granite",
        .about = "Granite 3 (dense)",
        .max_pos = 2048,
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .scale = {"attention_multiplier", 1, 1},
        .embed_scale = {"embedding_multiplier", 1, 1},
        .added_scale = {"residual_multiplier", 1, 1},
        .logits_by = {"logits_scaling", 1, 1},
        .tie = {"tie_word_embeddings", 0},
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .mlp_bias = {"mlp_bias", 0},
        ROPE_RMS,
        .names = {LLAMA_NAMES},
        .lm = {.head = "lm_head.weight"},
    },
    {
        .model_type = "olmo2",
        .about = "OLMo 2",
        .max_pos = 2048,
        .classifier = "Olmo2ForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_SIZES,
        .k_norm_eps = "rms_norm_eps",
        .norm_eps = 1e-5,
        ACT("silu"),
        .tie = {"tie_word_embeddings", 0},
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .qk_normed = {NULL, 1},
        .wide_norm = 1,
        ROPE_RMS,
        .names = {LLAMA_BODY, .q_norm = "layers.#.self_attn.q_norm.weight",
                  .k_norm = "layers.#.self_attn.k_norm.weight",
                  .post1 = "layers.#.post_attention_layernorm.weight",
                  .post2 = "layers.#.post_feedforward_layernorm.weight"},
        CAUSAL_TAILS,
    },
    {
        .model_type = "phi3",
        .about = "Phi-3, Phi-3.5, Phi-4, Phi-4-mini (text)",
        .max_pos = 4096,
        .classifier = "Phi3ForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_SIZES,
        .k_norm_eps = "rms_norm_eps",
        .norm_eps = 1e-5,
        ACT("silu"),
        .tie = {"tie_word_embeddings", 0},
        .window = {NULL, 1},
        .k_window = "sliding_window",
        ROPE_RMS,
        .names = {.embed = "embed_tokens.weight", .final_norm = "norm.weight",
                  .norm1 = "layers.#.input_layernorm.weight",
                  .qkv = "layers.#.self_attn.qkv_proj.weight",
                  .o = "layers.#.self_attn.o_proj.weight",
                  .norm2 = "layers.#.post_attention_layernorm.weight",
                  .gate_up = "layers.#.mlp.gate_up_proj.weight",
                  .down = "layers.#.mlp.down_proj.weight"},
        CAUSAL_TAILS,
    },
    {
        .model_type = "stablelm",
        .about = "StableLM 2, StableLM 3B",
        .kv_heads = 32,
        .max_pos = 4096,
        .classifier = "StableLmForSequenceClassification",
        .prefix = {"model.", ""},
        LLAMA_SIZES,
        LAYER_EPS,
        ACT("silu"),
        .partial = 0.25,
        .tie = {"tie_word_embeddings", 0},
        .qkv_bias = {"use_qkv_bias", 0},
        .parallel = {"use_parallel_residual", 0},
        .norm_shared = 1,
        .qk_normed = {"qk_layernorm", 0},
        .affine = {NULL, 1},
        .norm = ZF_NORM_LAYER,
        .norm_bias = {NULL, 1},
        .pos = ZF_POS_ROPE,
        .gated = 1,
        .names = {LLAMA_NAMES, .q_norm = "layers.#.self_attn.q_layernorm.norms.@.weight",
                  .k_norm = "layers.#.self_attn.k_layernorm.norms.@.weight"},
        CAUSAL_TAILS,
    },
    {
        .model_type = "gpt_neox",
        .about = "GPT-NeoX, Pythia",
        .max_pos = 2048,
        .classifier = "GPTNeoXForSequenceClassification",
        .prefix = {"gpt_neox.", ""},
        ENCODER_SIZES,
        LAYER_EPS,
        ACT("gelu"),
        .k_theta = "rotary_emb_base",
        .k_partial = "rotary_pct",
        .partial = 0.25,
        .tie = {"tie_word_embeddings", 0},
        .affine = {NULL, 1},
        .qkv_bias = {"attention_bias", 1},
        .o_bias = {"attention_bias", 1},
        .mlp_bias = {NULL, 1},
        .parallel = {"use_parallel_residual", 1},
        .norm = ZF_NORM_LAYER,
        .norm_bias = {NULL, 1},
        .pos = ZF_POS_ROPE,
        .qkv = ZF_QKV_HEADS,
        .names = {.embed = "embed_in.weight",
                  .final_norm = "final_layer_norm.weight",
                  .norm1 = "layers.#.input_layernorm.weight",
                  .qkv = "layers.#.attention.query_key_value.weight",
                  .o = "layers.#.attention.dense.weight",
                  .norm2 = "layers.#.post_attention_layernorm.weight",
                  .up = "layers.#.mlp.dense_h_to_4h.weight",
                  .down = "layers.#.mlp.dense_4h_to_h.weight"},
        .lm = {.head = "embed_out.weight"},
        .classify = {.head = "score.weight"},
    },
    {
        .model_type = "gemma",
        .about = "Gemma 1",
        .kv_heads = 16,
        .max_pos = 8192,
        .classifier = "GemmaForSequenceClassification",
        .prefix = {"model.", ""},
        ACT("gelu_pytorch_tanh"),
        GEMMA,
        .act_tanh = 1,
        .names = {LLAMA_NAMES},
        CAUSAL_TAILS,
    },
    {
        .model_type = "gemma2",
        .about = "Gemma 2",
        .kv_heads = 4,
        .max_pos = 8192,
        .classifier = "Gemma2ForSequenceClassification",
        .prefix = {"model.", ""},
        GEMMA,
        .k_act = "hidden_activation",
        .act = "gelu_pytorch_tanh",
        .scale_by = {"query_pre_attn_scalar", 256, 256},
        .score_cap = {"attn_logit_softcapping", 50, 0},
        .logit_cap = {"final_logit_softcapping", 30, 0},
        .window = {NULL, 1},
        .k_window = "sliding_window",
        .window_size = 4096,
        .local = ZF_LOCAL_PERIOD,
        .local_def = 2,
        .local_phase = 1,
        .names = {LLAMA_BODY, GEMMA_NORMS},
        CAUSAL_TAILS,
    },
    {
        .model_type = "gemma3_text",
        .about = "Gemma 3 270M and 1B",
        .max_pos = 131072,
        .classifier = "Gemma3TextForSequenceClassification",
        .prefix = {"model.", ""},
        .vocab = 262208,
        .kv_heads = 4,
        GEMMA3,
        CAUSAL_TAILS,
    },
    {
        .model_type = "gemma3",
        .about = "Gemma 3 4B and larger, the text part",
        .prefix = {"language_model.model.", "model.language_model.", "model.", ""},
        .nest = "text_config",
        .vocab = 262208,
        .heads = 8,
        .kv_heads = 4,
        .max_pos = 131072,
        GEMMA3,
        .carried = {"vision_tower.", "multi_modal_projector."},
        .lm = {.head = "language_model.lm_head.weight"},
    },
    {
        .model_type = "bert",
        .about = "BERT, masked; every token of type 0",
        .max_pos = 512,
        .classifier = "BertForSequenceClassification",
        .prefix = {"bert.", ""},
        ENCODER_SIZES,
        BERT,
        .names = {.type = "embeddings.token_type_embeddings.weight", BERT_NAMES},
        .lm = {.dense = "cls.predictions.transform.dense.weight",
               .norm = "cls.predictions.transform.LayerNorm.weight",
               .head = "cls.predictions.decoder.weight",
               .bias = "cls.predictions.bias",
               .bias_copy = "cls.predictions.decoder.bias",
               .dense_bias = {NULL, 1},
               .head_bias = {NULL, 1}},
        .classify = {.dense = "bert.pooler.dense.weight",
                     .act = "tanh",
                     .head = "classifier.weight",
                     .bias = "classifier.bias",
                     .dense_bias = {NULL, 1},
                     .head_bias = {NULL, 1},
                     .first = 1},
    },
    {
        .model_type = "roberta",
        .about = "RoBERTa, DistilRoBERTa, masked",
        .max_pos = 512,
        .classifier = "RobertaForSequenceClassification",
        .prefix = {"roberta.", ""},
        ENCODER_SIZES,
        BERT,
        .pad_before = 1,
        .names = {.type = "embeddings.token_type_embeddings.weight", BERT_NAMES},
        .lm = {.dense = "lm_head.dense.weight",
               .norm = "lm_head.layer_norm.weight",
               .act = "gelu",
               .head = "lm_head.decoder.weight",
               .bias = "lm_head.bias",
               .bias_copy = "lm_head.decoder.bias",
               .dense_bias = {NULL, 1},
               .head_bias = {NULL, 1}},
        .classify = {.dense = "classifier.dense.weight",
                     .act = "tanh",
                     .head = "classifier.out_proj.weight",
                     .bias = "classifier.out_proj.bias",
                     .dense_bias = {NULL, 1},
                     .head_bias = {NULL, 1},
                     .first = 1},
    },
    {
        .model_type = "distilbert",
        .about = "DistilBERT, masked",
        .max_pos = 512,
        .classifier = "DistilBertForSequenceClassification",
        .prefix = {"distilbert.", ""},
        .mapped = 1,
        .k_hidden = "dim",
        .k_layers = "n_layers",
        .k_heads = "n_heads",
        .k_ffn = "hidden_dim",
        .k_max_pos = "max_position_embeddings",
        .k_act = "activation",
        .act = "gelu",
        .norm_eps = 1e-12,
        .tie = {"tie_word_embeddings", 1},
        MASKED,
        .post_norm = {NULL, 1},
        .qkv_bias = {NULL, 1},
        .o_bias = {NULL, 1},
        .mlp_bias = {NULL, 1},
        .norm_bias = {NULL, 1},
        .pos = ZF_POS_LEARNED,
        .names = {.embed = "embeddings.word_embeddings.weight",
                  .pos = "embeddings.position_embeddings.weight",
                  .embed_norm = "embeddings.LayerNorm.weight",
                  .q = "transformer.layer.#.attention.q_lin.weight",
                  .k = "transformer.layer.#.attention.k_lin.weight",
                  .v = "transformer.layer.#.attention.v_lin.weight",
                  .o = "transformer.layer.#.attention.out_lin.weight",
                  .norm1 = "transformer.layer.#.sa_layer_norm.weight",
                  .up = "transformer.layer.#.ffn.lin1.weight",
                  .down = "transformer.layer.#.ffn.lin2.weight",
                  .norm2 = "transformer.layer.#.output_layer_norm.weight"},
        .lm = {.dense = "vocab_transform.weight",
               .norm = "vocab_layer_norm.weight",
               .head = "vocab_projector.weight",
               .bias = "vocab_projector.bias",
               .dense_bias = {NULL, 1},
               .head_bias = {NULL, 1}},
        .classify = {.dense = "pre_classifier.weight",
                     .act = "relu",
                     .head = "classifier.weight",
                     .bias = "classifier.bias",
                     .dense_bias = {NULL, 1},
                     .head_bias = {NULL, 1},
                     .first = 1},
    },
    {
        .model_type = "modernbert",
        .about = "ModernBERT, masked; classifiers that pool the first token",
        .max_pos = 8192,
        .classifier = "ModernBertForSequenceClassification",
        .prefix = {"model.", ""},
        ENCODER_SIZES,
        .k_norm_eps = "norm_eps",
        .norm_eps = 1e-5,
        .k_act = "hidden_activation",
        .act = "gelu",
        .k_theta = "global_rope_theta",
        .theta = 160000,
        .k_theta_local = "local_rope_theta",
        .theta_local = 1e4,
        .tie = {"tie_word_embeddings", 1},
        MASKED,
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .mlp_bias = {"mlp_bias", 0},
        .norm_bias = {"norm_bias", 0},
        .pos = ZF_POS_ROPE,
        .gated = 1,
        .first_bare = 1,
        .window = {NULL, 1},
        .k_window = "local_attention",
        .window_size = 128,
        .window_half = 1,
        .local = ZF_LOCAL_PERIOD,
        .k_local = "global_attn_every_n_layers",
        .local_def = 3,
        .names = {.embed = "embeddings.tok_embeddings.weight",
                  .embed_norm = "embeddings.norm.weight",
                  .final_norm = "final_norm.weight",
                  .norm1 = "layers.#.attn_norm.weight",
                  .qkv = "layers.#.attn.Wqkv.weight",
                  .o = "layers.#.attn.Wo.weight",
                  .norm2 = "layers.#.mlp_norm.weight",
                  .gate_up = "layers.#.mlp.Wi.weight",
                  .down = "layers.#.mlp.Wo.weight"},
        .lm = {.dense = "head.dense.weight",
               .norm = "head.norm.weight",
               .act = "gelu",
               .k_act = "classifier_activation",
               .head = "decoder.weight",
               .bias = "decoder.bias",
               .dense_bias = {"classifier_bias", 0},
               .head_bias = {"decoder_bias", 1}},
        .classify = {.dense = "head.dense.weight",
                     .norm = "head.norm.weight",
                     .act = "gelu",
                     .k_act = "classifier_activation",
                     .head = "classifier.weight",
                     .bias = "classifier.bias",
                     .dense_bias = {"classifier_bias", 0},
                     .head_bias = {NULL, 1},
                     .first = 1,
                     .k_pooling = "classifier_pooling"},
    },
};

int zf_families(const struct zf_family **out) {
  *out = table;
  return (int)(sizeof table / sizeof *table);
}

int zf_family_carries(const struct zf_family *f, const char *name) {
  for (int i = 0; i < 2 && f->carried[i]; i++)
    if (strstr(name, f->carried[i])) return 1;
  return 0;
}

/* Frequencies, masks and positions. */
int zf_family_constant(const char *name) {
  static const char *const tails[] = {".rotary_emb.inv_freq",  ".attn.bias",     ".attn.masked_bias",
                                      ".attention.bias",       ".attention.masked_bias",
                                      "embeddings.position_ids"};
  size_t n = strlen(name);
  for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
    size_t k = strlen(tails[i]);
    if (n >= k && !strcmp(name + n - k, tails[i])) return 1;
  }
  return 0;
}
