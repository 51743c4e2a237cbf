"""Opens and closes one model many times in a process of its own, and tells what that process keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMES, WARM_UP = 1000, 50
#: Memory in bytes that all the times after the warm-up together may keep; docs/runtimes.md has what was measured.
BOUND = 4 << 20

PROGRAM = """
import json, os, resource, sys
import numpy as np
from dsrfau_edge.bundle import Bundle
from dsrfau_edge.runtimes.base import SessionOptions
from dsrfau_edge.runtimes.registry import runtimes

folder, name, times, warm_up = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
runtime, model = runtimes()[name], Bundle.open(folder).model_files()
crops = np.zeros((1, model.input_size, model.input_size, 3), np.uint8)

def state():
    pages = int(open("/proc/self/statm").read().split()[1])
    tasks, files = os.listdir("/proc/self/task"), os.listdir("/proc/self/fd")
    return {"memory": pages * resource.getpagesize(), "files": len(files), "threads": len(tasks)}

def once():
    session = runtime.load(model, None, SessionOptions(threads=1))
    session.infer(crops)
    session.close()

for _ in range(warm_up):
    once()
before = state()
for _ in range(times - warm_up):
    once()
print(json.dumps([before, state()]))
"""


@dataclass(frozen=True)
class Growth:
    """What the process holds more than after the warm-up."""

    memory: int
    files: int
    threads: int


def growth(bundle: Path, runtime: str, folder: Path) -> Growth:
    """Open, use and close a bundle's model `TIMES` times, in a process whose working folder is `folder`."""
    command = [sys.executable, "-c", PROGRAM, str(bundle), runtime, str(TIMES), str(WARM_UP)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout.splitlines()[-1])
    return Growth(**{name: after[name] - before[name] for name in before})
