"""Counts what a point select costs the proxy in user space, in instructions; see run.sh."""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pymysql

sys.path.insert(0, str(Path(__file__).parents[2] / "benches" / "system"))
from load import unverified  # noqa: E402
from targets import free_port  # noqa: E402

# What was counted last, by a recent rustc on x86-64. A change that is worth it may raise them.
RECORDED = {
    "release": {"point select": 12_800, "its classification": 1_885},
    "dev": {"point select": 86_000, "its classification": 9_150},
}
# Compilers, allocators and processors differ by less, and what is worth noticing is more.
MARGIN = 1.3
# A session's task, from the moment that its client has connected.
SESSION = "rwproxy::frontend::accept::serve::{{closure}}"
CLASSIFY = "rwproxy::sql::classify::classify"
FEW, MANY = 200, 2200
START_SECONDS = 60


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, help="the proxy")
    parser.add_argument("--build", required=True, choices=RECORDED, help="how it was built")
    parser.add_argument("--cluster", required=True, help="the servers' label rwproxy.cluster")
    parser.add_argument("--record", action="store_true", help="compare nothing")
    return parser.parse_args()


class Counted:
    """The proxy under callgrind, which counts in its sessions alone."""

    def __init__(self, binary: str, cluster: str, directory: Path):
        self.port, self.http = free_port(), free_port()
        self.out = directory / "out"
        config = directory / "proxy.toml"
        config.write_text(
            f'[listen]\naddress = "127.0.0.1:{self.port}"\n'
            f'[docker]\ncluster = "{cluster}"\n'
            '[monitor]\npassword_env = "RWPROXY_MONITOR_PASSWORD"\n'
            f'[http]\naddress = "127.0.0.1:{self.http}"\n'
            f'[admin]\naddress = "127.0.0.1:{free_port()}"\n'
        )
        self.log = directory / "log"
        command = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}", "--collect-atstart=no",
            f"--toggle-collect={SESSION}", binary, "--config", str(config),
        ]
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"RWPROXY_MONITOR_PASSWORD": "rwproxy"},
            )
        self.dumps = 0

    def await_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            if self.child.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"error: the proxy is not ready:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)

    def control(self, option: str):
        subprocess.run(
            ["callgrind_control", option, str(self.child.pid)], check=True, capture_output=True, timeout=60
        )

    def counted(self, queries: int) -> str:
        """What callgrind has to tell of a session of so many queries."""
        self.control("--zero")
        point_selects(self.port, queries)
        # The session ends a little later than its client.
        time.sleep(0.5)
        self.control("--dump")
        self.dumps += 1
        return Path(f"{self.out}.{self.dumps}").read_text(errors="replace")

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def point_selects(port: int, queries: int, **encryption):
    connection = pymysql.connect(
        host="127.0.0.1", port=port, user="app", password="app", database="app", autocommit=None,
        connect_timeout=60, read_timeout=60, **(encryption or {"ssl_disabled": True}),
    )
    for number in range(queries):
        connection.query(f"SELECT c FROM sbtest1 WHERE id={5000 + number}")
    connection.close()


def total(profile: str) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", profile, re.MULTILINE)
    return int(found.group(1)) if found else 0


def mean_of_calls(profile: str, function: str) -> float:
    """What a call of this function costs with all that it calls. (The format: Valgrind's manual, "Callgrind Format
    Specification".)"""
    calls = instructions = 0
    number = None
    lines = iter(profile.splitlines())
    callee = None
    for line in lines:
        if line.startswith(("fn=", "cfn=")):
            identity, _, name = line.partition("=")[2].partition(" ")
            if name == function:
                number = identity
            if line.startswith("cfn="):
                callee = identity
        elif line.startswith("calls=") and number is not None and callee == number:
            calls += int(line.removeprefix("calls=").split()[0])
            instructions += int(next(lines).split()[1])
    if calls == 0:
        sys.exit(f"error: callgrind has seen no call of {function}")
    return instructions / calls


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="rwproxy-instructions-") as directory:
        proxy = Counted(options.binary, options.cluster, Path(directory))
        try:
            proxy.await_ready()
            # Encrypted, for the first login tells the password, and making an RSA key takes too long here.
            point_selects(proxy.port, FEW, ssl=unverified())
            few, many = proxy.counted(FEW), proxy.counted(MANY)
        finally:
            proxy.stop()
    if total(few) == 0:
        sys.exit(f"error: callgrind has seen no call of {SESSION}")
    counted = {
        "point select": (total(many) - total(few)) / (MANY - FEW),
        "its classification": mean_of_calls(many, CLASSIFY),
    }
    failed = False
    for what, count in counted.items():
        recorded = RECORDED[options.build][what]
        bound = recorded * MARGIN
        verdict = ""
        if not options.record:
            verdict = f", recorded {recorded:,}, at most {bound:,.0f}"
            failed |= count > bound
        print(f"{what}: {count:,.0f} instructions{verdict}")
    if failed:
        sys.exit("error: more instructions than were recorded; if it is worth it, raise RECORDED in count.py")


if __name__ == "__main__":
    main()
