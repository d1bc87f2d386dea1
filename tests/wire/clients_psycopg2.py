"""psycopg2 against the SQL port at 127.0.0.1:PORT: what an application does in a day."""
import io
import sys

import psycopg2
from psycopg2 import errors

conn = psycopg2.connect(host="127.0.0.1", port=sys.argv[1], user="postgres", dbname="defaultdb")
cur = conn.cursor()
cur.execute("CREATE TABLE py(id int primary key, name text, ok boolean, ratio double precision)")
cur.execute("INSERT INTO py VALUES (%s, %s, %s, %s)", (1, "o'hara \u00fc", True, 0.5))
conn.commit()

try:
    cur.execute("INSERT INTO py VALUES (1, 'again', false, 0)")
    raise SystemExit("a duplicate key was taken")
except errors.UniqueViolation:
    pass
try:
    cur.execute("SELECT 1")
    raise SystemExit("a failed transaction went on")
except errors.InFailedSqlTransaction:
    conn.rollback()

cur.execute("SELECT id, name, ok, ratio FROM py")
rows = cur.fetchall()
assert rows == [(1, "o'hara \u00fc", True, 0.5)], rows

cur.copy_expert("COPY py FROM STDIN", io.StringIO("2\ttwo\tf\t1.5\n3\t\\N\t\\N\t\\N\n"))
conn.commit()
out = io.StringIO()
cur.copy_expert("COPY py TO STDOUT", out)
assert len(out.getvalue().splitlines()) == 3, out.getvalue()

named = conn.cursor(name="c")
named.itersize = 1
named.execute("SELECT id FROM py ORDER BY id")
assert [r[0] for r in named] == [1, 2, 3]
named.close()
conn.commit()
assert conn.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_IDLE
conn.close()
