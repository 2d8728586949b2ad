"""Logs in by mysql-connector-python; see logins.py."""

import mysql.connector
from logins import Login, run, write_and_read


def serve(login: Login) -> dict[str, object]:
    connection = mysql.connector.connect(
        host=login.host,
        port=login.port,
        user=login.user,
        password=login.password,
        database=login.database or None,
        autocommit=True,
        connection_timeout=10,
        ssl_disabled=not login.tls,
    )
    try:
        rows = write_and_read(connection.cursor())
        return {"version": connection.server_info, "rows": rows}
    finally:
        connection.close()


run(serve, mysql.connector.Error)
