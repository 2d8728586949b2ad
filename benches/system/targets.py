"""What clients connect to: the primary itself, or a proxy started for one case and ended after it."""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from process import Process

START_SECONDS = 30
STOP_SECONDS = 12
# The image that tests/containers/build-images.sh makes of the recipe `router`.
ROUTER_IMAGE = "rwproxy-test/router:sid"


@dataclass(frozen=True)
class Setting:
    """How a case wants its proxies to be."""

    # Threads that carry traffic.
    threads: int = 2
    # Most connections to a server, where the proxy shares them; None: the proxy's default.
    connections: int | None = None
    # Whether a proxy that spreads reads has replicas to do so, or the primary alone.
    replicas: bool = True


@dataclass(frozen=True)
class Servers:
    """What is behind the targets."""

    # The primary's address.
    primary: str
    # Of all of them.
    processes: tuple[Process, ...]
    # The program of many clients.
    clients: Path
    # All servers' label rwproxy.cluster.
    cluster: str
    # Directory of server-cert.pem and server-key.pem, the primary's, and a client's; None if it has none.
    certificates: Path | None


class Failed(Exception):
    """A program that the bench started did not do what it should."""


class Direct:
    """The primary, without anything between."""

    name = "direct"
    process = None

    def __init__(self, servers: Servers):
        self.host, self.port = servers.primary, 3306
        self.servers, self.clients = servers.processes, servers.clients
        self.certificates = servers.certificates

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Proxy:
    """A proxy's process, listening on a free port of 127.0.0.1."""

    name: str

    def __init__(self, servers: Servers, setting: Setting):
        self.setting = setting
        self.primary, self.cluster = servers.primary, servers.cluster
        self.servers, self.clients = servers.processes, servers.clients
        self.certificates = servers.certificates
        self.host, self.port = "127.0.0.1", free_port()

    def command(self, directory: Path) -> list:
        raise NotImplementedError

    def environment(self) -> dict:
        return {}

    def is_ready(self) -> bool:
        """Whether somebody listens."""
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def pid(self) -> int:
        return self.child.pid

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix=f"bench-{self.name}-")
        directory = Path(self.directory.name)
        self.log = directory / "log"
        environment = os.environ | self.environment()
        try:
            with self.log.open("wb") as log:
                self.child = subprocess.Popen(
                    self.command(directory),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                )
        except OSError as error:
            self.directory.cleanup()
            raise Failed(f"{self.name} does not start: {error}") from error
        try:
            self._await_ready()
            self.process = Process(self.pid())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.directory.cleanup()

    def _await_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.child.poll() is not None:
                self._fail(f"{self.name} ended with status {self.child.returncode}")
            if time.monotonic() > deadline:
                self._fail(f"{self.name} is not ready after {START_SECONDS} s")
            time.sleep(0.05)

    def _fail(self, what: str):
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        raise Failed("\n".join([what, *lines]))


class Haproxy(Proxy):
    """haproxy relaying bytes to the primary: what any proxy must cost."""

    name = "haproxy"

    def command(self, directory):
        config = directory / "haproxy.cfg"
        config.write_text(
            "global\n"
            f"    nbthread {self.setting.threads}\n"
            "    maxconn 8192\n"
            "defaults\n"
            "    mode tcp\n"
            "    timeout connect 5s\n"
            "    timeout client 10m\n"
            "    timeout server 10m\n"
            "listen mysql\n"
            f"    bind {self.host}:{self.port}\n"
            f"    server primary {self.primary}:3306\n"
        )
        return ["haproxy", "-db", "-f", str(config)]


class Router(Proxy):
    """MySQL Router's port for the primary, in a container: the nearest product. Its port that splits needs a cluster
    with metadata."""

    name = "router"

    def __init__(self, servers: Servers, setting: Setting):
        super().__init__(servers, setting)
        self.container = f"rwproxy-bench-router-{os.getpid()}-{self.port}"

    def command(self, directory):
        config = directory / "router.conf"
        config.write_text(
            "[DEFAULT]\n"
            "max_total_connections=8192\n"
            f"[io]\nthreads={self.setting.threads}\n"
            "[routing:primary]\n"
            f"bind_address={self.host}\nbind_port={self.port}\n"
            f"destinations={self.primary}:3306\n"
            "routing_strategy=first-available\nprotocol=classic\n"
            "client_ssl_mode=PASSTHROUGH\nserver_ssl_mode=AS_CLIENT\n"
            "max_connections=8192\nmax_connect_errors=4294967295\n"
        )
        directory.chmod(0o755)
        return [
            "docker", "run", "--rm", "--name", self.container, "--network", "host",
            "--volume", f"{config}:/router.conf:ro", ROUTER_IMAGE, "mysqlrouter", "--config", "/router.conf",
        ]

    def pid(self):
        inspected = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.Pid}}", self.container],
            capture_output=True, text=True, timeout=START_SECONDS, check=False,
        )
        if inspected.returncode != 0:
            self._fail("router's container is gone")
        return int(inspected.stdout)

    def __exit__(self, *arguments):
        subprocess.run(["docker", "kill", self.container], capture_output=True, timeout=START_SECONDS, check=False)
        super().__exit__(*arguments)


class Rwproxy(Proxy):
    """The proxy as users run it: servers by their labels, default settings."""

    name = "rwproxy"

    def __init__(self, binary: str, servers: Servers, setting: Setting):
        super().__init__(servers, setting)
        self.binary = binary
        self.admin, self.http = free_port(), free_port()

    def command(self, directory):
        config = directory / "proxy.toml"
        config.write_text(
            f'[listen]\naddress = "{self.host}:{self.port}"\nthreads = {self.setting.threads}\n'
            f'[docker]\ncluster = "{self.cluster}"\nenabled = {str(self.setting.replicas).lower()}\n'
            '[monitor]\npassword_env = "RWPROXY_MONITOR_PASSWORD"\n'
            f'[admin]\naddress = "127.0.0.1:{self.admin}"\n'
            f'[http]\naddress = "127.0.0.1:{self.http}"\n'
        )
        with config.open("a") as text:
            if not self.setting.replicas:
                text.write(f'[[backends]]\nname = "primary"\naddress = "{self.primary}:3306"\n')
            if self.setting.connections:
                text.write(f"[pool]\nmax_per_backend = {self.setting.connections}\n")
            if self.certificates:
                cert, key = self.certificates / "server-cert.pem", self.certificates / "server-key.pem"
                text.write(f'[listen.tls]\ncert = "{cert}"\nkey = "{key}"\n')
        return [self.binary, "--config", str(config)]

    def environment(self):
        return {"RWPROXY_MONITOR_PASSWORD": "rwproxy"}

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


def server_processes(cluster: str) -> tuple[Process, ...]:
    """The servers' processes, by their containers' label."""
    containers = docker("ps", "--quiet", "--filter", f"label=rwproxy.cluster={cluster}").split()
    pids = docker("inspect", "--format", "{{.State.Pid}}", *containers).split()
    return tuple(Process(int(pid)) for pid in pids)


def docker(*arguments: str) -> str:
    command = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=True).stdout


def free_port() -> int:
    """A port that nobody listens on now; whoever is given it may still find it taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
