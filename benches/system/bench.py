"""Runs the cases against each target in interleaved rounds; see run.sh."""

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import pymysql

import load
import report
from targets import ROUTER_IMAGE, Direct, Failed, Haproxy, Router, Rwproxy, Servers, Setting, server_processes


@dataclass
class Case:
    title: str
    # One round: takes the target and the seconds that it should last.
    run: Callable
    # The primary itself has no process of ours to look at.
    proxies_only: bool = False
    # Memory and throughput of one big thing need no repetition to speak of.
    rounds: int = 0
    setting: Setting = field(default_factory=Setting)


BEGAN = time.monotonic()
TEXT = "--db-ps-mode=disable"
CASES = {
    "text": Case(
        "point select, text, 16 connections",
        lambda target, seconds: load.sysbench(target, "oltp_point_select", seconds, 16, TEXT)),
    "alone": Case(
        "point select, text, primary alone",
        lambda target, seconds: load.sysbench(target, "oltp_point_select", seconds, 16, TEXT),
        proxies_only=True, setting=Setting(replicas=False)),
    "prepared": Case(
        "point select, prepared, 16 connections",
        lambda target, seconds: load.sysbench(target, "oltp_point_select", seconds, 16)),
    "tls": Case(
        "point select, text, TLS, 16 connections",
        lambda target, seconds: load.encrypted_selects(target, seconds, 16)),
    "threads": Case(
        "point select, text, one worker thread",
        lambda target, seconds: load.sysbench(target, "oltp_point_select", seconds, 16, TEXT),
        proxies_only=True, setting=Setting(threads=1)),
    "read": Case(
        "reads in transactions, 16 connections",
        lambda target, seconds: load.sysbench(target, "oltp_read_only", seconds, 16, TEXT)),
    "write": Case(
        "reads and writes in transactions, text",
        lambda target, seconds: load.sysbench(target, "oltp_read_write", seconds, 16, TEXT)),
    "write-prepared": Case(
        "reads and writes in transactions, prepared",
        lambda target, seconds: load.sysbench(target, "oltp_read_write", seconds, 16)),
    "rate": Case(
        "point select, 1,500/s, 8 connections",
        lambda target, seconds: load.sysbench(target, "oltp_point_select", seconds, 8, TEXT, "--rate=1500")),
    "rate-threads": Case(
        "point select, 1,500/s, one worker thread",
        lambda target, seconds: load.sysbench(target, "oltp_point_select", seconds, 8, TEXT, "--rate=1500"),
        proxies_only=True, setting=Setting(threads=1)),
    "connect": Case(
        "connect, SELECT 1, quit; 8 threads",
        lambda target, seconds: load.connect(target, seconds, 8)),
    "large": Case(
        "one result of 200 MB",
        lambda target, seconds: load.large_result(target, 200), rounds=3),
    # With the others each client has a connection of its own: what the server loses by many.
    "busy": Case(
        "1,000 clients; rwproxy: 20 connections a server",
        lambda target, seconds: load.busy_clients(target, seconds, few=20, many=1000),
        setting=Setting(connections=20), rounds=3),
    "idle": Case(
        "5,000 idle clients",
        lambda target, seconds: load.idle_clients(target, 5000, seconds, tls=False), proxies_only=True, rounds=1),
    "idle-tls": Case(
        "5,000 idle clients, TLS",
        lambda target, seconds: load.idle_clients(target, 5000, seconds, tls=True), proxies_only=True, rounds=1),
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--primary", required=True, help="the primary's address")
    parser.add_argument("--cluster", required=True, help="the servers' label rwproxy.cluster")
    parser.add_argument("--certificates", type=Path, help="directory of the primary's certificates, if it has any")
    parser.add_argument("--flavour", required=True)
    parser.add_argument("--binary", required=True, help="the proxy")
    parser.add_argument("--clients", required=True, type=Path, help="the program of many clients")
    parser.add_argument("--results", required=True, type=Path, help="directory of the JSON files")
    parser.add_argument("--targets", nargs="+", required=True, choices=["direct", "haproxy", "router", "rwproxy"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of one round of one target")
    return parser.parse_args()


def make_target(name: str, setting: Setting, options):
    processes = server_processes(options.cluster)
    servers = Servers(options.primary, processes, options.clients, options.cluster, options.certificates)
    if name == "direct":
        return Direct(servers)
    if name == "haproxy":
        return Haproxy(servers, setting)
    if name == "router":
        return Router(servers, setting)
    return Rwproxy(options.binary, servers, setting)


def run_case(case: Case, options) -> dict:
    """Each target's rounds. The proxies are fresh ones: what a former case left in memory says nothing here."""
    names = [name for name in options.targets if not (case.proxies_only and name == "direct")]
    figures = {name: [] for name in names}
    with ExitStack() as running:
        targets = [running.enter_context(make_target(name, case.setting, options)) for name in names]
        for number in range(min(case.rounds or options.rounds, options.rounds)):
            # Another one begins each round, so that none is always measured behind the same other.
            first = number % max(len(targets), 1)
            for target in targets[first:] + targets[:first]:
                say(f"{case.title}: round {number + 1}, {target.name}")
                figures[target.name].append(case.run(target, options.seconds))
    return figures


def say(what: str):
    print(f"[{time.monotonic() - BEGAN:4.0f}s] {what}", file=sys.stderr, flush=True)


def about(options) -> dict:
    """What was measured, where and when."""
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("\n")[0].strip()

    here = str(Path(__file__).parent)
    with pymysql.connect(host=options.primary, user=load.USER, password=load.PASSWORD) as connection:
        # Not the greeting's: MariaDB's begins with another number.
        cursor = connection.cursor()
        cursor.execute("SELECT VERSION()")
        [server] = cursor.fetchone()
    versions = {
        "haproxy": ["haproxy", "-v"],
        "router": ["docker", "run", "--rm", ROUTER_IMAGE, "mysqlrouter", "--version"],
        "rwproxy": [options.binary, "--version"],
    }
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": first_line("git", "-C", here, "describe", "--always", "--dirty", "--abbrev=12"),
        "flavour": options.flavour,
        "server": server,
        "proxies": {name: first_line(*versions[name]) for name in options.targets if name in versions},
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


def keep(run: dict, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{run['date'][:16].replace(':', '')}-{run['flavour']}-{run['commit']}.json"
    path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    return path


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    run = about(options)
    run["cases"] = {}
    failed = []
    print(f"{run['date']}, {run['commit']}: {run['flavour']} {run['server']}, {', '.join(run['proxies'].values())};"
          f" {run['cores']} cores, {run['rounds']} rounds of {run['seconds']} s, medians\n", flush=True)
    for name in options.cases:
        case = CASES[name]
        if name == "tls" and not options.certificates:
            # MariaDB before 11.4 has none unless it is given one.
            say(f"{case.title}: the primary has no certificate")
            continue
        try:
            run["cases"][case.title] = run_case(case, options)
        except Failed as failure:
            failed.append(f"{case.title}: {failure}")
            say(failed[-1])
            continue
        # At once: what is measured is not lost with what comes later.
        path = keep(run, options.results)
        print(report.table({case.title: run["cases"][case.title]}, options.targets) + "\n", flush=True)
    if run["cases"]:
        print(report.legend(options.targets) + f"kept in {path}")
    if failed:
        raise Failed("\n".join(failed))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
