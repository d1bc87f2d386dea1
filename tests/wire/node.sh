#!/usr/bin/env bash
# Real clients against a real node of one: psql, pgbench and psycopg2. Run by `./dev test wire`; OUTLAST_BINARY names the
# program. `tests/wire/node.sh --record` writes psql.expected anew: read the difference before you keep it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
binary=${OUTLAST_BINARY:-../../build/release/outlast}
pgbench=/usr/lib/postgresql/15/bin/pgbench
dir=$(mktemp -d)
export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=defaultdb PGCONNECT_TIMEOUT=10 PGAPPNAME=wire
passed=0 failed=0

"$binary" start-single-node --store="$dir/store" --sql-addr=127.0.0.1:0 --http-addr=127.0.0.1:0 \
  --log-file="$dir/log" > "$dir/addresses" 2>&1 &
node=$!
finish() {
  kill -TERM "$node" 2> /dev/null
  for _ in $(seq 100); do kill -0 "$node" 2> /dev/null || break; sleep 0.1; done
  kill -KILL "$node" 2> /dev/null
  wait "$node" 2> /dev/null
  rm -rf "$dir"
}
trap finish EXIT

check() { # WHAT COMMAND…
  local what=$1
  shift
  if "$@" > "$dir/out" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $what"
    tail -n 40 "$dir/out"
  fi
}
sql() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }
is() { # GOT WANTED
  [ "$1" = "$2" ] || { echo "got '$1' instead of '$2'"; return 1; }
}

for _ in $(seq 100); do
  PGPORT=$(sed -n 's/.*"sql_addr":"[^"]*:\([0-9]*\)".*/\1/p' "$dir/addresses")
  export PGPORT
  [ -n "$PGPORT" ] && sql -c 'SELECT 1' > /dev/null 2>&1 && break
  sleep 0.1
done

# Owners of objects, and places in PostgreSQL's sources, are nobody's promise.
run_psql() { psql -X -f psql.sql 2>&1 | sed -e 's/^psql:psql.sql:[0-9]*: //' -e '/^LOCATION: /d' -e "s/port \"$PGPORT\"/port \"PORT\"/"; }
if [ "${1:-}" = --record ]; then
  run_psql > psql.expected
  exit
fi
psql_says_what_is_expected() { diff -u psql.expected <(run_psql); }

copies_both_ways() {
  seq 1 20000 | awk -v OFS='\t' '{print $1, ($1 % 7 ? "row \\\\ " $1 : "\\N"), ($1 % 2 ? "t" : "f"), $1 / 4, "2026-01-02 03:04:05"}' \
    > "$dir/in.txt"
  sql -c 'CREATE TABLE big(i int, s text, b bool, f float8, ts timestamp)' -c "\\copy big from '$dir/in.txt'" \
    -c "\\copy big to '$dir/out.txt'" -c "\\copy (select * from big order by i) to '$dir/out.csv' csv header" -c 'TRUNCATE big' \
    -c "\\copy big from '$dir/out.csv' csv header" -c "\\copy big to '$dir/again.txt'" || return
  cmp "$dir/in.txt" "$dir/out.txt" && cmp "$dir/in.txt" "$dir/again.txt" &&
    is "$(sql -c 'SELECT count(*), count(s), sum(i) FROM big')" '20000|17143|200010000'
}

a_locked_row_makes_others_wait() {
  sql -c 'CREATE TABLE l(a int primary key)' -c 'INSERT INTO l VALUES (1)' || return
  coproc holder { psql -XAtq 2>&1; }
  # shellcheck disable=SC2154 # holder is the coprocess
  echo 'BEGIN; SELECT a FROM l WHERE a = 1 FOR UPDATE; \echo held' >&"${holder[1]}"
  local line=''
  while [ "$line" != held ]; do read -r -t 10 line <&"${holder[0]}" || return 1; done
  sql -c "SET lock_timeout = '100ms'" -c '\set VERBOSITY sqlstate' -c 'BEGIN' -c 'SELECT a FROM l FOR UPDATE' \
    > "$dir/waiter" 2>&1 && { echo 'the second one was not kept waiting'; return 1; }
  grep -q 55P03 "$dir/waiter" || { cat "$dir/waiter"; return 1; }
  is "$(sql -c 'SELECT a FROM l')" 1 || return  # a plain read waits for nobody
  echo 'COMMIT; \q' >&"${holder[1]}"
  wait "$holder_PID"
  is "$(sql -c 'BEGIN' -c 'SELECT a FROM l FOR UPDATE' -c 'COMMIT')" 1
}

sessions_start_with_the_clusters_limits() {
  sql -c "SET CLUSTER SETTING sql.defaults.statement_timeout = '300ms'" || return
  local shown=''
  for _ in $(seq 50); do
    shown=$(sql -c 'SHOW statement_timeout')
    [ "$shown" = 300ms ] && break
    sleep 0.1
  done
  is "$shown" 300ms || return
  sql -c '\set VERBOSITY sqlstate' -c 'WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c' \
    > "$dir/late" 2>&1 && { echo 'a statement ran for ever'; return 1; }
  grep -q 57014 "$dir/late" || { cat "$dir/late"; return 1; }
  sql -c 'RESET CLUSTER SETTING sql.defaults.statement_timeout'
}

pgbench_keeps_its_books() {
  local mode script sums
  "$pgbench" -i -q -I dtGvp -s 1 || return  # rows made by the server
  "$pgbench" -i -q -I dtgvp -s 1 || return  # rows sent by COPY
  for mode in simple extended prepared; do
    for script in tpcb-like simple-update select-only; do
      "$pgbench" -n -M "$mode" -b "$script" -c 4 -t 25 --max-tries=20 --failures-detailed > "$dir/bench" 2>&1 ||
        { cat "$dir/bench"; return 1; }
      grep -q 'actually processed: 100/100' "$dir/bench" || { cat "$dir/bench"; return 1; }
    done
  done
  sums=$(sql -c 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
    (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches),
    (SELECT count(*) FROM pgbench_history)')
  is "$sums" 't|t|600'
}

foreign_keys_of_pgbench_are_refused() {
  "$pgbench" -i -q -I f > "$dir/f" 2>&1 && { echo 'pgbench -I f was taken'; return 1; }
  grep -qi 'foreign key' "$dir/f" || { cat "$dir/f"; return 1; }
}

check 'psql says what psql.expected holds' psql_says_what_is_expected
check '\copy both ways, text and csv' copies_both_ways
check 'a row locked by FOR UPDATE makes other lockers wait' a_locked_row_makes_others_wait
check 'a session starts with sql.defaults.*' sessions_start_with_the_clusters_limits
if [ -x "$pgbench" ]; then
  check 'clients.sh' bash clients.sh "$PGPORT"
  check "pgbench's scripts keep its books" pgbench_keeps_its_books
  check 'pgbench -I f is refused with a sentence' foreign_keys_of_pgbench_are_refused
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
