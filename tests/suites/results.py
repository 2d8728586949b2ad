"""The results of other people's suites.

    results.py junit REPORT RESULTS                     JUnit's XML to lines 'outcome id'
    results.py compare SUITE FLAVOUR DIRECTORY KNOWN    the runs of a suite beside each other
    results.py destinations METRICS                     where rwproxy's metrics say that the statements went, and why

Outcomes are pass, fail, error and skip. In DIRECTORY stand the results of the runs: SUITE-FLAVOUR-RUN for the runs
direct1, direct2, relay and rwproxy. What passes in the first three is expected to pass in the last. KNOWN lists the
differences that are known: 'suite flavour id reason', the flavour `both` for both; SUITE* is the suite in each of its
protocols. `compare` fails on a difference that is not listed, and on one listed for this suite alone that is none.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import NamedTuple

REFERENCES = ("direct1", "direct2", "relay")

Results = dict[str, str]


def from_junit(report: Path) -> Results:
    """A test that fails and whose clean-up fails, too, is one test."""
    results: Results = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = re.sub(r"\s+", "_", f"{case.get('classname')}.{case.get('name')}")
        kinds = {child.tag for child in case}
        outcome = "pass"
        for tag, word in (("skipped", "skip"), ("failure", "fail"), ("error", "error")):
            if tag in kinds:
                outcome = word
        if results.get(name, "pass") in ("pass", "skip"):
            results[name] = outcome
    return results


def read(path: Path) -> Results:
    lines = (line.split(maxsplit=1) for line in path.read_text().splitlines())
    return {name: outcome for outcome, name in lines}


class Known(NamedTuple):
    reason: str
    # It need not differ in each protocol.
    several: bool


def known(path: Path, suite: str, flavour: str) -> dict[str, Known]:
    lines = (line.split(maxsplit=3) for line in path.read_text().splitlines() if line and line[0] != "#")
    return {
        name: Known(reason, s.endswith("*"))
        for s, f, name, reason in lines
        if f in (flavour, "both") and (s == suite or s.endswith("*") and suite.startswith(s[:-1]))
    }


def compare(suite: str, flavour: str, directory: Path, listed: dict[str, Known]) -> bool:
    runs = {run: read(directory / f"{suite}-{flavour}-{run}") for run in (*REFERENCES, "rwproxy")}
    names = set().union(*runs.values())
    reliable = {name for name in names if all(runs[run].get(name) == "pass" for run in REFERENCES)}
    broken = {name for name in reliable if runs["rwproxy"].get(name) != "pass"}
    # A suite may run only those again that have passed.
    flaky = {name for name in names - reliable if len({runs[run].get(name, "fail") == "pass" for run in REFERENCES}) > 1}
    stale = {name for name, entry in listed.items() if not entry.several and runs["rwproxy"].get(name) == "pass"}
    passed = {run: sum(outcome == "pass" for outcome in results.values()) for run, results in runs.items()}
    print(
        f"{suite} {flavour}: {len(names)} tests; passed: {passed['direct1']} directly, {passed['direct2']} again,"
        f" {passed['relay']} by relay, {passed['rwproxy']} by rwproxy;"
        f" {len(broken)} differ, {len(broken & listed.keys())} of them known"
    )
    for name in sorted(broken):
        outcome = runs["rwproxy"].get(name, "not run")
        reason = f"known: {listed[name].reason}" if name in listed else "NEW"
        print(f"    differs   {outcome} {name}  ({reason})")
    for name in sorted(flaky):
        outcomes = ", ".join(runs[run].get(name, "not run") for run in (*REFERENCES, "rwproxy"))
        print(f"    unstable  {name}  ({outcomes})")
    for name in sorted(stale):
        print(f"    STALE     {name}  passes, and stands in known.txt")
    return not (broken - listed.keys()) and not stale


def destinations(metrics: str) -> None:
    counts: dict[str, Counter[str]] = {}
    for destination, reason, count in re.findall(
        r'^rwproxy_statements_total\{destination="(\w+)",reason="(\w+)"\} ([0-9.]+)$', metrics, re.MULTILINE
    ):
        counts.setdefault(destination, Counter())[reason] += int(float(count))
    for destination, reasons in sorted(counts.items()):
        several = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common() if count)
        if several:
            print(f"    {destination}: {reasons.total():,} statements: {several}")


def main(arguments: list[str]) -> int:
    match arguments:
        case ["junit", report, results]:
            lines = sorted(f"{outcome} {name}\n" for name, outcome in from_junit(Path(report)).items())
            Path(results).write_text("".join(lines))
            return 0
        case ["compare", suite, flavour, directory, list_]:
            return 0 if compare(suite, flavour, Path(directory), known(Path(list_), suite, flavour)) else 1
        case ["destinations", metrics]:
            destinations(Path(metrics).read_text())
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
