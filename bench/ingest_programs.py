"""What takes records in: Outlast, rsyslog and syslog-ng, each as processes of its own in a folder of its own, on free ports
of loopback, from its input into one file. Nothing of the system's own services is touched."""
import glob
import os
import re
import signal
import subprocess
import sys
import time

from local_cluster import BINARY, Cluster, free_port, wait_until
from processes import cpu_seconds, pss_mib, tree_cpu_seconds
from restart import restart

KINDS = ("udp", "tcp", "octets", "http")
BUFFER = 32 << 20  # receive buffer of the peers' UDP sockets, bytes; Outlast sizes its own
UNPACKED = "build/unpacked"  # by ./dev: Debian's packages of the two exclude each other, so nothing is installed

OUTLAST = """[[input]]
type = "udp"
listen = "udp://127.0.0.1:{udp}"
[[input]]
type = "tcp"
listen = "tcp://127.0.0.1:{tcp}"
[[input]]
type = "syslog"
listen = "tcp://127.0.0.1:{octets}"
[[input]]
type = "http"
listen = "http://127.0.0.1:{http}"
ack = "buffered"
[[sink]]
type = "file"
path = "{file}"
[sink.buffer]
"""
RSYSLOG = """global(workDirectory="{dir}")
main_queue(queue.size="500000" queue.dequeueBatchSize="1024")
module(load="imudp" batchSize="128")
module(load="imtcp")
template(name="line" type="string" string="{time}%rawmsg%\\n")
input(type="imudp" address="127.0.0.1" port="{udp}" rcvbufSize="{buffer}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{octets}" ruleset="all")
ruleset(name="all") {{ action(type="omfile" file="{file}" template="line" ioBufferSize="64k") }}
"""
SYSLOG_NG = """@version: {version}
options {{ stats-freq(0); log-fifo-size(500000); }};
source datagrams {{ network(ip("127.0.0.1") port({udp}) transport("udp") so-rcvbuf({buffer}) flags(no-parse)); }};
source streams {{
  network(ip("127.0.0.1") port({tcp}) transport("tcp") log-fetch-limit(1000) log-iw-size(100000) flags(no-parse));
  syslog(ip("127.0.0.1") port({octets}) transport("tcp") log-fetch-limit(1000) log-iw-size(100000) flags(no-parse));
}};
destination file {{ file("{file}" template("{time}$MSG\\n") flush-lines(1000) frac-digits(6)); }};
log {{ source(datagrams); destination(file); }};
log {{ source(streams); destination(file); flags(flow-control); }};
"""


class Outlast:
    """A node of its own with an embedded metadata store."""

    name = "Outlast"

    def __init__(self, folder, buffer='flush_interval = "1s"', times=False):
        del times  # its receipts say how long nobody read
        self.ports, self.file = {kind: free_port() for kind in KINDS}, f"{folder}/out"
        path = f"{folder}/node.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(OUTLAST.format(file=self.file, **self.ports) + buffer.format(dir=folder))
        self.cluster = Cluster(1, own={0: [f"--config={path}"]})

    @staticmethod
    def version():
        done = subprocess.run([BINARY, "version"], stdout=subprocess.PIPE, text=True, check=False).stdout
        return (re.search(r"\d+\.\d+\.\d+", done) or ["?"])[0]

    def __enter__(self):
        self.cluster.__enter__()
        return self

    def __exit__(self, *_):
        self.cluster.__exit__()

    def _supervisor(self):
        return self.cluster.processes[0]

    def cpu_seconds(self):
        return tree_cpu_seconds(self._supervisor().pid)

    def memory_mib(self):
        return pss_mib(self._supervisor().pid)

    def restart(self):
        return restart(self.cluster, 0)["inputs"]

    def kill(self):
        killed = self.cluster.kill_worker(0)
        self.cluster.wait_ready(0, killed)

    def stop(self):
        """What it has goes to the file first."""
        self._supervisor().send_signal(signal.SIGTERM)
        self._supervisor().wait(60)


class Peer:
    """`times`: each line begins with when its record was received."""

    def __init__(self, folder, buffer="", times=False):
        del buffer
        self.folder, self.file, self.times = folder, f"{folder}/out", times
        self.ports = {kind: free_port() for kind in KINDS if kind != "http"}
        self.process, self.ended_cpu = None, 0.0

    @classmethod
    def path(cls):
        return os.path.abspath(f"{UNPACKED}/{cls.package}/usr/sbin/{cls.program}")

    @classmethod
    def libraries(cls, *below):
        return glob.glob("/".join((os.path.abspath(f"{UNPACKED}/{cls.package}/usr/lib"), *below)))

    @classmethod
    def environment(cls):
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(cls.libraries("*"))}

    @classmethod
    def version(cls):
        done = subprocess.run([cls.path(), cls.tells_version], stdout=subprocess.PIPE, env=cls.environment(), text=True,
                              check=False).stdout
        return (re.search(r"\d+\.\d+(\.\d+)?", done) or ["?"])[0]

    def __enter__(self):
        self._start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _start(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.words()], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.environment())
        wait_until(self.name, 20, lambda: listens("udp", self.ports["udp"]) and listens("tcp", self.ports["octets"]), 0.005)

    def _end(self, how):
        self.ended_cpu += cpu_seconds(self.process.pid)
        self.process.send_signal(how)
        self.process.wait(60)

    def cpu_seconds(self):
        return self.ended_cpu + cpu_seconds(self.process.pid)

    def memory_mib(self):
        return pss_mib(self.process.pid)

    def restart(self):
        self._end(signal.SIGTERM)
        self._start()
        return {}

    def kill(self):
        """systemd starts it again after 100 ms."""
        self._end(signal.SIGKILL)
        time.sleep(0.1)
        self._start()

    def stop(self):
        self._end(signal.SIGTERM)

    def configure(self, text, **more):
        path = f"{self.folder}/{self.name}.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.format(dir=self.folder, file=self.file, buffer=BUFFER, **self.ports, **more))
        return path


class Rsyslog(Peer):
    name, package, program, tells_version = "rsyslog", "rsyslog", "rsyslogd", "-v"

    def words(self):
        path = self.configure(RSYSLOG, time="%timegenerated:::date-rfc3339% " if self.times else "")
        return [self.path(), "-n", "-f", path, "-i", f"{self.folder}/pid", "-M", *self.libraries("*", "rsyslog")]


class SyslogNg(Peer):
    name, package, program, tells_version = "syslog-ng", "syslog-ng-core", "syslog-ng", "-V"

    def words(self):
        path = self.configure(SYSLOG_NG, version=".".join(self.version().split(".")[:2]),
                              time="$R_ISODATE " if self.times else "")
        return [self.path(), "-F", "--no-caps", "-f", path, "--persist-file", f"{self.folder}/persist", "-p",
                f"{self.folder}/pid", "-c", f"{self.folder}/ctl", "--module-path", *self.libraries("syslog-ng", "[0-9]*")]


def listens(kind, port):
    with open(f"/proc/net/{kind}", encoding="utf-8") as table:
        return f":{port:04X} " in table.read()


def programs():
    """All that there are; says which is not."""
    found = [Outlast]
    for peer in (Rsyslog, SyslogNg):
        if os.path.exists(peer.path()):
            found.append(peer)
        else:
            print(f"{peer.name} is left out: there is no {peer.path()}; ./dev bench ingest unpacks it there", file=sys.stderr)
    return found
