/* The driver of the matrix product, the same for every arithmetic (struct zf_product).
 *
 * Threads share out y [rows, out] by ranges of columns in units of 16, and by rows as well when
 * there are fewer units than threads.  First all threads convert the rows of x to cells, each its
 * share.  Then a thread walks its part:
 *
 *   for up to NC columns           panels of max_columns columns, side by side in space.panel
 *     for a chunk of the inner dimension
 *       pack: read W once, make z once, write one set of panels for each stream
 *       for each stream, for ROWS rows: panels x rows -> y when there is only one chunk,
 *         else -> space.sums, which holds the sums of all rows; the last chunk moves them to y
 *
 * Up to ZF_SMALL_M rows of x are multiplied by an unperturbed W without packing, because packing
 * would cost more than the product.
 *
 * Neither the ranges nor the tiles change the order in which an element is summed.  Panels are
 * those of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008; rows
 * of x are read in place. */
#include <assert.h>
#include <omp.h>
#include <string.h>

#include "kern/kern_internal.h"

enum {
  ROWS = 48,  /* rows of x that stay in cache while the panels pass */
  DEPTH = 64, /* rows of a panel that are made in f32 at once, unless groups are deeper */
  MAX_BLOCKS = ZF_NC + 2 * 256 /* values of the blocks that hold NC neighbours */
};

struct gemm_job {
  float *y;
  const float *bias;
  int64_t ldy, ldb, T, stride; /* stride: rows from one stream to the next */
  struct zf_rows *x;
  const struct zf_weight *weight;
  const struct zf_streams *streams;
  int accumulate;
  const struct zf_product *product;
  const uint32_t *cells; /* rows of x: x itself, or converted */
  int64_t cell_stride;   /* cells from one row to the next */
};

static const void *element(const struct zf_weight *weight, int64_t o, int64_t i) {
  return (const char *)weight->data +
         zf_dtype_bytes(weight->type, o * weight->output_stride + i * weight->input_stride);
}

struct zf_weight zf_weight_part(const struct zf_weight *weight, int64_t first_output,
                                int64_t outputs) {
  struct zf_weight part = *weight;
  part.data = (const char *)weight->data +
              zf_dtype_bytes(weight->type, first_output * weight->output_stride);
  part.first = weight->first + first_output * weight->output_stride;
  part.out = outputs;
  return part;
}

/* space->weights [16][KC] = rows o0..o0+count (count <= 16) of a W with changed scales, perturbed by
 * factor times the noise [16][KC], or not (NULL). */
static void expand_changed(const struct zf_weight *weight, struct zf_thread_space *space,
                           int64_t o0, int64_t count, int64_t k0, int64_t k, const float *noise,
                           float factor) {
  for (int64_t o = 0; o < count; o++)
    zf_kern_expand_changed(space->weights + o * ZF_KC, weight, element(weight, o0 + o, k0),
                           weight->first + (o0 + o) * weight->output_stride + k0, k,
                           noise ? noise + o * ZF_KC : NULL, factor);
}

/* Rows o0..o0+count (count <= 16) of a W whose rows run along k, as f32: in place, or expanded into
 * space->weights. */
static const float *strip(const struct zf_weight *weight, struct zf_thread_space *space, int64_t o0,
                          int64_t count, int64_t k0, int64_t k, int64_t *stride) {
  *stride = weight->output_stride;
  if (weight->type == ZF_F32) return element(weight, o0, k0);
  *stride = ZF_KC;
  if (weight->scale_change) {
    expand_changed(weight, space, o0, count, k0, k, NULL, 0);
    return space->weights;
  }
  for (int64_t o = 0; o < count; o++)
    zf_kern.expand(space->weights + o * ZF_KC, element(weight, o0 + o, k0), weight->type, k);
  return space->weights;
}

/* The cell of a stream's panel set where row k begins, in the panel of `width` columns that starts
 * at `column` of the set. */
static uint32_t *cell_of(const struct gemm_job *job, const struct zf_thread_space *space,
                         int stream, int64_t depth, int64_t column, int64_t width, int64_t k) {
  return (uint32_t *)space->panel[stream] + column * depth + zf_kern_depth(job->product, k) * width;
}

/* Number of panel sets. */
static int panel_sets(const struct gemm_job *job) {
  return job->weight->noise ? job->streams->count : 1;
}

/* The factor by which stream `stream` moves along its noise. */
static float noise_factor(const struct zf_streams *streams, int stream, int mixed) {
  if (!mixed) return streams->eps[stream];
  int only = zf_kern_only_term(streams, stream);
  return only >= 0 ? streams->mix[stream * streams->terms + only] : 1;
}

/* Packs inputs k0..k0+k (k <= KC) of columns o0..o0+count (count <= 16) of a W whose rows run along
 * k, into panel[stream] of `width` columns. */
static void pack_tile(const struct gemm_job *job, struct zf_thread_space *space,
                      const struct zf_product *product, void *const panel[ZF_MAXSTREAM],
                      int64_t width, int64_t o0, int64_t count, int64_t k0, int64_t k) {
  const struct zf_weight *weight = job->weight;
  struct zf_tile_noise tile = zf_tile_noise_of(weight, o0, k0, k);
  int mixed = weight->noise && job->streams->terms > 1,
      apart = weight->noise && weight->scale_change; /* each stream has scales of its own */
  int64_t stride = ZF_KC;
  const float *src = apart ? space->weights : strip(weight, space, o0, count, k0, k, &stride);
  if (mixed) {
    zf_tile_noise_mix(weight, job->streams, space, &tile, count);
  } else if (weight->noise) {
    zf_tile_noise_make(&tile, weight->noise, space->noise, count);
    zf_tile_noise_shape(weight, &tile, space->noise, src, stride, count);
  }
  for (int stream = 0; stream < panel_sets(job); stream++) {
    if (mixed) zf_tile_noise_shape(weight, &tile, space->mix[stream], src, stride, count);
    const float *noise = mixed ? space->mix[stream] : weight->noise ? space->noise : NULL;
    float factor = noise ? noise_factor(job->streams, stream, mixed) : 0;
    if (apart) expand_changed(weight, space, o0, count, k0, k, noise, factor);
    product->pack(panel[stream], width, src, stride, apart ? NULL : noise, factor, count, k);
  }
}

/* Packs columns o0..o0+count (count <= 16) of a W whose rows run along k, for each stream.  They
 * become columns strip_column.. of the panel at panel_column. */
static void pack_strip(const struct gemm_job *job, struct zf_thread_space *space,
                       int64_t panel_column, int64_t width, int64_t strip_column, int64_t o0,
                       int64_t count, int64_t k0, int64_t k) {
  int64_t depth = zf_kern_depth(job->product, k);
  void *panel[ZF_MAXSTREAM];
  for (int64_t offset = 0; offset < k; offset += ZF_KC) {
    for (int stream = 0; stream < ZF_MAXSTREAM; stream++)
      panel[stream] =
          cell_of(job, space, stream, depth, panel_column, width, offset) + strip_column;
    pack_tile(job, space, job->product, panel, width, o0, count, k0 + offset,
              zf_min64(k - offset, ZF_KC));
  }
}

/* The same by the pack of f32 and pack_f32, group after group. */
static void pack_groups(const struct gemm_job *job, struct zf_thread_space *space,
                        int64_t panel_column, int64_t width, int64_t strip_column, int64_t o0,
                        int64_t count, int64_t k0, int64_t k) {
  int64_t depth = zf_kern_depth(job->product, k), group = job->product->group;
  void *panel[ZF_MAXSTREAM];
  for (int64_t start = 0; start < k; start += group) {
    int64_t len = zf_min64(k - start, group);
    for (int64_t offset = 0; offset < len; offset += ZF_KC) {
      for (int stream = 0; stream < ZF_MAXSTREAM; stream++)
        panel[stream] = space->chunk[stream] + offset * ZF_LANES;
      pack_tile(job, space, &zf_kern.product[ZF_COMPUTE_F32], panel, ZF_LANES, o0, count,
                k0 + start + offset, zf_min64(len - offset, ZF_KC));
    }
    for (int stream = 0; stream < panel_sets(job); stream++)
      job->product->pack_f32(cell_of(job, space, stream, depth, panel_column, width, start) +
                                 strip_column,
                             width, space->chunk[stream], ZF_LANES, ZF_LANES, len);
  }
}

/* Panels side by side in f32, of a W whose rows run along columns: the panel that begins at column c of
 * the set begins at panel[stream] + c * depth, and its row i is `width` floats long. */
struct direct_panels {
  float *panel[ZF_MAXSTREAM];
  int64_t depth, first_row;
};

/* Elements o0..o0+count (count <= NC) of row k of such a W stored in blocks, from the blocks that hold
 * them. */
static const float *block_row(const struct zf_weight *weight, float blocks[MAX_BLOCKS], int64_t o0,
                              int64_t count, int64_t k) {
  int64_t block = zf_dtype_info(weight->type)->block, first = o0 / block * block,
          end = (o0 + count + block - 1) / block * block;
  zf_kern.expand(blocks, element(weight, first, k), weight->type, end - first);
  return blocks + (o0 - first);
}

/* Row k of one panel, perturbed for each stream: `count` columns from o0 on, then zeros up to `width`.
 * src: the values, or NULL to expand them. */
static void direct_row(const struct gemm_job *job, float *const row[ZF_MAXSTREAM], int64_t width,
                       int64_t o0, int64_t count, int64_t k, const float *src) {
  const struct zf_weight *weight = job->weight;
  float noise[ZF_MAXNR];
  if (src)
    memcpy(row[0], src, (size_t)count * sizeof *src);
  else
    zf_kern.expand(row[0], element(weight, o0, k), weight->type, count);
  memset(row[0] + count, 0, (size_t)(width - count) * sizeof **row);
  if (!weight->noise) return;
  int64_t first = weight->first + o0 + k * weight->input_stride;
  float factor = 0;
  for (int stream = job->streams->count - 1; stream >= 0;
       stream--) { /* stream 0 last: its panel holds W */
    memset(row[stream] + count, 0, (size_t)(width - count) * sizeof **row);
    if (stream == job->streams->count - 1 || job->streams->terms > 1)
      factor = zf_kern_mix(noise, weight->noise, weight->shape, job->streams, stream, row[0], first,
                           count);
    else
      factor = job->streams->eps[stream];
    zf_kern.add_scaled(row[stream], row[0], noise, factor, count);
  }
}

/* Rows k0..k0+k of the panels of columns o0..o0+count.  A block is expanded once for all of them. */
static void direct_rows(const struct gemm_job *job, const struct direct_panels *to, int64_t o0,
                        int64_t count, int64_t k0, int64_t k) {
  float blocks[MAX_BLOCKS], *row[ZF_MAXSTREAM];
  int in_blocks = zf_dtype_info(job->weight->type)->block > 1;
  for (int64_t i = 0; i < k; i++) {
    const float *src = in_blocks ? block_row(job->weight, blocks, o0, count, k0 + i) : NULL;
    for (int64_t column = 0; column < count; column += job->product->max_columns) {
      int64_t columns = zf_min64(count - column, job->product->max_columns),
              width = zf_kern_round_up(columns);
      for (int stream = 0; stream < ZF_MAXSTREAM; stream++)
        row[stream] = to->panel[stream] + column * to->depth + (to->first_row + i) * width;
      direct_row(job, row, width, o0 + column, columns, k0 + i, src ? src + column : NULL);
    }
  }
}

/* Converts `rows` rows of f32 panels to cells, from row `start` of the chunk of k inputs on. */
static void convert_panels(const struct gemm_job *job, struct zf_thread_space *space,
                           const struct direct_panels *from, int64_t set_column, int64_t count,
                           int64_t start, int64_t rows, int64_t k) {
  int64_t depth = zf_kern_depth(job->product, k);
  for (int64_t column = 0; column < count; column += job->product->max_columns) {
    int64_t width = zf_kern_round_up(zf_min64(count - column, job->product->max_columns));
    for (int stream = 0; stream < panel_sets(job); stream++)
      job->product->pack_f32(cell_of(job, space, stream, depth, set_column + column, width, start),
                             width, from->panel[stream] + column * from->depth, width, width, rows);
  }
}

/* Packs columns o0..o0+count of a W whose rows run along columns, as the panels from column set_column
 * of the set on.  Where cells are not f32, the panels are made in space.chunk first. */
static void pack_direct(const struct gemm_job *job, struct zf_thread_space *space,
                        int64_t set_column, int64_t o0, int64_t count, int64_t k0, int64_t k) {
  int64_t depth = job->product->group ? job->product->group : DEPTH;
  for (int64_t start = 0; start < k; start += depth) {
    int64_t rows = zf_min64(k - start, depth);
    int in_place = !job->product->pack_f32;
    struct direct_panels panels = {.depth = in_place ? k : depth,
                                   .first_row = in_place ? start : 0};
    for (int stream = 0; stream < ZF_MAXSTREAM; stream++)
      panels.panel[stream] =
          in_place ? (float *)space->panel[stream] + set_column * k : space->chunk[stream];
    direct_rows(job, &panels, o0, count, k0 + start, rows);
    if (job->product->pack_f32)
      convert_panels(job, space, &panels, set_column, count, start, rows, k);
  }
}

/* Packs columns o0..o0+count (count <= NC) as panels one after another. */
static void pack(const struct gemm_job *job, struct zf_thread_space *space, int64_t o0,
                 int64_t count, int64_t k0, int64_t k) {
  /* The chunk holds panels of DEPTH rows side by side, but only one of a whole group. */
  int64_t direct = job->product->group ? job->product->max_columns : ZF_NC,
          step = job->weight->input_stride != 1 ? direct : job->product->max_columns;
  for (int64_t panel_column = 0; panel_column < count; panel_column += step) {
    int64_t columns = zf_min64(count - panel_column, step), width = zf_kern_round_up(columns);
    if (job->weight->input_stride != 1) {
      pack_direct(job, space, panel_column, o0 + panel_column, columns, k0, k);
      continue;
    }
    for (int64_t strip_column = 0; strip_column < columns; strip_column += ZF_LANES)
      (job->product->pack ? pack_strip : pack_groups)(
          job, space, panel_column, width, strip_column, o0 + panel_column + strip_column,
          zf_min64(columns - strip_column, ZF_LANES), k0, k);
  }
}

/* Multiplies `rows` rows of a stream, from first_row on, by the panels: into `out`. */
static void multiply_rows(const struct gemm_job *job, const struct zf_thread_space *space,
                          float *out, int64_t out_stride, int stream, int64_t first_row,
                          int64_t rows, int64_t count, int64_t k0, int64_t k,
                          enum zf_mul_mode mode) {
  const struct zf_product *product = job->product;
  for (int64_t panel_column = 0; panel_column < count; panel_column += product->max_columns) {
    int64_t width = zf_kern_round_up(zf_min64(count - panel_column, product->max_columns));
    product->mul(out + panel_column, out_stride,
                 job->cells + first_row * job->cell_stride + zf_kern_depth(product, k0),
                 job->cell_stride, rows,
                 cell_of(job, space, job->weight->noise ? stream : 0,
                         zf_kern_depth(job->product, k), panel_column, width, 0),
                 width, width, k, mode);
  }
}

/* Multiplies rows t0..t1 of a stream by the panels, and finishes them after the last chunk. */
static void multiply(const struct gemm_job *job, const struct zf_thread_space *space, float *sums,
                     int stream, int64_t t0, int64_t t1, int64_t o0, int64_t count, int64_t k0,
                     int64_t k) {
  const float *bias = job->bias ? job->bias + stream * job->ldb + o0 : NULL;
  int last = k0 + k == job->weight->in, only_chunk = last && !k0,
      plain = only_chunk && !bias && count % ZF_LANES == 0;
  for (int64_t first = t0; first < t1; first += ROWS, sums += only_chunk ? 0 : ROWS * ZF_NC) {
    int64_t rows = zf_min64(t1 - first, ROWS), row = stream * job->stride + first;
    float *y = job->y + row * job->ldy + o0;
    if (plain) {
      multiply_rows(job, space, y, job->ldy, stream, row, rows, count, k0, k,
                    job->accumulate ? ZF_MUL_ADD : ZF_MUL_SET);
      continue;
    }
    multiply_rows(job, space, sums, ZF_NC, stream, row, rows, count, k0, k,
                  k0 ? ZF_MUL_ADD : ZF_MUL_SET);
    if (last) zf_kern.finish(y, job->ldy, sums, bias, rows, count, job->accumulate);
  }
}

/* Columns o0..o0+count of rows t0..t1 of every stream; they fit space->sums. */
static void multiply_block(const struct gemm_job *job, struct zf_thread_space *space, int64_t o0,
                           int64_t count, int64_t t0, int64_t t1) {
  for (int64_t k0 = 0; k0 < job->weight->in; k0 += job->product->chunk_inputs) {
    int64_t k = zf_min64(job->weight->in - k0, job->product->chunk_inputs);
    pack(job, space, o0, count, k0, k);
    for (int stream = 0; stream < job->streams->count; stream++)
      multiply(job, space, space->sums + stream * (t1 - t0) * ZF_NC, stream, t0, t1, o0, count, k0,
               k);
  }
}

/* Columns o0..o1 of at most ZF_SMALL_M rows, by a W that is not packed: as strips where its rows run
 * along k; where they run along columns, f32 storage is a panel already.  The rest is packed. */
static void multiply_small_m(const struct gemm_job *job, struct zf_thread_space *space, int64_t o0,
                             int64_t o1) {
  const struct zf_weight *weight = job->weight;
  int64_t rows = job->streams->count * job->T, count;
  for (int64_t first = o0; first < o1; first += count) {
    int in_place = weight->input_stride != 1 && weight->type == ZF_F32 && o1 - first >= ZF_LANES;
    count = zf_min64(o1 - first, ZF_LANES);
    if (weight->input_stride != 1) count = zf_min64(o1 - first, job->product->max_columns);
    if (in_place) count = count / ZF_LANES * ZF_LANES;
    if (weight->input_stride != 1 && !in_place) {
      multiply_block(job, space, first, count, 0, job->T);
      continue;
    }
    for (int64_t k0 = 0; k0 < weight->in; k0 += ZF_KC) {
      int64_t k = zf_min64(weight->in - k0, ZF_KC), stride = weight->input_stride;
      const float *src = in_place ? element(weight, first, k0)
                                  : strip(weight, space, first, count, k0, k, &stride);
      if (in_place)
        job->product->mul(space->sums, ZF_NC, job->x->x + k0, job->x->ld, rows, src, stride, count,
                          k, k0 ? ZF_MUL_ADD : ZF_MUL_SET);
      else
        job->product->mul_unpacked(space->sums, ZF_NC, job->x->x + k0, job->x->ld, rows, src,
                                   stride, count, k, k0 > 0);
    }
    for (int stream = 0; stream < job->streams->count; stream++)
      zf_kern.finish(job->y + stream * job->T * job->ldy + first, job->ldy,
                     space->sums + stream * job->T * ZF_NC,
                     job->bias ? job->bias + stream * job->ldb + first : NULL, job->T, count,
                     job->accumulate);
  }
}

static void multiply_part(const struct gemm_job *job, struct zf_thread_space *space, int64_t o0,
                          int64_t o1, int64_t t0, int64_t t1) {
  int64_t max_rows = ZF_MAXROWS / job->streams->count,
          k = zf_min64(job->weight->in, job->product->chunk_inputs);
  int64_t max_columns =
      2 * job->product->max_columns <= ZF_NC && zf_kern_depth(job->product, k) * ZF_NC <= ZF_PANEL
          ? ZF_NC
          : ZF_NC / 2;
  int stacked = job->streams->count == 1 || job->stride == job->T;
  if (job->product->mul_unpacked && stacked && !job->weight->noise && t1 - t0 == job->T &&
      job->streams->count * job->T <= ZF_SMALL_M) {
    multiply_small_m(job, space, o0, o1);
    return;
  }
  for (int64_t t = t0; t < t1; t += max_rows)
    for (int64_t o = o0; o < o1; o += max_columns)
      multiply_block(job, space, o, zf_min64(o1 - o, max_columns), t, zf_min64(t1, t + max_rows));
}

/* Converts one thread's share of the rows of x to cells. */
static void make_cells(const struct gemm_job *job, int thread, int threads) {
  int64_t rows = job->streams->count * job->T;
  for (int64_t i = zf_kern_range_start(rows, thread, threads);
       i < zf_kern_range_start(rows, thread + 1, threads); i++) {
    int64_t row = zf_stream_row(job->streams, job->T, i);
    job->product->convert_rows((uint32_t *)job->x->cells + row * job->cell_stride,
                               job->x->x + row * job->x->ld, job->weight->in);
  }
}

static void run_job(struct gemm_job *job) {
  const struct zf_weight *weight = job->weight;
  const struct zf_product *product = job->product = &zf_kern.product[weight->compute];
  job->cells = product->convert_rows ? job->x->cells : (const void *)job->x->x;
  job->cell_stride = product->convert_rows ? zf_kern_row_cells(product, weight->in) : job->x->ld;
  assert(job->x->in == weight->in && job->x->compute == weight->compute);
  assert(!weight->scale_change || weight->input_stride == 1);
  int64_t strips = zf_kern_round_up(weight->out) / ZF_LANES;
  int team = zf_kern_team(weight->out * weight->in * (job->T * job->streams->count + 8) / 8);
#pragma omp parallel num_threads(team) if (team > 1)
  {
    int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int column_ranges = strips < threads ? (int)strips : threads,
        row_ranges = threads / column_ranges;
    struct zf_thread_space space = zf_kern_thread_space(thread);
    if (product->convert_rows && !job->x->ready) {
      make_cells(job, thread, threads);
#pragma omp barrier
    }
    if (thread < column_ranges * row_ranges) {
      int64_t o0 = ZF_LANES * zf_kern_range_start(strips, thread % column_ranges, column_ranges);
      int64_t o1 =
          ZF_LANES * zf_kern_range_start(strips, thread % column_ranges + 1, column_ranges);
      multiply_part(job, &space, o0, zf_min64(o1, weight->out),
                    zf_kern_range_start(job->T, thread / column_ranges, row_ranges),
                    zf_kern_range_start(job->T, thread / column_ranges + 1, row_ranges));
    }
  }
  job->x->ready = 1;
}

void zf_gemm(float *y, int64_t ldy, struct zf_rows *x, int64_t T, const struct zf_weight *weight,
             const struct zf_streams *streams, const float *bias, int64_t ldb, int accumulate) {
  struct gemm_job job = {.y = y,
                         .bias = bias,
                         .ldy = ldy,
                         .ldb = ldb,
                         .T = T,
                         .stride = streams->stride ? streams->stride : T,
                         .x = x,
                         .weight = weight,
                         .streams = streams,
                         .accumulate = accumulate};
  run_job(&job);
}

void zf_gemm_by_example(float *y, int64_t ldy, const struct zf_rows *x, int64_t T,
                        const struct zf_weight *weight, const struct zf_streams *streams,
                        const struct zf_row_range *range, int64_t count, int64_t first_example,
                        int accumulate) {
  int team = zf_kern_team(weight->out * weight->in * (T * streams->count + 8 * count) / 8);
  assert(weight->compute == ZF_COMPUTE_F32 && x->in == weight->in);
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
  for (int64_t i = 0; i < count; i++) {
    struct zf_thread_space space = zf_kern_thread_space(omp_get_thread_num());
    struct zf_noise noise = weight->noise ? *weight->noise : (struct zf_noise){0};
    struct zf_weight own = *weight;
    if (weight->noise) {
      zf_noise_example(&noise, first_example + i);
      own.noise = &noise;
    }
    struct zf_rows rows = *x;
    rows.x += range[i].start * x->ld;
    struct gemm_job job = {.y = y + range[i].start * ldy,
                           .ldy = ldy,
                           .T = range[i].len,
                           .stride = T,
                           .x = &rows,
                           .weight = &own,
                           .streams = streams,
                           .accumulate = accumulate,
                           .product = &zf_kern.product[ZF_COMPUTE_F32],
                           .cells = (const void *)rows.x,
                           .cell_stride = rows.ld};
    if (range[i].len) multiply_part(&job, &space, 0, weight->out, 0, range[i].len);
  }
}
