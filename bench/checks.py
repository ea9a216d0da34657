"""Counts what worked and what did not, one line for each, and goes on."""
import contextlib
import subprocess


class Mismatch(Exception):
    """Something is not what it must be."""


def require(condition, text):
    if not condition:
        raise Mismatch(text)


class Checks:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    @contextlib.contextmanager
    def part(self, name):
        """A part of the benchmark; the function it gives adds to what is said of it."""
        said = []
        try:
            yield said.append
        except Exception as error:  # whatever it is, the other parts still run
            self.failed += 1
            print('not ok - %s: %s' % (name, explain(error)), flush=True)
        else:
            self.passed += 1
            print('ok - %s' % ': '.join([name] + [', '.join(said)] * bool(said)), flush=True)


def explain(error):
    if isinstance(error, subprocess.CalledProcessError):
        return '%s ended with %d\n%s' % (' '.join(map(str, error.cmd)), error.returncode, error.stderr or '')
    return '%s: %s' % (type(error).__name__, error)
