/* The table of families.  A new family is a new row; see CONTRIBUTING.md. */
#include "model/family.h"

#include <stddef.h>

#define LLAMA_KEYS                                                                                 \
  .k_hidden = "hidden_size", .k_layers = "num_hidden_layers", .k_heads = "num_attention_heads",    \
  .k_kv_heads = "num_key_value_heads", .k_head_dim = "head_dim", .k_ffn = "intermediate_size",     \
  .k_max_pos = "max_position_embeddings", .k_norm_eps = "rms_norm_eps", .k_act = "hidden_act",     \
  .norm_eps = 1e-6, .act = "silu"

#define LLAMA_NAMES                                                                                \
  .embed = "embed_tokens.weight", .final_norm = "norm.weight", .head = "lm_head.weight",           \
  .norm1 = "layers.#.input_layernorm.weight", .q = "layers.#.self_attn.q_proj.weight",             \
  .k = "layers.#.self_attn.k_proj.weight", .v = "layers.#.self_attn.v_proj.weight",                \
  .o = "layers.#.self_attn.o_proj.weight", .norm2 = "layers.#.post_attention_layernorm.weight",    \
  .gate = "layers.#.mlp.gate_proj.weight", .up = "layers.#.mlp.up_proj.weight",                    \
  .down = "layers.#.mlp.down_proj.weight"

static const struct zf_family table[] = {
    {
        .model_type = "llama",
        .about = "Llama 1-3, SmolLM, SmolLM2, TinyLlama",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .affine = {NULL, 1},
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .mlp_bias = {"mlp_bias", 0},
        .norm = ZF_NORM_RMS,
        .pos = ZF_POS_ROPE,
        .gated = 1,
        .names = {LLAMA_NAMES},
    },
    {
        .model_type = "mistral",
        .about = "Mistral 7B, Nemo; sliding_window bounds the context",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .affine = {NULL, 1},
        .window = {NULL, 1},
        .k_window = "sliding_window",
        .window_size = 4096,
        .norm = ZF_NORM_RMS,
        .pos = ZF_POS_ROPE,
        .gated = 1,
        .names = {LLAMA_NAMES},
    },
    {
        .model_type = "qwen2",
        .about = "Qwen2, Qwen2.5",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .affine = {NULL, 1},
        .qkv_bias = {NULL, 1},
        .window = {"use_sliding_window", 0},
        .k_window = "sliding_window",
        .window_size = 4096,
        .norm = ZF_NORM_RMS,
        .pos = ZF_POS_ROPE,
        .gated = 1,
        .names = {LLAMA_NAMES},
    },
    {
        .model_type = "qwen3",
        .about = "Qwen3 (dense)",
        .prefix = {"model.", ""},
        LLAMA_KEYS,
        .tie = {"tie_word_embeddings", 0},
        .affine = {NULL, 1},
        .qkv_bias = {"attention_bias", 0},
        .o_bias = {"attention_bias", 0},
        .window = {"use_sliding_window", 0},
        .k_window = "sliding_window",
        .window_size = 4096,
        .norm = ZF_NORM_RMS,
        .pos = ZF_POS_ROPE,
        .head_dim = 128,
        .head_norm = 1,
        .gated = 1,
        .names = {LLAMA_NAMES, .q_norm = "layers.#.self_attn.q_norm.weight",
                  .k_norm = "layers.#.self_attn.k_norm.weight"},
    },
    {
        .model_type = "gpt2",
        .about = "GPT-2, DistilGPT2",
        .prefix = {"transformer.", ""},
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
        .affine = {NULL, 1},
        .qkv_bias = {NULL, 1},
        .o_bias = {NULL, 1},
        .mlp_bias = {NULL, 1},
        .inverse_layer_scale = {"scale_attn_by_inverse_layer_idx", 0},
        .unit_scale = {"!scale_attn_weights", 0},
        .norm = ZF_NORM_LAYER,
        .norm_bias = 1,
        .pos = ZF_POS_LEARNED,
        .transposed = 1,
        .names =
            {
                .embed = "wte.weight",
                .pos = "wpe.weight",
                .final_norm = "ln_f.weight",
                .head = "lm_head.weight",
                .norm1 = "h.#.ln_1.weight",
                .qkv = "h.#.attn.c_attn.weight",
                .o = "h.#.attn.c_proj.weight",
                .norm2 = "h.#.ln_2.weight",
                .up = "h.#.mlp.c_fc.weight",
                .down = "h.#.mlp.c_proj.weight",
            },
    },
    {
        .model_type = "opt",
        .about = "OPT 125M to 66B, 350M included",
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
        .norm_bias = 1,
        .pos = ZF_POS_LEARNED,
        .names =
            {
                .embed = "embed_tokens.weight",
                .pos = "embed_positions.weight",
                .project_in = "project_in.weight",
                .project_out = "project_out.weight",
                .final_norm = "final_layer_norm.weight",
                .head = "lm_head.weight",
                .norm1 = "layers.#.self_attn_layer_norm.weight",
                .q = "layers.#.self_attn.q_proj.weight",
                .k = "layers.#.self_attn.k_proj.weight",
                .v = "layers.#.self_attn.v_proj.weight",
                .o = "layers.#.self_attn.out_proj.weight",
                .norm2 = "layers.#.final_layer_norm.weight",
                .up = "layers.#.fc1.weight",
                .down = "layers.#.fc2.weight",
            },
    },
};

int zf_families(const struct zf_family **out) {
  *out = table;
  return (int)(sizeof table / sizeof *table);
}
