"""Logs in by PyMySQL; see logins.py. It asks for the server's public key whenever it needs one."""

import ssl

import pymysql
from logins import Login, run, write_and_read


def serve(login: Login) -> dict[str, object]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = pymysql.connect(
        host=login.host,
        port=login.port,
        user=login.user,
        password=login.password,
        database=login.database or None,
        autocommit=True,
        connect_timeout=10,
        read_timeout=10,
        ssl=context if login.tls else None,
        ssl_disabled=not login.tls,
    )
    try:
        with connection.cursor() as cursor:
            rows = write_and_read(cursor)
        return {"version": connection.server_version, "rows": rows}
    finally:
        connection.close()


run(serve, pymysql.MySQLError)
