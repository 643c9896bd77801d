"""Worker processes end with the process they work for."""

import os
import signal
import subprocess
import sys
import time

# The parent waits for ever with its workers' pipe full: the second batch does not fit into it.
PARENT = """
import time
import numpy as np
from torch.utils.data import DataLoader
from hume_ssl.workers import begin_worker

loader = iter(DataLoader(
    range(100), batch_size=None, num_workers=1, collate_fn=lambda i: np.zeros(1 << 20), worker_init_fn=begin_worker
))
next(loader)
print(loader._workers[0].pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"  # one that nobody has waited for is dead as well


def test_a_worker_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        worker = int(parent.stdout.readline())
        assert alive(worker)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(worker)
