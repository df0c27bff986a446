/* zoft tokenize: a text to ids, pieces and offsets, or ids to a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "load.h"
#include "ui.h"

static const char *text_file, *decode_ids;
static int no_special, skip_special;

static const struct zc_opt options[] = {
    {"text", 0, ZC_STR, "FILE", "file to tokenize as one text; - reads standard input", &text_file},
    {"decode", 0, ZC_STR, "IDS", "ids to turn into text, separated by commas or blanks",
     &decode_ids},
    {"no-special", 0, ZC_FLAG, NULL, "do not add BOS and the like", &no_special},
    {"skip-special", 0, ZC_FLAG, NULL, "leave special tokens out of decoded text", &skip_special},
    {0},
};

static void print_ids(const struct zf_tok *tok, const struct zf_ids *ids, const char *text) {
  struct zf_buf buf = {0};
  if (zc_common.json) {
    zf_buf_puts(&buf, "{\"ids\": [");
    for (int64_t i = 0; i < ids->count; i++) zf_buf_printf(&buf, "%s%d", i ? ", " : "", ids->id[i]);
    zf_buf_puts(&buf, "], \"pieces\": [");
    for (int64_t i = 0; i < ids->count; i++) {
      const char *piece = zf_tok_piece(tok, ids->id[i]);
      if (i) zf_buf_puts(&buf, ", ");
      zc_json_text(&buf, piece ? piece : "", piece ? strlen(piece) : 0);
    }
    zf_buf_puts(&buf, "], \"offsets\": [");
    for (int64_t i = 0; i < ids->count; i++)
      zf_buf_printf(&buf, "%s[%d, %d]", i ? ", " : "", ids->begin[i], ids->end[i]);
    zf_buf_puts(&buf, "]}\n");
    fputs(buf.data, stdout);
    zf_buf_free(&buf);
    return;
  }
  struct zc_table *table = zc_table_new("lrrl");
  zc_table_row(table, (const char *const[]){"piece", "id", "bytes", "text"});
  for (int64_t i = 0; i < ids->count; i++) {
    char id[16], span[32];
    const char *piece = zf_tok_piece(tok, ids->id[i]);
    int32_t from = ids->begin[i], to = ids->end[i];
    snprintf(id, sizeof id, "%d", ids->id[i]);
    snprintf(span, sizeof span, from < 0 ? "added" : "%d-%d", from, to);
    zf_buf_clear(&buf);
    if (from >= 0) zc_json_text(&buf, text + from, (size_t)(to - from));
    zc_table_row(table,
                 (const char *const[]){piece ? piece : "?", id, span, buf.data ? buf.data : ""});
  }
  zc_table_print(table, 1);
  printf("%lld tokens\n", (long long)ids->count);
  zf_buf_free(&buf);
}

static int encode(const struct zf_tok *tok, const char *text, size_t len) {
  struct zf_ids ids = {0};
  unsigned flags = ZF_ENC_OFFSETS | (no_special ? 0 : ZF_ENC_SPECIAL);
  int rc = zf_tok_encode(tok, &ids, text, len, flags);
  if (!rc) print_ids(tok, &ids, text);
  zf_ids_free(&ids);
  return rc;
}

/* The numbers of --decode into ids, which has room for all; *count: how many. */
static int parse_ids(int32_t *ids, int64_t *count) {
  static const char blanks[] = ", \t\n[]";
  const char *at = decode_ids + strspn(decode_ids, blanks);
  *count = 0;
  while (*at) {
    char *end;
    long number = strtol(at, &end, 10);
    if (end == at || number < 0 || number > INT32_MAX)
      return zf_error(ZF_EUSAGE, "--decode: expected token ids, found '%.20s'", at);
    ids[(*count)++] = (int32_t)number;
    at = end + strspn(end, blanks);
  }
  return 0;
}

static void print_text(const struct zf_buf *text) {
  if (!zc_common.json) {
    fwrite(text->data, 1, text->len, stdout);
    putchar('\n');
    return;
  }
  struct zf_buf buf = {0};
  zf_buf_puts(&buf, "{\"text\": ");
  zc_json_text(&buf, text->data, text->len);
  printf("%s}\n", buf.data);
  zf_buf_free(&buf);
}

static int decode(const struct zf_tok *tok) {
  struct zf_buf text = {0};
  int64_t count;
  int32_t *ids = calloc(strlen(decode_ids) / 2 + 1, sizeof *ids);
  if (!ids) return zf_error(ZF_ENOMEM, "out of memory");
  zf_buf_puts(&text, "");
  int rc = parse_ids(ids, &count);
  if (!rc) rc = zf_tok_decode(tok, &text, ids, count, skip_special);
  if (!rc) print_text(&text);
  zf_buf_free(&text);
  free(ids);
  return rc;
}

static int run(const struct zc_args *args) {
  struct zf_tok *tok = NULL;
  char *dir = NULL, *text = NULL;
  size_t len = 0;
  int given = (args->nword == 2) + (text_file != NULL) + (decode_ids != NULL);
  if (args->nword < 1 || args->nword > 2 || args->nset || given != 1)
    return zf_error(ZF_EUSAGE,
                    "expected: zoft tokenize MODEL TEXT, or --text FILE, or --decode IDS");
  int rc = zf_model_find(&dir, args->word[0]);
  if (!rc) rc = zf_tok_open(&tok, dir);
  if (!rc && text_file) rc = zf_read_file(&text, &len, text_file, (size_t)1 << 31);
  if (!rc && decode_ids)
    rc = decode(tok);
  else if (!rc)
    rc = encode(tok, text ? text : args->word[1], text ? len : strlen(args->word[1]));
  free(text);
  free(dir);
  zf_tok_free(tok);
  return rc;
}

const struct zc_command zc_tokenize = {
    "tokenize",
    "ids, pieces and offsets of a text, and back",
    "zoft tokenize MODEL TEXT|--text FILE|--decode IDS [options]",
    "Examples:\n"
    "  zoft tokenize out/demo 'the film was good'\n"
    "  zoft tokenize out/demo --text README.md --json\n"
    "  zoft tokenize out/demo --decode '12, 7, 99'\n",
    options,
    run,
};
