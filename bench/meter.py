"""What processes use: CPU seconds and memory, from /proc. Robust on a machine that does other things too, unlike the clock."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """The fields behind the command's name: the state is the first."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def cpu_seconds(pid, is_family=False):
    """CPU time of a process; of a family: with its children, also those that ended."""
    fields = _stat(pid)
    ticks = int(fields[11]) + int(fields[12])
    if is_family:
        ticks += int(fields[13]) + int(fields[14])
        for child in filter(str.isdigit, os.listdir("/proc")):
            try:
                its = _stat(child)
            except OSError:
                continue
            if int(its[1]) == pid:
                ticks += int(its[11]) + int(its[12])
    return ticks / TICKS


def status_bytes(pid, name):
    """A size in /proc/PID/status, such as VmHWM (the peak of the resident memory)."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak(pid):
    """Let VmHWM begin anew."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


class Meter:
    """CPU time of named processes since the meter was made."""

    def __init__(self, **pids):
        self.pids = pids
        self.began = self._now()

    def _now(self):
        return {name: cpu_seconds(pid, name == "postgres") for name, pid in self.pids.items()}

    def microseconds(self, n_messages):
        """Of each process, for each of so many messages."""
        now = self._now()
        return {name: round((now[name] - self.began[name]) * 1e6 / n_messages, 1) for name in now}
