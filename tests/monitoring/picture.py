"""Draws the dashboard as Grafana would, from what a Prometheus answers now: `make dashboard-picture`.

Each panel stands where `gridPos` puts it, by its type, title, units, thresholds, mappings and legends. What this does
not know of is an error and not left out, so that the picture is of the whole dashboard.
"""

import argparse
import io
import json
import math
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates
import matplotlib.patches
import matplotlib.pyplot
import matplotlib.ticker
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# One unit of the grid, and the space between panels, in pixels.
UNIT_WIDTH, UNIT_HEIGHT, GAP = 58, 34, 6
DPI = 100
PAGE, PANEL, BORDER, INK, FAINT = "#f4f5f5", "#ffffff", "#d8dbde", "#24292e", "#6e7680"
# Grafana's colours by name, and those that it gives to series one after the other.
COLOURS = {
    "green": "#56a64b", "red": "#e02f44", "orange": "#ff780a", "yellow": "#f2cc0c", "blue": "#3274d9", "gray": "#8e8e8e",
}
SERIES = ["#56a64b", "#f2cc0c", "#3274d9", "#ff780a", "#e02f44", "#8f3bb8", "#6ed0e0", "#967302", "#ba43a9", "#58140c"]
# Steps of a range query over the whole width.
STEPS = 120


class Prometheus:
    """Answers queries, with the variables of the dashboard filled in."""

    def __init__(self, address, end, minutes, rate_interval):
        self.address = address.rstrip("/")
        self.end, self.minutes = end, minutes
        self.start = self.end - 60 * minutes
        self.rate_interval = rate_interval

    def ask(self, path, query, **more):
        query = query.replace("$__rate_interval", self.rate_interval)
        for variable in ("$namespace", "$connection"):
            query = query.replace(variable, ".*")
        if "$" in query:
            raise SystemExit(f"a variable that the picture does not know: {query}")
        parameters = urllib.parse.urlencode({"query": query, **more})
        with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{parameters}", timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def now(self, query):
        return [(each["metric"], float(each["value"][1])) for each in self.ask("query", query, time=self.end)]

    def over_time(self, query):
        step = (self.end - self.start) / STEPS
        found = self.ask("query_range", query, start=self.start, end=self.end, step=step)
        return [(each["metric"], [(float(at), float(value)) for at, value in each["values"]]) for each in found]


# === values as Grafana writes them ===


def scaled(value, steps, last):
    for limit, divisor, unit in steps:
        if abs(value) < limit:
            return f"{value / divisor:.3g} {unit}"
    divisor, unit = last
    return f"{value / divisor:.3g} {unit}"


def written(value, unit):
    """A value with its unit."""
    if math.isnan(value):
        return "-"
    if unit == "s":
        if value == 0:
            return "0 s"
        steps = [
            (1e-3, 1e-6, "µs"), (1, 1e-3, "ms"), (60, 1, "s"), (3600, 60, "mins"), (86400, 3600, "hours"),
            (604800, 86400, "days"), (31557600, 604800, "weeks"),
        ]
        return scaled(value, steps, (31557600, "years"))
    if unit == "bytes":
        return scaled(value, [(1024, 1, "B"), (1024**2, 1024, "KiB"), (1024**3, 1024**2, "MiB")], (1024**3, "GiB"))
    if unit in (None, "none", "short"):
        return f"{value:.4g}"
    raise SystemExit(f"a unit that the picture does not know: {unit}")


def mapped(value, mappings):
    """The text that stands for a value, if there is one."""
    for mapping in mappings:
        if mapping["type"] != "value":
            raise SystemExit(f"a mapping that the picture does not know: {mapping['type']}")
        if option := mapping["options"].get(f"{value:g}"):
            return option["text"]
    return None


def colour_of(value, thresholds):
    """The colour of the last step that the value has reached."""
    colour = "green"
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return COLOURS[colour]


def legend_of(target, labels):
    """The name of a series."""
    name = target.get("legendFormat", "")
    for label, value in labels.items():
        name = name.replace("{{" + label + "}}", value)
    return name or "value"


def overrides(panel, name):
    """What the field of this name has in place of the panel's defaults."""
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"] == {"id": "byName", "options": name}:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


# === kinds of panels ===


def draw_row(figure, panel, box):
    left, bottom, width, height = box
    figure.text(left, bottom + height / 2, f"▾ {panel['title']}", size=11, weight="bold", va="center", color=INK)


def draw_stat(figure, panel, box, prometheus):
    (target,) = panel["targets"]
    answer = prometheus.now(target["expr"])
    defaults = panel["fieldConfig"]["defaults"]
    value = answer[0][1] if answer else math.nan
    solid = panel["options"]["colorMode"] == "background_solid"
    colour = colour_of(value, defaults["thresholds"])
    if solid:
        frame(figure, box, fill=colour)
    ink = "white" if solid else colour
    titled(figure, panel, box, "white" if solid else INK)
    left, bottom, width, height = box
    text = written(value, defaults.get("unit")) if answer else "No data"
    figure.text(left + width / 2, bottom + height * 0.4, text, size=26, ha="center", va="center", color=ink)


def rows_of(panel, prometheus):
    """Rows of a table: labels and values by column, as the transformations leave them."""
    several = len(panel["targets"]) > 1
    rows = {}
    for target in panel["targets"]:
        column = f"Value #{target['refId']}" if several else "Value"
        for labels, value in prometheus.now(target["expr"]):
            key = tuple(sorted((name, text) for name, text in labels.items() if name != "__name__"))
            rows.setdefault(key, dict(labels))[column] = value
    rows = list(rows.values())
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for transformation in panel["transformations"]:
        options = transformation["options"]
        if transformation["id"] == "merge":
            continue
        if transformation["id"] != "organize":
            raise SystemExit(f"a transformation that the picture does not know: {transformation['id']}")
        columns = [column for column in columns if not options["excludeByName"].get(column)]
        columns.sort(key=lambda column: options["indexByName"].get(column, len(columns)))
        names = options["renameByName"]
        rows = [{names.get(column, column): row.get(column) for column in columns} for row in rows]
        columns = [names.get(column, column) for column in columns]
    for order in panel.get("options", {}).get("sortBy", []):
        empty = -math.inf if order["desc"] else math.inf
        field = order["displayName"]
        rows.sort(key=lambda row: empty if row.get(field) is None else row[field], reverse=order["desc"])
    return columns, rows


def draw_table(figure, panel, box, prometheus):
    titled(figure, panel, box)
    columns, rows = rows_of(panel, prometheus)
    left, bottom, width, height = box
    if not rows:
        text = panel["fieldConfig"]["defaults"].get("noValue", "No data")
        figure.text(left + width / 2, bottom + height / 2, text, size=11, ha="center", va="center", color=FAINT)
        return
    line = 24 / (figure.get_figheight() * DPI)
    inset = 10 / (figure.get_figwidth() * DPI)
    top = bottom + height - 2.1 * line
    place = [left + inset + number * (width - inset) / len(columns) for number in range(len(columns))]
    for x, column in zip(place, columns):
        figure.text(x, top, column, size=9, weight="bold", va="center", color=COLOURS["blue"])
    room = int((top - bottom) / line)
    for number, row in enumerate(rows[:room]):
        y = top - (number + 1) * line
        for x, column in zip(place, columns):
            value, field, colour = row[column], overrides(panel, column), INK
            if isinstance(value, float):
                if field.get("custom.cellOptions", {}).get("type") == "color-text":
                    colour = colour_of(value, field["thresholds"])
                value = mapped(value, field.get("mappings", [])) or written(value, field.get("unit"))
            figure.text(x, y, value or "", size=9, va="center", color=colour)
        rule = matplotlib.lines.Line2D([left, left + width], [y + line / 2] * 2, color=BORDER, linewidth=0.6)
        figure.add_artist(rule)


def axes_in(figure, panel, box, bottom_room, minutes):
    """Axes within a panel, with room for the title above and a legend below."""
    titled(figure, panel, box)
    left, bottom, width, height = box
    x, y = 1 / (figure.get_figwidth() * DPI), 1 / (figure.get_figheight() * DPI)
    axes = figure.add_axes([left + 62 * x, bottom + bottom_room * y, width - 112 * x, height - (bottom_room + 34) * y])
    axes.set_facecolor(PANEL)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(labelsize=8, colors=FAINT, length=0)
    axes.xaxis.set_major_locator(matplotlib.dates.MinuteLocator(interval=max(1, round(minutes / 5))))
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    return axes


def dates(moments):
    """As matplotlib counts them: in days since 1970."""
    return [at / 86400 for at in moments]


def legend(figure, box, entries):
    """Names of series with their colours, in as many lines as they need."""
    left, bottom, width, _ = box
    x, y = 1 / (figure.get_figwidth() * DPI), 1 / (figure.get_figheight() * DPI)
    at, line = left + 10 * x, 0
    for name, colour in entries:
        wide = (len(name) * 6 + 32) * x
        if at + wide > left + width and at > left + 10 * x:
            at, line = left + 10 * x, line + 1
        height = bottom + (10 + 15 * (lines_of(entries, width / x) - 1 - line)) * y
        figure.add_artist(matplotlib.lines.Line2D([at, at + 10 * x], [height] * 2, color=colour, linewidth=3))
        figure.text(at + 14 * x, height, name, size=8, va="center", color=INK)
        at += wide


def lines_of(entries, pixels):
    at, lines = 10, 1
    for name, _ in entries:
        wide = len(name) * 6 + 32
        if at + wide > pixels and at > 10:
            at, lines = 10, lines + 1
        at += wide
    return lines


def draw_timeseries(figure, panel, box, prometheus):
    series = []
    for target in panel["targets"]:
        for labels, points in prometheus.over_time(target["expr"]):
            series.append((legend_of(target, labels), points))
    series.sort(key=lambda each: each[0])
    entries = [(name, SERIES[number % len(SERIES)]) for number, (name, _) in enumerate(series)]
    pixels = box[2] * figure.get_figwidth() * DPI
    axes = axes_in(figure, panel, box, 24 + 15 * lines_of(entries, pixels), prometheus.minutes)
    axes.grid(axis="y", color="#e8eaec", linewidth=0.8)
    axes.set_xlim(dates([prometheus.start, prometheus.end]))
    right = None
    for (name, points), (_, colour) in zip(series, entries):
        field, on = overrides(panel, name), axes
        if field.get("custom.axisPlacement") == "right":
            right = right or axes.twinx()
            on = right
        moments, values = zip(*points)
        on.plot(dates(moments), values, color=colour, linewidth=field["custom"]["lineWidth"] + 0.3)
        on.fill_between(dates(moments), values, color=colour, alpha=field["custom"]["fillOpacity"] / 100, linewidth=0)
        unit = field.get("unit")
        on.yaxis.set_major_formatter(lambda value, _, unit=unit: written(value, unit))
    for each in filter(None, (axes, right)):
        each.set_ylim(bottom=panel["fieldConfig"]["defaults"].get("min"), top=max(each.get_ylim()[1], 1e-3))
        whole = panel["fieldConfig"]["defaults"].get("decimals") == 0 and each is axes
        each.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=whole))
    if panel["fieldConfig"]["defaults"].get("unit") == "bytes":
        step = 2 ** math.ceil(math.log2(axes.get_ylim()[1] / 4))
        axes.yaxis.set_major_locator(matplotlib.ticker.MultipleLocator(step))
    if right:
        right.tick_params(labelsize=8, colors=FAINT, length=0)
        for side in right.spines.values():
            side.set_visible(False)
    if not series:
        left, bottom, width, height = box
        figure.text(left + width / 2, bottom + height / 2, "No data", size=11, ha="center", color=FAINT)
    legend(figure, box, entries)


def draw_timeline(figure, panel, box, prometheus):
    (target,) = panel["targets"]
    series = sorted((legend_of(target, labels), points) for labels, points in prometheus.over_time(target["expr"]))
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    options = mapping["options"]
    seen = sorted({f"{value:g}" for _, points in series for _, value in points}, key=float, reverse=True)
    entries = [(options[value]["text"], COLOURS[options[value]["color"]]) for value in seen]
    axes = axes_in(figure, panel, box, 39, prometheus.minutes)
    position = axes.get_position()
    shift = 0.07
    axes.set_position([position.x0 + shift, position.y0, position.width - shift + 0.02, position.height])
    step = (prometheus.end - prometheus.start) / STEPS
    for number, (_, points) in enumerate(series):
        for at, value in points:
            colour = COLOURS[options[f"{value:g}"]["color"]]
            start, end = dates([at, at + step * 1.05])
            axes.barh(number, end - start, left=start, height=panel["options"]["rowHeight"], color=colour, linewidth=0)
    axes.set_xlim(dates([prometheus.start, prometheus.end]))
    axes.set_yticks(range(len(series)), [name for name, _ in series])
    axes.invert_yaxis()
    legend(figure, box, entries)


DRAW = {"stat": draw_stat, "table": draw_table, "timeseries": draw_timeseries, "state-timeline": draw_timeline}


# === the page ===


def frame(figure, box, fill=PANEL):
    left, bottom, width, height = box
    # Below the axes, which are at 0.
    figure.add_artist(
        matplotlib.patches.Rectangle((left, bottom), width, height, facecolor=fill, edgecolor=BORDER, zorder=-1)
    )


def titled(figure, panel, box, ink=INK):
    left, bottom, width, height = box
    x, y = 1 / (figure.get_figwidth() * DPI), 1 / (figure.get_figheight() * DPI)
    figure.text(left + 10 * x, bottom + height - 14 * y, panel["title"], size=9.5, weight="bold", va="center", color=ink)


def contents(dashboard):
    """What the picture is of, one line a panel: kept within it, so that a test sees where it is of another dashboard."""
    return "\n".join(
        " | ".join([panel["type"], panel["title"], *(target["expr"] for target in panel.get("targets", []))])
        for panel in dashboard["panels"]
    )


def draw(dashboard, prometheus):
    panels = dashboard["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    head = 40
    width, height = 24 * UNIT_WIDTH + GAP, rows * UNIT_HEIGHT + head + GAP
    figure = matplotlib.pyplot.figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAGE)
    title = dashboard["title"]
    figure.text(10 / width, 1 - 22 / height, title, size=14, weight="bold", va="center", color=INK)
    # Of the variables, what is chosen.
    chosen = [f"{each['label']}: {each['current'].get('text', 'default')}" for each in dashboard["templating"]["list"]]
    figure.text(1 - 10 / width, 1 - 22 / height, "     ".join(chosen), size=9, ha="right", va="center", color=FAINT)
    for panel in panels:
        grid = panel["gridPos"]
        box = (
            (grid["x"] * UNIT_WIDTH + GAP) / width,
            1 - ((grid["y"] + grid["h"]) * UNIT_HEIGHT + head) / height,
            (grid["w"] * UNIT_WIDTH - GAP) / width,
            (grid["h"] * UNIT_HEIGHT - GAP) / height,
        )
        if panel["type"] == "row":
            draw_row(figure, panel, box)
            continue
        frame(figure, box)
        DRAW[panel["type"]](figure, panel, box, prometheus)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor=PAGE)
    return Image.open(drawn)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dashboard", required=True)
    parser.add_argument("--prometheus", required=True, help="http://HOST:PORT")
    parser.add_argument("--minutes", type=float, default=6, help="how far back it looks")
    parser.add_argument("--end", type=float, default=time.time(), help="the moment that it shows, in seconds since 1970")
    parser.add_argument("--rate-interval", default="1m", help="what Grafana would put for $__rate_interval")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    with open(arguments.dashboard, encoding="utf-8") as file:
        dashboard = json.load(file)
    prometheus = Prometheus(arguments.prometheus, arguments.end, arguments.minutes, arguments.rate_interval)
    picture = draw(dashboard, prometheus)
    # Few colours are in it, and a picture in a repository is kept for ever.
    picture = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    information = PngInfo()
    information.add_text("Dashboard", contents(dashboard))
    picture.save(arguments.out, optimize=True, pnginfo=information)


if __name__ == "__main__":
    main()
