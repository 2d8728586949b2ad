"""Reads and writes by mysql-connector-python over a compressed connection, and prints what it has read.

    compressed.py HOST PORT tls=yes|no
"""

import hashlib
import sys

import mysql.connector

connection = mysql.connector.connect(
    host=sys.argv[1],
    port=int(sys.argv[2]),
    user="app",
    password="app",
    database="app",
    autocommit=True,
    compress=True,
    use_pure=True,
    allow_local_infile=True,
    connection_timeout=10,
    ssl_disabled=sys.argv[3] == "tls=no",
)
cursor = connection.cursor()
for length in (0, 1, 49, 50, 51, 70_000, 16_777_215):
    cursor.execute(f"SELECT REPEAT('x', {length})")
    print(length, hashlib.sha1(str(cursor.fetchone()[0]).encode()).hexdigest())
cursor.execute("SELECT LENGTH(%s)", ("y" * 17_000_000,))
print(cursor.fetchone())
prepared = connection.cursor(prepared=True)
for text in ("a" * 10, "b" * 100_000):
    prepared.execute("SELECT LENGTH(?), 1", (text,))
    print(prepared.fetchall())
connection.close()
