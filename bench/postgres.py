"""PostgreSQL 15 as the measure: one primary and two synchronous standbys, gone when the `with` block ends."""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

import psycopg2

from local_cluster import free_port, wait_until
from processes import tree_cpu_seconds

BIN = "/usr/lib/postgresql/15/bin"
USER = "postgres"  # PostgreSQL refuses to run as root
SETTINGS = {
    "synchronous_commit": "on",
    "fsync": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "max_wal_senders": "8",
    "wal_level": "replica",
    "wal_retrieve_retry_interval": "100ms",  # standbys come back soon after a restart
    "hot_standby": "on",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "autovacuum": "on",
}


class Postgres:
    """`rule` is FIRST or ANY: which acknowledgements a commit waits for. With two of two standbys both mean all."""

    def __init__(self, rule="FIRST"):
        self.dir = tempfile.mkdtemp(prefix="outlast-bench-pg-")
        self.ports = [free_port() for _ in range(3)]
        self.servers = [None] * 3
        self.rule = rule
        self.user = USER if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(self.dir, USER)

    def __enter__(self):
        try:
            self._run("initdb", "-D", self._data(0), "-U", "root", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
            self._configure(0, {})
            self._start(0)
            for standby in (1, 2):
                self._run("pg_basebackup", "-D", self._data(standby), "-h", "127.0.0.1", "-p", str(self.ports[0]),
                          "-U", "root", "-X", "stream", "-c", "fast")
                with open(self._data(standby) + "/standby.signal", "w", encoding="utf-8"):
                    pass
                info = f"host=127.0.0.1 port={self.ports[0]} user=root application_name=s{standby}"
                self._configure(standby, {"primary_conninfo": info})
                self._start(standby)
            with self.connect().cursor() as cursor:
                cursor.execute("ALTER SYSTEM SET synchronous_standby_names = %s", (f"{self.rule} 2 (s1, s2)",))
                cursor.execute("SELECT pg_reload_conf()")
                wait_until("synchronous standbys", 60, lambda: self._synchronous(cursor))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in reversed(self.servers):  # standbys first: a primary's fast stop waits for them
            if server and server.poll() is None:
                server.send_signal(signal.SIGQUIT)
                server.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _data(self, number):
        return f"{self.dir}/data{number}"

    def _words(self, program, *words):
        """The command line, as PostgreSQL's own user where we are root; it ends with us."""
        drop = [f"--reuid={USER}", f"--regid={USER}", "--init-groups"] if os.getuid() == 0 else []
        return ["setpriv", *drop, "--pdeathsig", "QUIT", f"{BIN}/{program}", *words]

    def _run(self, program, *words):
        done = subprocess.run(self._words(program, *words), cwd=self.dir, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stdout}")

    def _configure(self, number, more):
        settings = {**SETTINGS, "port": self.ports[number], "unix_socket_directories": self.dir, **more}
        with open(self._data(number) + "/postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _start(self, number):
        with open(f"{self.dir}/log{number}", "ab") as log:
            self.servers[number] = subprocess.Popen(self._words("postgres", "-D", self._data(number)), cwd=self.dir,
                                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        ready = self._words("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.ports[number]))
        wait_until(f"PostgreSQL {number}", 60, lambda: subprocess.run(ready, cwd=self.dir, check=False).returncode == 0)

    def restart(self):
        """What `pg_ctl restart` does to the primary."""
        self.servers[0].send_signal(signal.SIGINT)
        self.servers[0].wait()
        self._start(0)

    @staticmethod
    def _synchronous(cursor):
        cursor.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")
        return cursor.fetchone()[0] == 2

    def address(self):
        return "127.0.0.1", self.ports[0]

    def connect(self, database="postgres"):
        connection = psycopg2.connect(host="127.0.0.1", port=self.ports[0], user="root", dbname=database)
        connection.autocommit = True
        return connection

    def cpu_seconds(self):
        return sum(tree_cpu_seconds(server.pid) for server in self.servers)
