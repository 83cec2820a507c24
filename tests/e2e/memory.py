"""What a process takes: its memory at the most, and its processor time."""

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Memory:
    """What one process has, and the most it had since it was last asked to forget that."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def forget(self) -> int:
        (self._folder / "clear_refs").write_text("5")
        return self._bytes("VmRSS")

    def peak(self) -> int:
        return self._bytes("VmHWM")

    def cpu_s(self) -> float:
        """User and system time since its start."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def _bytes(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
