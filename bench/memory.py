"""The memory of a server's processes while a statement runs."""
import os
import re
import threading
import time

MAPPING = re.compile(rb'^[0-9a-f]+-[0-9a-f]+ ')

# What the shared buffers look like in a process: anonymous memory that the
# postmaster has shared with its children, in small or in huge pages.
SHARED_BUFFERS = (b'/dev/zero (deleted)', b'/anon_hugepage (deleted)')

SAMPLES_PER_SECOND = 20


def children(parent):
    """The pids of a process's children."""
    found = set()
    for pid in os.listdir('/proc'):
        if pid.isdigit():
            try:
                with open('/proc/%s/stat' % pid, encoding='utf-8', errors='replace') as stat:
                    # the name before it may hold anything, a ")" too
                    if int(stat.read().rpartition(')')[2].split()[1]) == parent:
                        found.add(int(pid))
            except OSError:
                pass
    return found


def resident(pid):
    """Bytes of a process that are in memory, shared buffers left out."""
    total = 0
    counted = False
    with open('/proc/%d/smaps' % pid, 'rb') as smaps:
        for line in smaps:
            if MAPPING.match(line):
                counted = not line.rstrip(b'\n').endswith(SHARED_BUFFERS)
            elif counted and line.startswith(b'Rss:'):
                total += int(line.split()[1]) * 1024
    return total


class Sampler(threading.Thread):
    """Watches the processes that a server starts meanwhile: sessions and their workers."""

    def __init__(self, postmaster):
        super().__init__(daemon=True)
        self.postmaster = postmaster
        self.ignored = children(postmaster)
        self.peaks = {}  # by pid
        self.samples = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            start = time.monotonic()
            for pid in children(self.postmaster) - self.ignored:
                try:
                    self.peaks[pid] = max(self.peaks.get(pid, 0), resident(pid))
                except OSError:
                    pass  # it has ended
            self.samples += 1
            self.ended.wait(max(0.0, 1 / SAMPLES_PER_SECOND - (time.monotonic() - start)))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def peak(self):
        """The largest process's peak, in bytes."""
        if not any(self.peaks.values()):
            raise RuntimeError('the memory of no process was seen')
        return max(self.peaks.values())
