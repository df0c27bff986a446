"""Plots dev losses of runs by their forward passes, as SVG.

    python3 plot_runs.py OUT.svg TITLE NAME=RUN,RUN,... NAME=RUN,...
    python3 plot_runs.py OUT.svg TITLE RESULTS.json:TASK NAME NAME ...     (of methods.py)

A line for each NAME: the median over its runs (seeds) at each scored step, with the range as a band.  A step of
method mezo is two forward passes."""
import json
import os
import statistics
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 56, 250, 34, 44
COLOURS = ["#4269d0", "#e8833a", "#3ca951", "#a463f2", "#6cc5b0", "#ff725c", "#97bbf5", "#9c6b4e"]


def scores(run):
    if isinstance(run, list):  # scores of methods.py
        return {point[0]: point[1] for point in run}
    points = {}
    with open(os.path.join(run, "metrics.jsonl")) as file:
        for line in file:
            row = json.loads(line)
            if row["set"] == "dev":
                points[2 * row["step"]] = row["loss"]
    return points


def series(runs):
    tables = [scores(run) for run in runs]
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    values = [[table[step] for table in tables] for step in steps]
    return [(step, statistics.median(v), min(v), max(v)) for step, v in zip(steps, values)]


def ticks(low, high):
    step = 10 ** -3
    while (high - low) / step > 6:
        step *= 2.5 if str(step / 10 ** -3).rstrip("0.").endswith("2") else 2
    first = int(low / step) * step
    return [first + i * step for i in range(40) if low <= first + i * step <= high]


def main(out, title, *args):
    if ".json:" in args[0]:
        file, task = args[0].rsplit(":", 1)
        results = [r for r in json.load(open(file)) if r["task"] == task and len(r["scores"]) > 1]
        lines = [(name, series([r["scores"] for r in results if r["method"] == name]))
                 for name in args[1:]]
    else:
        lines = [(arg.split("=", 1)[0], series(arg.split("=", 1)[1].split(","))) for arg in args]
    most_x = max(points[-1][0] for _, points in lines)
    start = max(points[0][1] for _, points in lines)
    low = min(p[2] for _, points in lines for p in points)
    high = min(max(p[3] for _, points in lines for p in points), start * 1.02)
    low -= 0.03 * (high - low)

    def x(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * value / most_x

    def y(value):
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - min(value, high)) / (high - low)

    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="{LEFT}" y="20" font-size="14">{title}</text>']
    for value in ticks(low, high):
        svg.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for i in range(5):
        value = most_x * i // 4
        svg.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value}</text>')
    svg.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">forward passes</text>'
               f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})" '
               f'text-anchor="middle">dev loss</text>')
    for number, (name, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        band = [f"{x(p[0]):.1f} {y(p[2]):.1f}" for p in points] + [f"{x(p[0]):.1f} {y(p[3]):.1f}"
                                                                   for p in reversed(points)]
        line = "L".join(f"{x(p[0]):.1f} {y(p[1]):.1f}" for p in points)
        svg.append(f'<path d="M{"L".join(band)}Z" fill="{colour}" opacity="0.15"/>'
                   f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
                   f'<path d="M{WIDTH - RIGHT + 12} {TOP + 14 + 20 * number}h18" stroke="{colour}" stroke-width="2"/>'
                   f'<text x="{WIDTH - RIGHT + 36}" y="{TOP + 18 + 20 * number}">{name}</text>')
    svg.append("</svg>")
    with open(out, "w") as file:
        file.write("\n".join(svg) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
