/* Plots as SVG: lines and points over two axes, linear or logarithmic. */
#ifndef ZF_CMD_PLOT_H
#define ZF_CMD_PLOT_H

#include "base/buf.h"

struct zc_series {
  const char *name;
  const double *x, *y; /* [count] */
  int count;
};

struct zc_plot {
  const char *title, *x_name, *y_name;
  const struct zc_series *series; /* [nseries] eight have different colours */
  int nseries;
  int log_x, log_y; /* such an axis shows values above 0 alone */
  int points;       /* points without lines */
};

/* Appends the plot.  alone: a file of its own, else a part of a page that has zc_plot_style. */
void zc_plot_svg(const struct zc_plot *plot, int alone, struct zf_buf *out);

/* The CSS of the elements. */
extern const char zc_plot_style[];

/* Appends text, in which <, >, & and " become entities. */
void zc_html_text(struct zf_buf *out, const char *text);

#endif
