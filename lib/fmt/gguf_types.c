/* Tables of the types of a GGUF file, for its reader and its writer. */
#include "fmt/gguf_internal.h"

static const struct zf_gguf_tensor_type tensor_types[] = {
    {0, "F32", 1, 4, ZF_F32},
    {1, "F16", 1, 2, ZF_F16},
    {30, "BF16", 1, 2, ZF_BF16},
    {8, "Q8_0", 32, 34, ZF_Q8_0},
    {2, "Q4_0", 32, 18, ZF_Q4_0},
    {12, "Q4_K", 256, 144, ZF_Q4_K},
    {14, "Q6_K", 256, 210, ZF_Q6_K},
    {3, "Q4_1", 32, 20, ZF_Q4_1},
    {6, "Q5_0", 32, 22, ZF_Q5_0},
    {7, "Q5_1", 32, 24, ZF_Q5_1},
    {9, "Q8_1", 32, 40, -1},
    {10, "Q2_K", 256, 84, ZF_Q2_K},
    {11, "Q3_K", 256, 110, ZF_Q3_K},
    {13, "Q5_K", 256, 176, ZF_Q5_K},
    {15, "Q8_K", 256, 292, -1},
    {16, "IQ2_XXS", 256, 66, -1},
    {17, "IQ2_XS", 256, 74, -1},
    {18, "IQ3_XXS", 256, 98, -1},
    {19, "IQ1_S", 256, 50, -1},
    {20, "IQ4_NL", 32, 18, ZF_IQ4_NL},
    {21, "IQ3_S", 256, 110, -1},
    {22, "IQ2_S", 256, 82, -1},
    {23, "IQ4_XS", 256, 136, ZF_IQ4_XS},
    {24, "I8", 1, 1, -1},
    {25, "I16", 1, 2, -1},
    {26, "I32", 1, 4, -1},
    {27, "I64", 1, 8, -1},
    {28, "F64", 1, 8, -1},
    {29, "IQ1_M", 256, 56, -1},
    {34, "TQ1_0", 256, 54, -1},
    {35, "TQ2_0", 256, 66, -1},
    {39, "MXFP4", 32, 17, -1},
};
enum { TENSOR_TYPES = sizeof tensor_types / sizeof *tensor_types };

const struct zf_gguf_tensor_type *zf_gguf_tensor_type(uint32_t id) {
  for (int i = 0; i < TENSOR_TYPES; i++)
    if (tensor_types[i].id == id) return &tensor_types[i];
  return NULL;
}

const struct zf_gguf_tensor_type *zf_gguf_type_of(enum zf_dtype type) {
  for (int i = 0; i < TENSOR_TYPES; i++)
    if (tensor_types[i].type == (int)type) return &tensor_types[i];
  return NULL;
}

const struct zf_gguf_id zf_gguf_ids[ZF_GGUF_IDS] = {
    {ZF_GGUF_U8, 1, 0},   {ZF_GGUF_I8, 1, 1},           {ZF_GGUF_U16, 2, 0}, {ZF_GGUF_I16, 2, 1},
    {ZF_GGUF_U32, 4, 0},  {ZF_GGUF_I32, 4, 1},          {ZF_GGUF_F32, 4, 0}, {ZF_GGUF_BOOL, 1, 0},
    {ZF_GGUF_TEXT, 8, 0}, {ZF_GGUF_VALUE_TYPES, 12, 0}, /* an array */
    {ZF_GGUF_U64, 8, 0},  {ZF_GGUF_I64, 8, 0}, /* its bits are those of the number as they stand */
    {ZF_GGUF_F64, 8, 0},
};

uint32_t zf_gguf_id_of(enum zf_gguf_value_type type) {
  uint32_t id = 0;
  while (zf_gguf_ids[id].type != type) id++;
  return id;
}
