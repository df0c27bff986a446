/* stub */
#include "base/err.h"
#include "peft/peft_internal.h"
int zf_adapter_read_gguf(struct zf_adapter_file *file, const struct zf_gguf *gguf,
                         const struct zf_model *base) {
  (void)gguf, (void)base;
  return zf_error(ZF_EINVALID, "%s: not yet", file->path);
}
