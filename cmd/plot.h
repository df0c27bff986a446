/* Plots as SVG inside a page: lines and points over two axes, linear or logarithmic. */
#ifndef ZF_CMD_PLOT_H
#define ZF_CMD_PLOT_H

#include "base/buf.h"

struct zc_series {
  const char *name;
  const double *x, *y; /* [n] */
  int count;
};

struct zc_plot {
  const char *title, *x_name, *y_name;
  const struct zc_series *series; /* at most eight have colours of their own */
  int nseries;
  int log_x, log_y; /* values are above 0 then */
  int points;       /* no lines between them, names beside them */
};

/* `alone`: a file of its own, else a part of a page that has the styles. */
void zc_plot_svg(const struct zc_plot *plot, int alone, struct zf_buf *out);

/* What the elements look like: CSS. */
extern const char zc_plot_style[];

/* Appends text with <, >, & and " made safe. */
void zc_html_text(struct zf_buf *out, const char *text);

#endif
