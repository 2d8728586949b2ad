"""What the Python programs share: logins from the command line, one line of JSON for each.

    PROGRAM HOST PORT USER PASSWORD DATABASE tls=yes|no key-retrieval=yes|no [HOST …]
"""

import json
import sys
from typing import Any, Callable, NamedTuple


class Login(NamedTuple):
    host: str
    port: int
    user: str
    password: str
    database: str
    tls: bool
    key_retrieval: bool


def write_and_read(cursor: Any) -> str:
    """Writes a row into a table named after the account, reads what is there for all, and returns it."""
    cursor.execute("SELECT SUBSTRING_INDEX(USER(), '@', 1)")
    table = "written_by_" + cursor.fetchone()[0]
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(20))")
    cursor.execute(f"INSERT INTO {table} (word) VALUES (%s)", ("it's",))
    cursor.execute("SELECT id, word FROM seeds ORDER BY id")
    return ",".join(f"{number}:{word}" for number, word in cursor.fetchall())


def run(serve: Callable[[Login], dict[str, Any]], error: type[Exception]) -> None:
    """`serve` logs in, writes, reads, and says what it has seen; or it raises `error`."""
    arguments = sys.argv[1:]
    while arguments:
        host, port, user, password, database, tls, key_retrieval = arguments[:7]
        arguments = arguments[7:]
        login = Login(host, int(port), user, password, database, tls == "tls=yes", key_retrieval == "key-retrieval=yes")
        try:
            outcome = {"ok": True, **serve(login)}
        except error as problem:
            code = problem.args[0] if problem.args and isinstance(problem.args[0], int) else 0
            outcome = {"ok": False, "code": code, "message": str(problem)}
        print(json.dumps(outcome), flush=True)
