"""What clients connect to: the primary itself, or a proxy started for one case and ended after it."""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from process import Process

START_SECONDS = 30
STOP_SECONDS = 12


class Failed(Exception):
    """A program that the bench started did not do what it should."""


class Direct:
    """The primary, without anything between."""

    name = "direct"
    process = None

    def __init__(self, primary: str):
        self.host, self.port = primary, 3306

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Proxy:
    """A proxy's process, listening on a free port of 127.0.0.1."""

    name: str

    def __init__(self):
        self.host, self.port = "127.0.0.1", free_port()

    def command(self, directory: Path) -> list:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix=f"bench-{self.name}-")
        directory = Path(self.directory.name)
        self.log = directory / "log"
        environment = os.environ | {"RWPROXY_MONITOR_PASSWORD": "rwproxy"}
        try:
            with self.log.open("wb") as log:
                self.child = subprocess.Popen(
                    self.command(directory),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                )
        except OSError as error:
            self.directory.cleanup()
            raise Failed(f"{self.name} does not start: {error}") from error
        self.process = Process(self.child.pid)
        try:
            self._await_ready()
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

    def __init__(self, primary: str):
        super().__init__()
        self.primary = primary

    def command(self, directory):
        config = directory / "haproxy.cfg"
        config.write_text(
            "global\n"
            "    nbthread 2\n"
            "    maxconn 4096\n"
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

    def is_ready(self):
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
            return True
        except OSError:
            return False


class Rwproxy(Proxy):
    """The proxy as users run it: servers by their labels, default settings."""

    name = "rwproxy"

    def __init__(self, binary: str, cluster: str):
        super().__init__()
        self.binary, self.cluster = binary, cluster
        self.admin, self.http = free_port(), free_port()

    def command(self, directory):
        config = directory / "proxy.toml"
        config.write_text(
            f'[listen]\naddress = "{self.host}:{self.port}"\n'
            f'[docker]\ncluster = "{self.cluster}"\n'
            '[monitor]\npassword_env = "RWPROXY_MONITOR_PASSWORD"\n'
            f'[admin]\naddress = "127.0.0.1:{self.admin}"\n'
            f'[http]\naddress = "127.0.0.1:{self.http}"\n'
        )
        return [self.binary, "--config", str(config)]

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


def free_port() -> int:
    """A port that nobody listens on now; whoever is given it may still find it taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
