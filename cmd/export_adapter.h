/* The part of `zoft export` that writes adapters. */
#ifndef ZF_CMD_EXPORT_ADAPTER_H
#define ZF_CMD_EXPORT_ADAPTER_H

/* Writes the adapter at `path` to `to` in a format: "peft", "mlx", "gguf", or NULL, which means gguf for a
 * name that ends in .gguf and else peft.  `base`: the word for its base model, NULL: the one it names. */
int zc_export_adapter(const char *path, const char *to, const char *format, const char *base);

#endif
