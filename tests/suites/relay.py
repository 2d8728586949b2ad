"""A TCP relay: relay.py ADDRESS TARGET-HOST TARGET-PORT [SERVER…]

Prints the port of ADDRESS that it listens on, and relays until it is terminated.

With SERVERs, the primary first, it holds back what a client sends until every replica has applied all that the primary
has committed. So a client reads what was written before, however the replicas are chosen; it is the tests' stand-in for
what a user gets who never reads from replicas.
"""

import socket
import sys
import threading

CHUNK = 65536
DEADLINE = 20.0


class Settler:
    """Waits until the replicas have what the primary has."""

    def __init__(self, hosts: list[str]) -> None:
        import pymysql

        connections = [
            pymysql.connect(host=host, user="root", password="root", autocommit=True) for host in hosts
        ]
        self.primary, *self.replicas = (connection.cursor() for connection in connections)
        self.primary.execute("SELECT VERSION()")
        if "MariaDB" in self.primary.fetchone()[0]:
            self.position, self.wait = "SELECT @@GLOBAL.gtid_binlog_pos", "SELECT MASTER_GTID_WAIT(%s, %s)"
        else:
            self.position, self.wait = (
                "SELECT @@GLOBAL.gtid_executed",
                "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)",
            )
        self.settled = ""
        self.lock = threading.Lock()

    def settle(self) -> None:
        with self.lock:
            self.primary.execute(self.position)
            position = self.primary.fetchone()[0]
            if position == self.settled:
                return
            for number, replica in enumerate(self.replicas, 1):
                replica.execute(self.wait, (position, DEADLINE))
                if replica.fetchone()[0] != 0:
                    print(f"relay: replica {number} has not applied {position} in time", file=sys.stderr)
            self.settled = position


def relay(client: socket.socket, target: tuple[str, int], settler: Settler | None) -> None:
    try:
        server = socket.create_connection(target, DEADLINE)
    except OSError as error:
        print(f"relay: {target}: {error}", file=sys.stderr)
        client.close()
        return
    server.settimeout(None)
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = threading.Thread(target=copy, args=(server, client, None), daemon=True)
    answers.start()
    copy(client, server, settler)
    answers.join()
    client.close()
    server.close()


def copy(source: socket.socket, sink: socket.socket, settler: Settler | None) -> None:
    """Until either has gone; then both directions end."""
    try:
        while data := source.recv(CHUNK):
            if settler:
                settler.settle()
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main() -> None:
    address, host, port, *servers = sys.argv[1:]
    settler = Settler(servers) if servers else None
    listener = socket.create_server((address, 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=relay, args=(client, (host, int(port)), settler), daemon=True).start()


if __name__ == "__main__":
    main()
