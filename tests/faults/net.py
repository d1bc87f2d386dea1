"""Network namespaces for the fault tests: one for each node, joined by a bridge in the test's own. Everything lives in
private network, mount and process namespaces (see enter()), so nothing outside is touched and nothing is left behind."""
import os
import shutil
import subprocess
import sys

CLIENT = "10.77.0.1"


def enter():
    """Runs this program again in namespaces of its own. Returns only there, or the reason why it cannot be done."""
    if os.environ.get("OUTLAST_FAULTS_INSIDE") == "1":
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        os.mkdir("/run/netns")
        run("ip link set lo up")
        return None
    for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            return f"{tool} is missing (Debian package {package})"
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        return "this user may not make network namespaces: run the suite as root"
    os.environ["OUTLAST_FAULTS_INSIDE"] = "1"
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


def run(command, **options):
    return subprocess.run(command.split() if isinstance(command, str) else command, check=True, **options)


class Network:
    """Hosts by name, such as "n1" or "e1"; address(name) reaches each from everywhere until it is cut."""

    def __init__(self):
        self.addresses = {}
        run("ip link add bridge0 type bridge")
        run(f"ip addr add {CLIENT}/24 dev bridge0")
        run("ip link set bridge0 up")

    def add(self, host):
        self.addresses[host] = f"10.77.0.{10 + len(self.addresses)}"
        run(f"ip netns add {host}")
        run(f"ip link add v-{host} type veth peer name eth0 netns {host}")
        run(f"ip link set v-{host} master bridge0 up")
        for command in ("ip link set lo up", f"ip addr add {self.addresses[host]}/24 dev eth0", "ip link set eth0 up",
                        "nft add table ip faults",
                        "nft add chain ip faults in { type filter hook input priority 0 ; }"):
            run(self.inside(host) + command.split())

    def inside(self, host):
        """What to put before a command to run it on the host."""
        return ["nsenter", f"--net=/run/netns/{host}"]

    def address(self, host):
        return self.addresses[host]

    def _drop(self, source, target, what):
        run(self.inside(target) + f"nft add rule ip faults in ip saddr {self.address(source)} {what} drop".split())

    def cut(self, a, b):
        self.cut_one_way(a, b)
        self.cut_one_way(b, a)

    def cut_one_way(self, source, target):
        """What `source` sends no longer reaches `target`. Silently, as a firewall or a broken switch does it."""
        self._drop(source, target, "")

    def lose(self, a, b, percent):
        """So many packets between the two are lost."""
        for source, target in ((a, b), (b, a)):
            self._drop(source, target, f"numgen random mod 100 < {percent}")

    def delay(self, host, rate="512kbit", limit_ms=150):
        """Everything that the host sends passes a link so slow that packets queue for up to limit_ms."""
        run(self.inside(host) + f"tc qdisc replace dev eth0 root tbf rate {rate} burst 4kb latency {limit_ms}ms".split())

    def heal(self):
        for host in self.addresses:
            run(self.inside(host) + "nft flush chain ip faults in".split())
            subprocess.run(self.inside(host) + "tc qdisc del dev eth0 root".split(), stderr=subprocess.DEVNULL)
