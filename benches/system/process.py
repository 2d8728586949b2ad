"""What a process has used, read from /proc."""

import os
import resource
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Process:
    def __init__(self, pid: int):
        self.directory = Path(f"/proc/{pid}")

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, in steps of one tick (10 ms)."""
        # The name, in parentheses, may hold blanks: fields are counted behind it (proc(5)).
        fields = (self.directory / "stat").read_text().rpartition(")")[2].split()
        utime, stime = fields[11:13]
        return (int(utime) + int(stime)) / TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        return self._status_bytes("VmRSS")

    def peak_resident_bytes(self) -> int:
        return self._status_bytes("VmHWM")

    def reset_peak(self) -> None:
        """Makes the peak the present value (proc(5), clear_refs)."""
        (self.directory / "clear_refs").write_text("5")

    def _status_bytes(self, field: str) -> int:
        for line in (self.directory / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value.split()[0]) * 1024
        raise KeyError(field)


def children_cpu_seconds() -> float:
    """User and system time of all programs that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
