"""benchmark_model's tables of operators, as tsl's stats_calculator.cc prints them."""

_RULE = "=" * 30
_TOP = 10


def report(operators: list[tuple[str, str, float]], totals: list[int], csv: bool) -> str:
    """Formats a profile.

    Args:
      operators: type, name and share of the total time of each, in the order of the graph.
      totals: how long each counted inference took, in microseconds.
      csv: whether the tables have commas between their columns instead of tabs and blanks.
    """
    mean = sum(totals) / len(totals)
    rows = [
        (kind, name, share * totals[0] / 1000, share * mean / 1000, 100 * share)
        for kind, name, share in operators
    ]
    slowest = sorted(rows, key=lambda row: -row[3])[:_TOP]
    parts = [
        _table("Run Order", rows, csv),
        _table("Top by Computation Time", slowest, csv),
        _by_type(rows, csv),
        _summary(totals, len(rows)),
    ]
    return "\n".join(parts)


def _table(title: str, rows: list[tuple[str, str, float, float, float]], csv: bool) -> str:
    lines = [f"{_RULE} {title} {_RULE}"]
    if csv:
        lines.append("node type, first, avg_ms, %, cdf%, mem KB, times called, name")
    else:
        heads = ("[node type]", "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]")
        widths = (24, 9, 9, 8, 8, 10)
        columns = [f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)]
        lines.append("\t" + "\t".join([*columns, "[times called]", "[Name]"]))
    cumulated = 0.0
    for kind, name, first, average, percent in rows:
        cumulated += percent
        if csv:
            lines.append(
                f"{kind}, {first:.6g}, {average:.6g}, {percent:.6g}%, {cumulated:.6g}%, 0, 1, "
                f"{name}"
            )
        else:
            lines.append(
                f"\t{kind:>24}\t{first:9.3f}\t{average:9.3f}\t{percent:7.3f}%\t{cumulated:7.3f}%\t"
                f"{0:10.3f}\t{1:9}\t{name}"
            )
    return "\n".join(lines) + "\n"


def _by_type(rows: list[tuple[str, str, float, float, float]], csv: bool) -> str:
    kinds: dict[str, list[float]] = {}
    for kind, _, _, average, _ in rows:
        kinds.setdefault(kind, []).append(average)
    total = sum(map(sum, kinds.values())) or 1.0
    lines = [
        f"Number of nodes executed: {len(rows)}",
        f"{_RULE} Summary by node type {_RULE}",
        "node type, count, avg_ms, avg %, cdf %, mem KB, times called"
        if csv
        else "\t             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t"
        "  [mem KB]\t[times called]",
    ]
    cumulated = 0.0
    for kind, times in sorted(kinds.items(), key=lambda item: -sum(item[1])):
        percent = 100 * sum(times) / total
        cumulated += percent
        count = len(times)
        if csv:
            lines.append(
                f"{kind}, {count}, {sum(times):.6g}, {percent:.6g}%, {cumulated:.6g}%, 0, {count}"
            )
        else:
            lines.append(
                f"\t{kind:>24}\t{count:9}\t{sum(times):10.3f}\t{percent:10.3f}%\t"
                f"{cumulated:10.3f}%\t{0:10.3f}\t{count:9}"
            )
    return "\n".join(lines) + "\n"


def _summary(totals: list[int], nodes: int) -> str:
    if min(totals) == max(totals):
        text = f"count={len(totals)} curr={totals[-1]}" + "(all same)" * (len(totals) > 1)
    else:
        mean = sum(totals) / len(totals)
        squares = sum(total**2 for total in totals) / len(totals)
        text = (
            f"count={len(totals)} first={totals[0]} curr={totals[-1]} min={min(totals)} "
            f"max={max(totals)} avg={mean:.6g} std={int(max(0.0, squares - mean**2) ** 0.5)}"
        )
    return f"Timings (microseconds): {text}\nMemory (bytes): count=0\n{nodes} nodes observed\n\n"
