/* Chains of parts from JSON: {"type": NAME, ...}, null, or a Sequence of those, which is
 * flattened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fmt/json.h"
#include "text_internal.h"

enum { PARTS = 64, DEPTH = 8 };

static int unsupported(const struct zf_part_table *table, const char *type, const char *where) {
  struct zf_buf known = {0};
  for (int64_t i = 0; i < table->count; i++) zf_buf_printf(&known, "%s, ", table->row[i].name);
  int rc = zf_error(ZF_EINVALID, "%s: type '%s' is not supported; there are %sSequence", where,
                    type, known.data ? known.data : "");
  zf_buf_free(&known);
  return rc;
}

static int add_part(struct zf_chain *chain, const struct zf_part_table *table, const char *type,
                    const json_t *def, const char *where, const struct zf_tok *tok) {
  const struct zf_part_row *row = NULL;
  for (int64_t i = 0; i < table->count; i++)
    if (!strcmp(table->row[i].name, type)) row = &table->row[i];
  if (!row) return unsupported(table, type, where);
  if (chain->count == PARTS)
    return zf_error(ZF_EINVALID, "%s: more than %d parts in sequence", where, PARTS);
  void *self = NULL;
  char part_where[512];
  snprintf(part_where, sizeof part_where, "%s: %s", where, type);
  int rc = row->parse ? row->parse(&self, def, part_where, tok) : 0;
  if (rc) return rc;
  chain->part[chain->count++] = (struct zf_chain_part){row, self};
  return 0;
}

static int parse(struct zf_chain *chain, const struct zf_part_table *table, const json_t *def,
                 const char *where, int depth, const struct zf_tok *tok) {
  const char *type = NULL;
  if (!def || json_is_null(def)) return 0;
  if (!json_is_object(def))
    return zf_error(ZF_EINVALID, "%s: expected an object, found %s", where, zf_json_kind(def));
  int rc = zf_need_str(&type, def, "type", where);
  if (rc) return rc;
  if (strcmp(type, "Sequence")) return add_part(chain, table, type, def, where, tok);
  const json_t *list = json_object_get(def, table->children), *child;
  if (!json_is_array(list))
    return zf_error(ZF_EINVALID, "%s: Sequence: key '%s': expected an array, found %s", where,
                    table->children, zf_json_kind(list));
  if (depth == DEPTH)
    return zf_error(ZF_EINVALID, "%s: Sequences nested more than %d deep", where, DEPTH);
  size_t i;
  json_array_foreach((json_t *)list, i, child) {
    if (json_is_null(child))
      return zf_error(ZF_EINVALID, "%s: Sequence: expected an object, found null", where);
    rc = parse(chain, table, child, where, depth + 1, tok);
    if (rc) return rc;
  }
  return 0;
}

int zf_chain_parse(struct zf_chain *chain, const struct zf_part_table *table, const json_t *def,
                   const struct zf_tok *tok) {
  char where[512];
  snprintf(where, sizeof where, "%s: %s", tok->name, table->what);
  chain->part = zf_calloc(PARTS, sizeof *chain->part);
  if (!chain->part) return ZF_ENOMEM;
  return parse(chain, table, def, where, 0, tok);
}

int zf_chain_apply(const struct zf_chain *chain, struct zf_encoding *encoding) {
  for (int64_t i = 0; i < chain->count; i++) {
    int rc = chain->part[i].row->apply(chain->part[i].self, encoding);
    if (rc) return rc;
  }
  return 0;
}

int zf_chain_needs_offsets(const struct zf_chain *chain) {
  for (int64_t i = 0; i < chain->count; i++) {
    const struct zf_chain_part *part = &chain->part[i];
    if (part->row->needs_offsets && part->row->needs_offsets(part->self)) return 1;
  }
  return 0;
}

int zf_chain_has(const struct zf_chain *chain, const char *name) {
  for (int64_t i = 0; i < chain->count; i++)
    if (!strcmp(chain->part[i].row->name, name)) return 1;
  return 0;
}

void zf_chain_free(struct zf_chain *chain) {
  for (int64_t i = 0; i < chain->count; i++)
    if (chain->part[i].row->free) chain->part[i].row->free(chain->part[i].self);
  free(chain->part);
  memset(chain, 0, sizeof *chain);
}

static int missing(const char *key, const char *where) {
  return zf_error(ZF_EINVALID, "%s: key '%s' is missing", where, key);
}

int zf_need_str(const char **out, const json_t *def, const char *key, const char *where) {
  *out = NULL;
  int rc = zf_json_str(out, def, key, where);
  return rc || *out ? rc : missing(key, where);
}

int zf_need_bool(int *out, const json_t *def, const char *key, const char *where) {
  *out = -1;
  int rc = zf_json_bool(out, def, key, where);
  return rc || *out >= 0 ? rc : missing(key, where);
}
