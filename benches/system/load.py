"""The loads: each takes a target and gives one round's figures by name."""

import json
import re
import ssl
import subprocess
import time
from pathlib import Path

import pymysql

from process import children_cpu_seconds
from targets import Failed

USER = PASSWORD = DATABASE = "app"
# CR_SSL_CONNECTION_ERROR.
NO_TLS = 2026
HERE = Path(__file__).parent


class Spent:
    """The CPU that goes into a round, of the proxy, of the servers, and of the client's program."""

    def __init__(self, target):
        self.target = target
        self.before = self.now()

    def now(self) -> dict:
        now = {
            "servers_cpu": sum(server.cpu_seconds() for server in self.target.servers),
            "client_cpu": children_cpu_seconds(),
        }
        return now | ({"cpu": self.target.process.cpu_seconds()} if self.target.process else {})

    def figures(self, count: float, unit: str) -> dict:
        """Microseconds for each of so many, the client's program having ended."""
        now = self.now()
        return {f"{name}_us_per_{unit}": (now[name] - self.before[name]) * 1e6 / count for name in now}


def sysbench(
    target, script: str, seconds: int, threads: int, *options: str, unit: str = "query", directory: Path | None = None
) -> dict:
    command = [
        "sysbench", "--db-driver=mysql", f"--mysql-host={target.host}", f"--mysql-port={target.port}",
        f"--mysql-user={USER}", f"--mysql-password={PASSWORD}", f"--mysql-db={DATABASE}",
        "--tables=1", "--table-size=10000", "--rand-type=uniform", "--percentile=99",
        f"--threads={threads}", f"--time={seconds}", *options, script, "run",
    ]
    spent = Spent(target)
    output = run(command, seconds + 60, directory=directory)
    queries, per_second = figure(r"queries: +(\d+) +\((\S+) per sec", output)
    rate = "connects_per_second" if unit == "connect" else "queries_per_second"
    figures = {rate: per_second, "p99_ms": figure(r"99th percentile: +(\S+)", output)[0]}
    return figures | spent.figures(queries, unit) | resident(target)


def resident(target) -> dict:
    return {"resident_mib": target.process.resident_bytes() / 2**20} if target.process else {}


def encrypted_selects(target, seconds: int, threads: int) -> dict:
    """Point selects over TLS. sysbench takes client-cert.pem, client-key.pem and cacert.pem from where it runs."""
    options = ("--db-ps-mode=disable", "--mysql-ssl=on")
    return sysbench(target, "oltp_point_select", seconds, threads, *options, directory=target.certificates)


def busy_clients(target, seconds: int, few: int, many: int) -> dict:
    """Point selects of as many clients as there are connections, and of many more, all in one thread."""
    alone, crowded = (selects_in_one_thread(target, clients, seconds) for clients in (few, many))
    crowded["kept_of_few"] = crowded["queries_per_second"] / alone["queries_per_second"]
    for name in [name for name in alone if name.endswith("cpu_us_per_query")]:
        crowded[f"few_{name}"] = alone[name]
    return crowded


def selects_in_one_thread(target, clients: int, seconds: int) -> dict:
    spent = Spent(target)
    output = run([str(target.clients), f"{target.host}:{target.port}", str(clients), str(seconds)], seconds + 60)
    figures = json.loads(output)
    return figures | spent.figures(figures.pop("queries"), "query") | resident(target)


def connect(target, seconds: int, threads: int) -> dict:
    """Connect, SELECT 1, quit."""
    # Each connection to the primary keeps its local port for a minute after its end, and there are 28,232 of them:
    # five rounds of the three targets that make one for each client. rwproxy has its own and is reached by loopback,
    # where ports are used again.
    events = 0 if target.name == "rwproxy" else 1800
    return sysbench(target, str(HERE / "connect.lua"), seconds, threads, f"--events={events}", unit="connect")


def large_result(target, megabytes: int) -> dict:
    """One result of 1,000-byte rows, read row by row by the mariadb client."""
    rows_each = megabytes * 1000 // 10000
    query = (
        "SELECT REPEAT('x', 1000) FROM sbtest1 AS a"
        f" CROSS JOIN (SELECT id FROM sbtest1 LIMIT {rows_each}) AS b"
    )
    command = [
        "mariadb", "--no-defaults", "--skip-ssl", "--protocol=tcp", f"--host={target.host}", f"--port={target.port}",
        f"--user={USER}", f"--password={PASSWORD}", "--quick", "--raw", "--skip-column-names",
        "--execute", query, DATABASE,
    ]
    if target.process:
        target.process.reset_peak()
        before = target.process.cpu_seconds()
    began = time.monotonic()
    run(command, 120, keep_output=False)
    figures = {"megabytes_per_second": megabytes / (time.monotonic() - began)}
    if target.process:
        figures["cpu_ms_per_megabyte"] = (target.process.cpu_seconds() - before) * 1e3 / megabytes
        figures["peak_resident_mib"] = target.process.peak_resident_bytes() / 2**20
    return figures


def idle_clients(target, count: int, seconds: int, tls: bool) -> dict:
    """Clients that have logged in and sent one query, and then say nothing."""
    # One context for all: making one reads the system's certificates, 50 ms each time.
    encryption = {"ssl": unverified()} if tls else {"ssl_disabled": True}
    clients = []
    try:
        # What the first clients make the process allocate is not theirs.
        clients += [idle_client(target, encryption) for _ in range(16)]
        before = target.process.resident_bytes()
        clients += [idle_client(target, encryption) for _ in range(count)]
        time.sleep(1)
        resident = target.process.resident_bytes()
        cpu = target.process.cpu_seconds()
        time.sleep(seconds)
        cpu = target.process.cpu_seconds() - cpu
        return {
            "kib_per_client": (resident - before) / 1024 / count,
            "resident_mib": resident / 2**20,
            "idle_cpu_ms_per_second": cpu * 1e3 / seconds,
        }
    except pymysql.Error as error:
        if error.args[0] == NO_TLS:
            # MariaDB before 11.4 has no certificate unless it is given one; a relay adds none.
            return {}
        raise Failed(f"{target.name}: {error}") from error
    finally:
        for connection in clients:
            connection.close()


def idle_client(target, encryption: dict):
    connection = pymysql.connect(
        host=target.host, port=target.port, user=USER, password=PASSWORD, database=DATABASE,
        autocommit=None, connect_timeout=10, read_timeout=10, **encryption,
    )
    connection.query("SELECT 1")
    return connection


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def run(command: list, timeout: int, keep_output: bool = True, directory: Path | None = None) -> str:
    """Runs a client program; its output. `Failed` with the end of it if it does not succeed."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT if keep_output else subprocess.PIPE,
            stdout=subprocess.PIPE if keep_output else subprocess.DEVNULL, timeout=timeout, text=True,
            cwd=directory,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]}: not done within {timeout} s") from error
    if done.returncode != 0:
        said = (done.stdout or done.stderr or "").splitlines()[-10:]
        raise Failed("\n".join([f"{command[0]} ended with status {done.returncode}", *said]))
    return done.stdout


def figure(pattern: str, output: str) -> tuple:
    found = re.search(pattern, output)
    if not found:
        raise Failed(f"sysbench's output has no {pattern!r}:\n{output}")
    return tuple(float(group) for group in found.groups())
