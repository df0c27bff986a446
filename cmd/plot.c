#include "plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 380, LEFT = 76, RIGHT = 20, TOP = 40, BOTTOM = 86, COLORS = 8 };

static const char *const color[COLORS] = {"#0b6e99", "#d1495b", "#3d8b37", "#8e5aa8",
                                          "#e08e0b", "#555555", "#00998f", "#a0522d"};

void zc_html_text(struct zf_buf *out, const char *s) {
  for (; *s; s++) {
    const char *safe = *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '&' ? "&amp;" : NULL;
    if (*s == '"') safe = "&quot;";
    if (safe)
      zf_buf_puts(out, safe);
    else
      zf_buf_putc(out, *s);
  }
}

/* One axis: the values shown, and where they lie. */
struct axis {
  double from, to; /* logarithms when `log` */
  int log;
  double begin, end; /* pixels */
};

static double place(const struct axis *axis, double v) {
  if (axis->log) v = log10(v);
  return axis->begin + (v - axis->from) / (axis->to - axis->from) * (axis->end - axis->begin);
}

static int shown(const struct zc_plot *plot, const struct zc_series *series, int i) {
  return isfinite(series->x[i]) && isfinite(series->y[i]) && (!plot->log_x || series->x[i] > 0) &&
         (!plot->log_y || series->y[i] > 0);
}

static void fit(struct axis *axis, const struct zc_plot *plot, int vertical) {
  double lo = INFINITY, hi = -INFINITY;
  for (int k = 0; k < plot->nseries; k++)
    for (int i = 0; i < plot->series[k].count; i++) {
      double v = vertical ? plot->series[k].y[i] : plot->series[k].x[i];
      if (!shown(plot, &plot->series[k], i)) continue;
      if (axis->log) v = log10(v);
      lo = fmin(lo, v);
      hi = fmax(hi, v);
    }
  if (!(lo <= hi)) lo = 0, hi = 1;
  if (!axis->log && lo > 0 && lo < 0.6 * hi) lo = 0; /* bars and lines begin at nothing */
  double room = hi > lo ? 0.06 * (hi - lo) : axis->log ? 0.3 : 0.5 * fabs(hi) + 1e-9;
  axis->from = lo == 0 && !axis->log ? 0 : lo - room;
  axis->to = hi + room;
}

/* "250", "1.5k", "3M", "0.02". */
static void number(char out[32], double v) {
  double a = fabs(v);
  if (a >= 1e9)
    snprintf(out, 32, "%.3gG", v / 1e9);
  else if (a >= 1e6)
    snprintf(out, 32, "%.3gM", v / 1e6);
  else if (a >= 1e4)
    snprintf(out, 32, "%.3gk", v / 1e3);
  else
    snprintf(out, 32, "%.4g", v);
}

static void tick(struct zf_buf *out, const struct axis *axis, const struct axis *other, double v,
                 int vertical) {
  char text[32];
  double at = place(axis, v);
  number(text, v);
  if (vertical)
    zf_buf_printf(out,
                  "<line class='g' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>"
                  "<text x='%.1f' y='%.1f' text-anchor='end'>%s</text>\n",
                  other->begin, at, other->end, at, other->begin - 6, at + 4, text);
  else
    zf_buf_printf(out,
                  "<line class='g' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>"
                  "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
                  at, other->begin, at, other->end, at, other->begin + 18, text);
}

/* Round steps of 1, 2 or 5; on a logarithmic axis the same digits of each decade, or fewer. */
static void ticks(struct zf_buf *out, const struct axis *axis, const struct axis *other,
                  int vertical) {
  static const double digit[] = {1, 2, 5};
  if (axis->log) {
    int few = axis->to - axis->from > 3;
    for (int e = (int)floor(axis->from); e <= (int)ceil(axis->to); e++)
      for (int d = 0; d < (few ? 1 : 3); d++) {
        double v = digit[d] * pow(10, e);
        if (log10(v) >= axis->from && log10(v) <= axis->to) tick(out, axis, other, v, vertical);
      }
    return;
  }
  double raw = (axis->to - axis->from) / 6, base = pow(10, floor(log10(raw))), step = 10 * base;
  for (int d = 2; d >= 0; d--)
    if (digit[d] * base >= raw) step = digit[d] * base;
  for (double v = ceil(axis->from / step) * step; v <= axis->to; v += step)
    tick(out, axis, other, fabs(v) < step * 1e-9 ? 0 : v, vertical);
}

static void draw(struct zf_buf *out, const struct zc_plot *plot, const struct axis *axis,
                 const struct axis *y, int k) {
  const struct zc_series *series = &plot->series[k];
  const char *c = color[k % COLORS];
  int begun = 0;
  for (int i = 0; !plot->points && i < series->count; i++) {
    if (!shown(plot, series, i)) continue;
    zf_buf_printf(out, "%s%.1f,%.1f",
                  begun++ ? " " : "<polyline fill='none' stroke-width='2' points='",
                  place(axis, series->x[i]), place(y, series->y[i]));
  }
  if (begun) zf_buf_printf(out, "' stroke='%s'/>\n", c);
  int dots = series->count <= 40;
  for (int i = 0; dots && i < series->count; i++) {
    if (!shown(plot, series, i)) continue;
    zf_buf_printf(out, "<circle cx='%.1f' cy='%.1f' r='4' fill='%s'><title>",
                  place(axis, series->x[i]), place(y, series->y[i]), c);
    zc_html_text(out, series->name);
    zf_buf_printf(out, ": %.6g, %.6g</title></circle>\n", series->x[i], series->y[i]);
  }
}

/* Names below the plot, four to a line. */
static void legend(struct zf_buf *out, const struct zc_plot *plot) {
  for (int k = 0; k < plot->nseries; k++) {
    double x = LEFT + (k % 4) * 140, y = HEIGHT - 30 + k / 4 * 18;
    zf_buf_printf(out, "<rect x='%.0f' y='%.0f' width='12' height='12' fill='%s'/>", x, y - 10,
                  color[k % COLORS]);
    zf_buf_printf(out, "<text x='%.0f' y='%.0f'>", x + 17, y);
    zc_html_text(out, plot->series[k].name);
    zf_buf_puts(out, "</text>\n");
  }
}

const char zc_plot_style[] =
    "svg text{font:12px system-ui,sans-serif;fill:#333}svg .t{font-size:15px;font-weight:600}"
    "svg .g{stroke:#e4e4e4}svg .a{stroke:#666;fill:none}";

void zc_plot_svg(const struct zc_plot *plot, int alone, struct zf_buf *out) {
  struct axis axis = {.log = plot->log_x, .begin = LEFT, .end = WIDTH - RIGHT};
  struct axis y = {.log = plot->log_y, .begin = HEIGHT - BOTTOM, .end = TOP};
  fit(&axis, plot, 0);
  fit(&y, plot, 1);
  zf_buf_printf(out, "<svg%s viewBox='0 0 %d %d' role='img'>\n",
                alone ? " xmlns='http://www.w3.org/2000/svg'" : "", WIDTH, HEIGHT);
  if (alone)
    zf_buf_printf(out, "<style>%s</style><rect width='100%%' height='100%%' fill='#fff'/>\n",
                  zc_plot_style);
  zf_buf_printf(out, "<text class='t' x='%d' y='20'>", LEFT);
  zc_html_text(out, plot->title);
  zf_buf_puts(out, "</text>\n");
  ticks(out, &axis, &y, 0);
  ticks(out, &y, &axis, 1);
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
  for (int k = 0; k < plot->nseries; k++) draw(out, plot, &axis, &y, k);
  legend(out, plot);
  zf_buf_puts(out, "</svg>\n");
}
