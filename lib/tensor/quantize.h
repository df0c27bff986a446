/* f32 values to the blocks of GGUF files (blocks_tmpl.h draws them).  Every block is encoded by plain C in one order of
 * operations, so that its bytes are the same on every machine. */
#ifndef ZF_TENSOR_QUANTIZE_H
#define ZF_TENSOR_QUANTIZE_H

#include "base/cplusplus.h"
#include "tensor/dtype.h"

ZF_BEGIN_DECLS

/* Whether zf_quantize writes this type: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL. */
int zf_can_quantize(enum zf_dtype type);

/* Encodes values, each row and each block on its own.
 *   src [rows, columns] f32, finite; columns is a multiple of the type's block.
 *   dst [zf_dtype_bytes(type, rows * columns)], overlaps nothing.
 *   importance [columns], or NULL: the weight of each column's squared error, 0 or more, such as the mean square of the
 *   layer's inputs in that column.  A block whose weights are all 0 is encoded as if they were all 1.
 * The type is one that zf_can_quantize names; F32, F16 and BF16 are rounded to nearest even.
 *
 * The scales and integers of a block make sum_j importance_j (x_j - decoded_j)^2 small: a search from several starts,
 * each followed by refits of the scales to the integers and of the integers to the scales, as in Lloyd (1982), "Least
 * squares quantization in PCM", alternated until nothing improves.  Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 without importance
 * are instead rounded by the largest values of the block; the bytes are those of the Python package `gguf`.
 *
 * A scale is an f16.  The search keeps it within 65504.  The rounded types store infinity where the block needs more, as
 * `gguf` does: a caller with values beyond 65504 refuses them.  Not threaded: callers split the rows. */
void zf_quantize(void *dst, const float *src, enum zf_dtype type, int64_t rows, int64_t columns,
                 const float *importance);

/* Stores in value `at` of one encoded block the integer whose decoded value is nearest to `value`, the lower one of two,
 * and returns the decoded value.  The block's scales stay as they are.  A block type of zf_can_quantize; 0 <= at < the
 * type's block.  For error feedback, which moves a value's error to values that are stored later. */
float zf_quantize_value(void *block, enum zf_dtype type, int at, float value);

ZF_END_DECLS

#endif
