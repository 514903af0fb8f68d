"""How every bench says what it measured: one JSON line of name, value, unit and, where it helps, facts beside them."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any


def tell(name: str, value: float, unit: str, **facts: Any) -> None:
    """Print one figure."""
    print(json.dumps({"name": name, "value": value, "unit": unit, **facts}), flush=True)


def quantile(sorted_values: list[float], share: float) -> float:
    """The value below which `share` (0..1) of the sorted values lie."""
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def machine() -> dict[str, Any]:
    """CPU model, cores that may be used and interpreter: a figure without them says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = ""
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
    }


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used so far (Linux, proc(5) fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process (Linux, proc(5) statm field 2)."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
