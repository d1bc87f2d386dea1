#!/usr/bin/env bash
# Real clients against the SQL port at 127.0.0.1:$1. Prints what it did; stops at the first thing that is wrong.
set -euo pipefail
port=$1
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=defaultdb PGCONNECT_TIMEOUT=5
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1: got '$2' instead of '$3'"; echo "ok: $1"; }
sql() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

is "psql: a query" "$(sql -c 'SELECT 1 + 1')" 2
sql -c 'CREATE TABLE t(a int primary key, b text)'
printf '1\tone\n2\t\\N\n3\tthr\\\\ee\n' > "$dir/in.txt"
sql -c "\\copy t from '$dir/in.txt'"
sql -c "\\copy t to '$dir/out.txt'"
is "psql: \\copy both ways" "$(cat "$dir/out.txt")" "$(cat "$dir/in.txt")"
is "psql: a transaction rolled back" "$(sql -c 'BEGIN' -c 'DELETE FROM t' -c 'ROLLBACK' -c 'SELECT count(*) FROM t')" 3
is "psql: FETCH_COUNT reads through a cursor" \
  "$(sql -v FETCH_COUNT=1 -c 'SELECT a FROM t ORDER BY a' | tr '\n' ' ')" "1 2 3 "

# Ctrl-C: SIGINT makes psql send a cancel request.
long="WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000000) SELECT count(*) FROM c"
psql -XAt -c "$long" > "$dir/cancel.txt" 2>&1 & pid=$!
for _ in $(seq 50); do
  sleep 0.1
  kill -INT "$pid" 2> /dev/null || break
done
wait "$pid" || true
grep -q 'cancel' "$dir/cancel.txt" || fail "psql: Ctrl-C: $(cat "$dir/cancel.txt")"
echo "ok: psql: Ctrl-C ends a long query"

if [ -x /usr/lib/postgresql/15/bin/pgbench ]; then
  pgbench=/usr/lib/postgresql/15/bin/pgbench
  "$pgbench" -i -q -s 1 > "$dir/init.txt" 2>&1 || fail "pgbench -i: $(cat "$dir/init.txt")"
  is "pgbench -i" "$(sql -c 'SELECT count(*) FROM pgbench_accounts')" 100000
  for mode in simple extended prepared; do
    "$pgbench" -M "$mode" -n -t 100 > "$dir/bench.txt" 2>&1 || fail "pgbench -M $mode: $(cat "$dir/bench.txt")"
    grep -q 'actually processed: 100/100' "$dir/bench.txt" || fail "pgbench -M $mode: $(cat "$dir/bench.txt")"
    echo "ok: pgbench -M $mode"
  done
  is "pgbench: balances agree" "$(sql -c 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) =
    (SELECT sum(delta) FROM pgbench_history)')" t
fi

if /usr/bin/python3 -c 'import psycopg2' 2> /dev/null; then
  /usr/bin/python3 "$(dirname "$0")/clients_psycopg2.py" "$port" || fail "psycopg2"
  echo "ok: psycopg2"
fi
