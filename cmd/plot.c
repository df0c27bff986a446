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

static double place(const struct axis *a, double v) {
  if (a->log) v = log10(v);
  return a->begin + (v - a->from) / (a->to - a->from) * (a->end - a->begin);
}

static int shown(const struct zc_plot *p, const struct zc_series *s, int i) {
  return isfinite(s->x[i]) && isfinite(s->y[i]) && (!p->log_x || s->x[i] > 0) &&
         (!p->log_y || s->y[i] > 0);
}

static void fit(struct axis *a, const struct zc_plot *p, int vertical) {
  double lo = INFINITY, hi = -INFINITY;
  for (int k = 0; k < p->nseries; k++)
    for (int i = 0; i < p->series[k].count; i++) {
      double v = vertical ? p->series[k].y[i] : p->series[k].x[i];
      if (!shown(p, &p->series[k], i)) continue;
      if (a->log) v = log10(v);
      lo = fmin(lo, v);
      hi = fmax(hi, v);
    }
  if (!(lo <= hi)) lo = 0, hi = 1;
  if (!a->log && lo > 0 && lo < 0.6 * hi) lo = 0; /* bars and lines begin at nothing */
  double room = hi > lo ? 0.06 * (hi - lo) : a->log ? 0.3 : 0.5 * fabs(hi) + 1e-9;
  a->from = lo == 0 && !a->log ? 0 : lo - room;
  a->to = hi + room;
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

static void tick(struct zf_buf *out, const struct axis *a, const struct axis *other, double v,
                 int vertical) {
  char text[32];
  double at = place(a, v);
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
static void ticks(struct zf_buf *out, const struct axis *a, const struct axis *other,
                  int vertical) {
  static const double digit[] = {1, 2, 5};
  if (a->log) {
    int few = a->to - a->from > 3;
    for (int e = (int)floor(a->from); e <= (int)ceil(a->to); e++)
      for (int d = 0; d < (few ? 1 : 3); d++) {
        double v = digit[d] * pow(10, e);
        if (log10(v) >= a->from && log10(v) <= a->to) tick(out, a, other, v, vertical);
      }
    return;
  }
  double raw = (a->to - a->from) / 6, base = pow(10, floor(log10(raw))), step = 10 * base;
  for (int d = 2; d >= 0; d--)
    if (digit[d] * base >= raw) step = digit[d] * base;
  for (double v = ceil(a->from / step) * step; v <= a->to; v += step)
    tick(out, a, other, fabs(v) < step * 1e-9 ? 0 : v, vertical);
}

static void draw(struct zf_buf *out, const struct zc_plot *p, const struct axis *x,
                 const struct axis *y, int k) {
  const struct zc_series *s = &p->series[k];
  const char *c = color[k % COLORS];
  int begun = 0;
  for (int i = 0; !p->points && i < s->count; i++) {
    if (!shown(p, s, i)) continue;
    zf_buf_printf(out, "%s%.1f,%.1f",
                  begun++ ? " " : "<polyline fill='none' stroke-width='2' points='",
                  place(x, s->x[i]), place(y, s->y[i]));
  }
  if (begun) zf_buf_printf(out, "' stroke='%s'/>\n", c);
  int dots = s->count <= 40;
  for (int i = 0; dots && i < s->count; i++) {
    if (!shown(p, s, i)) continue;
    zf_buf_printf(out, "<circle cx='%.1f' cy='%.1f' r='4' fill='%s'><title>", place(x, s->x[i]),
                  place(y, s->y[i]), c);
    zc_html_text(out, s->name);
    zf_buf_printf(out, ": %.6g, %.6g</title></circle>\n", s->x[i], s->y[i]);
  }
}

/* Names below the plot, four to a line. */
static void legend(struct zf_buf *out, const struct zc_plot *p) {
  for (int k = 0; k < p->nseries; k++) {
    double x = LEFT + (k % 4) * 140, y = HEIGHT - 30 + k / 4 * 18;
    zf_buf_printf(out, "<rect x='%.0f' y='%.0f' width='12' height='12' fill='%s'/>", x, y - 10,
                  color[k % COLORS]);
    zf_buf_printf(out, "<text x='%.0f' y='%.0f'>", x + 17, y);
    zc_html_text(out, p->series[k].name);
    zf_buf_puts(out, "</text>\n");
  }
}

const char zc_plot_style[] =
    "svg text{font:12px system-ui,sans-serif;fill:#333}svg .t{font-size:15px;font-weight:600}"
    "svg .g{stroke:#e4e4e4}svg .a{stroke:#666;fill:none}";

void zc_plot_svg(const struct zc_plot *p, int alone, struct zf_buf *out) {
  struct axis x = {.log = p->log_x, .begin = LEFT, .end = WIDTH - RIGHT};
  struct axis y = {.log = p->log_y, .begin = HEIGHT - BOTTOM, .end = TOP};
  fit(&x, p, 0);
  fit(&y, p, 1);
  zf_buf_printf(out, "<svg%s viewBox='0 0 %d %d' role='img'>\n",
                alone ? " xmlns='http://www.w3.org/2000/svg'" : "", WIDTH, HEIGHT);
  if (alone)
    zf_buf_printf(out, "<style>%s</style><rect width='100%%' height='100%%' fill='#fff'/>\n",
                  zc_plot_style);
  zf_buf_printf(out, "<text class='t' x='%d' y='20'>", LEFT);
  zc_html_text(out, p->title);
  zf_buf_puts(out, "</text>\n");
  ticks(out, &x, &y, 0);
  ticks(out, &y, &x, 1);
  zf_buf_printf(out, "<path class='a' d='M%d %dV%dH%d'/>\n", LEFT, TOP, HEIGHT - BOTTOM,
                WIDTH - RIGHT);
  zf_buf_printf(out, "<text x='%d' y='%d' text-anchor='middle'>", (LEFT + WIDTH - RIGHT) / 2,
                HEIGHT - BOTTOM + 36);
  zc_html_text(out, p->x_name);
  zf_buf_printf(out,
                "</text>\n<text transform='translate(18,%d) rotate(-90)' text-anchor='middle'>",
                (TOP + HEIGHT - BOTTOM) / 2);
  zc_html_text(out, p->y_name);
  zf_buf_puts(out, "</text>\n");
  for (int k = 0; k < p->nseries; k++) draw(out, p, &x, &y, k);
  legend(out, p);
  zf_buf_puts(out, "</svg>\n");
}
