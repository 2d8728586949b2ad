"""One run's figures as a table and as JSON."""

import statistics

# Title and decimals of each figure.
FIGURES = {
    "queries_per_second": ("queries/s", 0),
    "connects_per_second": ("connects/s", 0),
    "megabytes_per_second": ("MB/s", 0),
    "p99_ms": ("p99 ms", 2),
    "cpu_us_per_query": ("CPU µs/query", 1),
    "few_cpu_us_per_query": ("20 clients' CPU µs/query", 1),
    "servers_cpu_us_per_query": ("servers' CPU µs/query", 1),
    "few_servers_cpu_us_per_query": ("servers' with 20 clients", 1),
    "client_cpu_us_per_query": ("client's CPU µs/query", 1),
    "few_client_cpu_us_per_query": ("client's with 20 clients", 1),
    "cpu_us_per_connect": ("CPU µs/connect", 0),
    "servers_cpu_us_per_connect": ("servers' CPU µs/connect", 0),
    "client_cpu_us_per_connect": ("client's CPU µs/connect", 0),
    "cpu_ms_per_megabyte": ("CPU ms/MB", 2),
    "kept_of_few": ("of 20 clients' queries/s", 2),
    "kib_per_client": ("KiB/client", 1),
    "idle_cpu_ms_per_second": ("CPU ms/s", 1),
    "resident_mib": ("resident MiB", 1),
    "peak_resident_mib": ("peak resident MiB", 1),
}
# Every target's figures are also given as a multiple of this one's.
YARDSTICK = "haproxy"
WIDTH = 11


def medians(rounds: list) -> dict:
    """Of each figure over its rounds."""
    names = {name: None for figures in rounds for name in figures}
    return {name: statistics.median(figures[name] for figures in rounds if name in figures) for name in names}


def table(cases: dict, targets: list) -> str:
    """`cases`: title -> target -> its rounds' figures."""
    compared = [target for target in targets if target != YARDSTICK] if YARDSTICK in targets else []
    heads = [*targets, *(f"{target} ×" for target in compared)]
    lines = [" " * 36 + "".join(head.rjust(WIDTH) for head in heads)]
    for title, by_target in cases.items():
        lines.append(title)
        middle = {target: medians(rounds) for target, rounds in by_target.items()}
        for name, (label, decimals) in FIGURES.items():
            values = {target: figures[name] for target, figures in middle.items() if name in figures}
            if not values:
                continue
            cells = [f"{values[target]:,.{decimals}f}" if target in values else "" for target in targets]
            cells += [ratio(values, target) for target in compared]
            lines.append(f"    {label}".ljust(36) + "".join(cell.rjust(WIDTH) for cell in cells).rstrip())
    return "\n".join(lines)


def legend(targets: list) -> str:
    return f"×: as a multiple of {YARDSTICK}'s figure in the same run\n" if YARDSTICK in targets else ""


def ratio(values: dict, target: str) -> str:
    yardstick = values.get(YARDSTICK)
    return f"{values[target] / yardstick:.2f}" if target in values and yardstick else ""
