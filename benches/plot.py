"""Charts of benches: plot.py FOLDER INTO reads FOLDER/*.json and writes INTO/BENCH.png and .svg.

A bar is a row's value (p50, p99 in rows named so, or a rate) as a multiple of its limit; a row without a limit is a bar
of its value. Rows that do not count, or have no value, are left out. Of the peers it is the cells with one call at a time.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OURS, LIMIT, INK = "#2f6f8f", "#b8b8b8", "#333333"
UNITS = {"ns": "× the limit's time; the line goes to p99", "per_s": "× the limit's rate"}
CELLS = [f"{size}/1" for size in ("64B", "4KiB", "64KiB", "1MiB")] + ["64B/sparse"]


def read(folder):
    """The rows of every file, by bench; of a case that stands twice the last."""
    benches = {}
    for file in sorted(folder.glob("*.json")):
        for row in json.loads(file.read_text()):
            if row.get("counts", True) and row["value"] is not None:
                benches.setdefault(row["bench"], {})[row["case"]] = row
    return {bench: list(rows.values()) for bench, rows in benches.items()}


def panels(bench, rows):
    """The rows in panels that share an axis: by unit, with and without a limit; peers by what they carry."""
    if bench == "peers":
        cells = {f"{cell}: × the lane's time": cell for cell in CELLS}
        inside = lambda row, cell: row["case"].endswith(f"/{cell}") and row["role"] != "reference"
        return {axis: [row for row in rows if inside(row, cell)] for axis, cell in cells.items()}
    found = {}
    for row in rows:
        axis = UNITS.get(row["unit"], f"× the limit's {row['unit']}") if row["limit"] else row["unit"]
        found.setdefault(axis, []).append(row)
    return found


def panel(axes, axis, rows):
    """One bar for each row."""
    relative = rows[0]["limit"] is not None
    values = [row["value"] / row["limit"] if relative else row["value"] for row in rows]
    is_limit = [relative and row["ratio"] == 1 for row in rows]
    places = range(len(rows))
    axes.barh(places, values, color=[LIMIT if limit else OURS for limit in is_limit], height=0.62)
    for place, row, value in zip(places, rows, values):
        text = f" {value:.2f} ×" if relative else f" {value:g}"
        if row["unit"] == "ns" and relative:
            text += f"   {time(row['value'])}"
            p99 = max(row["p99_ns"] / row["limit"], value)
            axes.plot([value, p99], [place, place], color=INK, linewidth=0.9)
            axes.plot([p99], [place], marker="|", color=INK, markersize=7)
            value = p99
        elif row["unit"] == "per_s" and relative:
            text += f"   {row['value']:,.0f}/s"
        axes.text(value, place, text, va="center", fontsize=8, color=INK)
    axes.set_yticks(places, [row["case"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(axis, fontsize=8)
    if relative and max(values) > 20 * min(values):
        axes.set_xscale("log")
        axes.set_xlim(left=min(values) / 2)
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.35)
    axes.spines[["top", "right"]].set_visible(False)


def time(ns):
    """1234 as 1.23 µs."""
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= factor:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns:.0f} ns"


def draw(bench, rows, into):
    """A chart as BENCH.png and BENCH.svg; the same rows give the same bytes."""
    parts = panels(bench, rows)
    heights = [len(part) + 1.5 for part in parts.values()]
    figure, axes = plt.subplots(
        len(parts), 1, figsize=(9, 0.32 * sum(heights) + 0.6), height_ratios=heights, squeeze=False,
        layout="constrained",
    )
    for place, (axis, part) in zip(axes[:, 0], parts.items()):
        panel(place, axis, part)
    figure.suptitle(bench, fontsize=10)
    figure.savefig(into / f"{bench}.png", dpi=150, metadata={"Software": None})
    figure.savefig(into / f"{bench}.svg", metadata={"Date": None})
    plt.close(figure)


def main(folder, into):
    benches = read(Path(folder))
    if not benches:
        sys.exit(f"{folder} has no rows: run `cargo xtask bench NAME` first")
    matplotlib.rcParams["svg.hashsalt"] = "nylon"
    Path(into).mkdir(parents=True, exist_ok=True)
    for bench, rows in benches.items():
        draw(bench, rows, Path(into))
        print(f"{into}/{bench}.png and .svg: {len(rows)} rows")


if __name__ == "__main__":
    main(*sys.argv[1:])
