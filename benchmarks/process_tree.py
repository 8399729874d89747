"""What a command and all the processes it starts cost: time, CPU, memory."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

LOOK_S = 0.2
MEMORY_EVERY = 5
"""Looks between two measurements of memory, which take longer."""


@dataclass(frozen=True)
class Cost:
    """Of a command.

    Attributes:
        wall_s: seconds by the clock.
        cpu_s: CPU-seconds of all its processes, as last seen of each.
        start_s: seconds until ``has_begun``; None if it never did.
        peak_mib: most memory that was its own at one time (USS, so shared pages do not count).
    """

    wall_s: float
    cpu_s: float
    start_s: float | None
    peak_mib: float


def cost_of(command: Sequence[str], has_begun: Callable[[], bool]) -> Cost:
    """Run a command and measure it with its descendants.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    root, cpu, start, peak = psutil.Process(process.pid), dict[int, float](), None, 0.0
    looks = 0
    while process.poll() is None:
        memory = 0.0
        for one in _tree(root):
            try:
                times = one.cpu_times()
                cpu[one.pid] = times.user + times.system
                if looks % MEMORY_EVERY == 0:
                    memory += one.memory_full_info().uss / 2**20
            except psutil.Error:
                continue
        peak, looks = max(peak, memory), looks + 1
        if start is None and has_begun():
            start = time.monotonic() - begun
        time.sleep(LOOK_S)
    wall, output = time.monotonic() - begun, process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{output}")
    return Cost(wall, sum(cpu.values()), start, peak)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
