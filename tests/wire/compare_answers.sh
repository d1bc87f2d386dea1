#!/bin/bash
# Asks a PostgreSQL 15 the cases of src/sql/translate/translate_test.cc and prints where its answers differ from what the
# test expects. Usage: bash compare_answers.sh [psql connection options]. Known differences are in docs/sql.md.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 - "$here/src/sql/translate/translate_test.cc" "$@" <<'PY'
import ast, re, subprocess, sys
text = open(sys.argv[1], encoding='utf-8').read()
table = re.search(r'kExpressions\[\] = \{(.*?)\n\};', text, re.S).group(1)
differences = 0
for sql, expected in re.findall(r'\{((?:\s*"(?:[^"\\]|\\.)*")+),((?:\s*"(?:[^"\\]|\\.)*")+)\}', table):
    decode = lambda literal: b''.join(ast.literal_eval('b' + part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', literal)).decode()
    sql, expected = decode(sql), decode(expected)
    done = subprocess.run(['psql', '-XAtq', '-v', 'VERBOSITY=verbose', *sys.argv[2:], '-c', sql], capture_output=True, text=True)
    error = re.search(r'ERROR:  (\S+): (.*)', done.stderr)
    got = 'ERROR %s %s' % error.groups() if error else ';'.join(done.stdout.rstrip('\n').split('\n'))
    if got != expected and not (error and got.startswith(expected)):
        differences += 1
        print('%s\n  PostgreSQL: %s\n  expected:   %s' % (sql, got, expected))
print('%d differences' % differences)
PY
