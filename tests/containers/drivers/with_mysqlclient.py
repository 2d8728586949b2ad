"""Logs in by mysqlclient, which is MariaDB's client library here; see logins.py. The library asks for the server's
public key whenever it needs one."""

import MySQLdb
from logins import Login, run, write_and_read


def serve(login: Login) -> dict[str, object]:
    connection = MySQLdb.connect(
        host=login.host,
        port=login.port,
        user=login.user,
        password=login.password,
        database=login.database,
        autocommit=True,
        connect_timeout=10,
        read_timeout=10,
        ssl_mode="REQUIRED" if login.tls else "DISABLED",
    )
    try:
        rows = write_and_read(connection.cursor())
        return {"version": connection.get_server_info(), "rows": rows}
    finally:
        connection.close()


run(serve, MySQLdb.Error)
