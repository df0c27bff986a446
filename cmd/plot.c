#include "plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 380, LEFT = 76, RIGHT = 20, TOP = 40, BOTTOM = 86, COLORS = 8 };

static const char *const color[COLORS] = {"#0b6e99", "#d1495b", "#3d8b37", "#8e5aa8",
                                          "#e08e0b", "#555555", "#00998f", "#a0522d"};

static const char *html_entity(char c) {
  switch (c) {
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '&':
      return "&amp;";
    case '"':
      return "&quot;";
    default:
      return NULL;
  }
}

void zc_html_text(struct zf_buf *out, const char *text) {
  for (; *text; text++) {
    const char *entity = html_entity(*text);
    if (entity)
      zf_buf_puts(out, entity);
    else
      zf_buf_putc(out, *text);
  }
}

/* One axis: the values that it shows, and their place. */
struct plot_axis {
  double from, to; /* logarithms when `log` */
  int log;
  double begin, end; /* pixels */
};

static double pixel(const struct plot_axis *axis, double value) {
  if (axis->log) value = log10(value);
  return axis->begin + (value - axis->from) / (axis->to - axis->from) * (axis->end - axis->begin);
}

static int is_shown(const struct zc_plot *plot, const struct zc_series *series, int i) {
  return isfinite(series->x[i]) && isfinite(series->y[i]) && (!plot->log_x || series->x[i] > 0) &&
         (!plot->log_y || series->y[i] > 0);
}

/* The range of the values that the plot shows; 0..1 when it shows none. */
static void value_range(const struct zc_plot *plot, int vertical, int log, double *min,
                        double *max) {
  *min = INFINITY;
  *max = -INFINITY;
  for (int i = 0; i < plot->nseries; i++)
    for (int j = 0; j < plot->series[i].count; j++) {
      if (!is_shown(plot, &plot->series[i], j)) continue;
      double value = vertical ? plot->series[i].y[j] : plot->series[i].x[j];
      if (log) value = log10(value);
      *min = fmin(*min, value);
      *max = fmax(*max, value);
    }
  if (*min <= *max) return;
  *min = 0;
  *max = 1;
}

static void fit_axis(struct plot_axis *axis, const struct zc_plot *plot, int vertical) {
  double min, max, margin = 0.3;
  value_range(plot, vertical, axis->log, &min, &max);
  if (!axis->log && min > 0 && min < 0.6 * max) min = 0; /* a linear axis begins at 0 */
  if (max > min)
    margin = 0.06 * (max - min);
  else if (!axis->log)
    margin = 0.5 * fabs(max) + 1e-9;
  axis->from = min == 0 && !axis->log ? 0 : min - margin;
  axis->to = max + margin;
}

/* "250", "1.5k", "3M", "0.02". */
static void format_number(char out[32], double value) {
  double magnitude = fabs(value);
  if (magnitude >= 1e9)
    snprintf(out, 32, "%.3gG", value / 1e9);
  else if (magnitude >= 1e6)
    snprintf(out, 32, "%.3gM", value / 1e6);
  else if (magnitude >= 1e4)
    snprintf(out, 32, "%.3gk", value / 1e3);
  else
    snprintf(out, 32, "%.4g", value);
}

static void draw_tick(struct zf_buf *out, const struct plot_axis *axis,
                      const struct plot_axis *other, double value, int vertical) {
  char text[32];
  double position = pixel(axis, value);
  format_number(text, value);
  if (vertical)
    zf_buf_printf(out,
                  "<line class='g' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>"
                  "<text x='%.1f' y='%.1f' text-anchor='end'>%s</text>\n",
                  other->begin, position, other->end, position, other->begin - 6, position + 4,
                  text);
  else
    zf_buf_printf(out,
                  "<line class='g' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>"
                  "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
                  position, other->begin, position, other->end, position, other->begin + 18, text);
}

/* Ticks at steps of 1, 2 or 5; on a logarithmic axis at these digits of each decade, or at decades alone. */
static void draw_ticks(struct zf_buf *out, const struct plot_axis *axis,
                       const struct plot_axis *other, int vertical) {
  static const double digit[] = {1, 2, 5};
  if (axis->log) {
    int decades_only = axis->to - axis->from > 3;
    for (int exponent = (int)floor(axis->from); exponent <= (int)ceil(axis->to); exponent++)
      for (int i = 0; i < (decades_only ? 1 : 3); i++) {
        double value = digit[i] * pow(10, exponent);
        if (log10(value) >= axis->from && log10(value) <= axis->to)
          draw_tick(out, axis, other, value, vertical);
      }
    return;
  }
  double raw = (axis->to - axis->from) / 6, base = pow(10, floor(log10(raw))), step = 10 * base;
  for (int i = 2; i >= 0; i--)
    if (digit[i] * base >= raw) step = digit[i] * base;
  for (double value = ceil(axis->from / step) * step; value <= axis->to; value += step)
    draw_tick(out, axis, other, fabs(value) < step * 1e-9 ? 0 : value, vertical);
}

static void draw_line(struct zf_buf *out, const struct zc_plot *plot,
                      const struct zc_series *series, const struct plot_axis *x_axis,
                      const struct plot_axis *y_axis, const char *stroke) {
  int points = 0;
  for (int i = 0; i < series->count; i++) {
    if (!is_shown(plot, series, i)) continue;
    zf_buf_printf(out, "%s%.1f,%.1f",
                  points++ ? " " : "<polyline fill='none' stroke-width='2' points='",
                  pixel(x_axis, series->x[i]), pixel(y_axis, series->y[i]));
  }
  if (points) zf_buf_printf(out, "' stroke='%s'/>\n", stroke);
}

static void draw_dots(struct zf_buf *out, const struct zc_plot *plot,
                      const struct zc_series *series, const struct plot_axis *x_axis,
                      const struct plot_axis *y_axis, const char *fill) {
  for (int i = 0; i < series->count; i++) {
    if (!is_shown(plot, series, i)) continue;
    zf_buf_printf(out, "<circle cx='%.1f' cy='%.1f' r='4' fill='%s'><title>",
                  pixel(x_axis, series->x[i]), pixel(y_axis, series->y[i]), fill);
    zc_html_text(out, series->name);
    zf_buf_printf(out, ": %.6g, %.6g</title></circle>\n", series->x[i], series->y[i]);
  }
}

static void draw_series(struct zf_buf *out, const struct zc_plot *plot,
                        const struct plot_axis *x_axis, const struct plot_axis *y_axis, int index) {
  const struct zc_series *series = &plot->series[index];
  if (!plot->points) draw_line(out, plot, series, x_axis, y_axis, color[index % COLORS]);
  if (series->count <= 40) draw_dots(out, plot, series, x_axis, y_axis, color[index % COLORS]);
}

/* The names below the plot, four in a line. */
static void draw_legend(struct zf_buf *out, const struct zc_plot *plot) {
  for (int i = 0; i < plot->nseries; i++) {
    double x = LEFT + (i % 4) * 140, y = HEIGHT - 30 + i / 4 * 18;
    zf_buf_printf(out, "<rect x='%.0f' y='%.0f' width='12' height='12' fill='%s'/>", x, y - 10,
                  color[i % COLORS]);
    zf_buf_printf(out, "<text x='%.0f' y='%.0f'>", x + 17, y);
    zc_html_text(out, plot->series[i].name);
    zf_buf_puts(out, "</text>\n");
  }
}

const char zc_plot_style[] =
    "svg text{font:12px system-ui,sans-serif;fill:#333}svg .t{font-size:15px;font-weight:600}"
    "svg .g{stroke:#e4e4e4}svg .a{stroke:#666;fill:none}";

void zc_plot_svg(const struct zc_plot *plot, int alone, struct zf_buf *out) {
  struct plot_axis x_axis = {.log = plot->log_x, .begin = LEFT, .end = WIDTH - RIGHT};
  struct plot_axis y_axis = {.log = plot->log_y, .begin = HEIGHT - BOTTOM, .end = TOP};
  fit_axis(&x_axis, plot, 0);
  fit_axis(&y_axis, plot, 1);
  zf_buf_printf(out, "<svg%s viewBox='0 0 %d %d' role='img'>\n",
                alone ? " xmlns='http://www.w3.org/2000/svg'" : "", WIDTH, HEIGHT);
  if (alone)
    zf_buf_printf(out, "<style>%s</style><rect width='100%%' height='100%%' fill='#fff'/>\n",
                  zc_plot_style);
  zf_buf_printf(out, "<text class='t' x='%d' y='20'>", LEFT);
  zc_html_text(out, plot->title);
  zf_buf_puts(out, "</text>\n");
  draw_ticks(out, &x_axis, &y_axis, 0);
  draw_ticks(out, &y_axis, &x_axis, 1);
  zf_buf_printf(out, "<path class='a' d='M%d %dV%dH%d'/>\n", LEFT, TOP, HEIGHT - BOTTOM,
                WIDTH - RIGHT);
  zf_buf_printf(out, "<text x='%d' y='%d' text-anchor='middle'>", (LEFT + WIDTH - RIGHT) / 2,
                HEIGHT - BOTTOM + 36);
  zc_html_text(out, plot->x_name);
  zf_buf_printf(out,
                "</text>\n<text transform='translate(18,%d) rotate(-90)' text-anchor='middle'>",
                (TOP + HEIGHT - BOTTOM) / 2);
  zc_html_text(out, plot->y_name);
  zf_buf_puts(out, "</text>\n");
  for (int i = 0; i < plot->nseries; i++) draw_series(out, plot, &x_axis, &y_axis, i);
  draw_legend(out, plot);
  zf_buf_puts(out, "</svg>\n");
}
