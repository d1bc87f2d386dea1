"""What the benchmarks need of /proc: CPU time, memory and children of servers."""
import os

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def cpu_seconds(pid, reaped=False):
    """User and system time of one process; with `reaped`, of the children that it has waited for as well."""
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    return sum(int(fields[i]) for i in ((11, 12, 13, 14) if reaped else (11, 12))) / TICKS


def tree_cpu_seconds(pid):
    """The process, its children, and the children that it has waited for."""
    return cpu_seconds(pid, reaped=True) + sum(cpu_seconds(child) for child in children(pid))


def rss_mib(pid, which="VmRSS"):
    """VmHWM: the peak."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) / 1024


def pss_mib(root):
    """Memory of a process and its children; what they share counts once."""
    kib = 0
    for pid in (root, *children(root)):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
                kib += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass  # it ends
    return kib / 1024
