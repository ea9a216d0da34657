"""A private PostgreSQL server: started, asked, timed, stopped."""
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time

# A socket's path has at most 107 bytes: DIR/.s.PGSQL.5432
MAX_SOCKET_DIR = 90

# The same for the extension and for COPY and SQL. Two processes may work for a
# statement, as for everyone here. Commits are flushed to disk.
CONF = {
    'listen_addresses': "''",
    'shared_buffers': '1GB',
    'work_mem': '256MB',
    'maintenance_work_mem': '512MB',
    'max_wal_size': '16GB',
    'min_wal_size': '4GB',
    'checkpoint_timeout': '1h',
    'fsync': 'on',
    'synchronous_commit': 'on',
    'autovacuum': 'off',
    'autovacuum_naptime': '1s',
    'autovacuum_vacuum_cost_delay': '0',
    'jit': 'off',
    'max_parallel_workers_per_gather': '1',
    'max_parallel_maintenance_workers': '1',
}

SETTLE_SECONDS = 900

# What keeps autovacuum busy, by its own conditions.
AUTOVACUUM_DUE = """
SELECT query FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'
UNION ALL
SELECT s.relname
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid,
    LATERAL (SELECT greatest(c.reltuples, 0) AS rows) t
WHERE s.n_dead_tup > current_setting('autovacuum_vacuum_threshold')::int
        + current_setting('autovacuum_vacuum_scale_factor')::float8 * rows
    OR s.n_ins_since_vacuum > current_setting('autovacuum_vacuum_insert_threshold')::int
        + current_setting('autovacuum_vacuum_insert_scale_factor')::float8 * rows
    OR s.n_mod_since_analyze > current_setting('autovacuum_analyze_threshold')::int
        + current_setting('autovacuum_analyze_scale_factor')::float8 * rows
"""

TIME = re.compile(r'^Time: ([0-9.]+) ms', re.MULTILINE)


class ServerError(Exception):
    pass


class Server:
    def __init__(self, bindir, directory):
        self.bindir = bindir
        self.data = os.path.join(directory, 'db')
        self.log = os.path.join(directory, 'server.log')
        self.socket_dir = directory
        self.own_socket_dir = len(directory) > MAX_SOCKET_DIR
        self.autovacuums = False

    def program(self, name, *arguments):
        done = subprocess.run([os.path.join(self.bindir, name), *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise ServerError('%s: %s' % (name, done.stdout.strip()))

    def start(self):
        if self.own_socket_dir:
            self.socket_dir = tempfile.mkdtemp(prefix='eikon_bench.', dir='/tmp')
        self.program('initdb', '-D', self.data, '-U', 'postgres', '-E', 'UTF8', '--no-locale', '-A', 'trust')
        with open(os.path.join(self.data, 'postgresql.conf'), 'a', encoding='utf-8') as conf:
            for name, value in CONF.items():
                conf.write('%s = %s\n' % (name, value))
            conf.write("unix_socket_directories = '%s'\n" % self.socket_dir)
        self.program('pg_ctl', 'start', '-s', '-w', '-t', '60', '-D', self.data, '-l', self.log)
        self.psql('CREATE DATABASE bench', database='postgres')
        self.psql('CREATE EXTENSION eikon_features')

    def stop(self):
        if os.path.exists(os.path.join(self.data, 'postmaster.pid')):
            self.program('pg_ctl', 'stop', '-s', '-w', '-t', '60', '-m', 'immediate', '-D', self.data)
        if self.own_socket_dir and self.socket_dir.startswith('/tmp/eikon_bench.'):
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def psql(self, script, database='bench'):
        """Runs a script in a session of its own and returns what it printed."""
        done = subprocess.run(
            [os.path.join(self.bindir, 'psql'), '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-h', self.socket_dir,
             '-U', 'postgres', '-d', database],
            input=script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(done.stderr.strip())
        return done.stdout.strip()

    def timed(self, script, before='', checkpoint=True):
        """Runs a script; returns the milliseconds of its statements, commits included, and what was printed.

        What stands in before is not timed. A checkpoint comes first, so that no
        statement pays for what an earlier one has written.
        """
        printed = self.psql('%s\n%s\\timing on\n%s' % (before, 'CHECKPOINT;\n' * checkpoint, script))
        times = [float(t) for t in TIME.findall(printed)]
        rows = [line for line in printed.splitlines() if not TIME.match(line)]
        return times, rows

    @contextlib.contextmanager
    def autovacuum(self):
        """It is on meanwhile."""
        self.set_autovacuum('on')
        try:
            self.settle()
            yield
        finally:
            self.set_autovacuum('off')

    def set_autovacuum(self, value):
        self.psql('ALTER SYSTEM SET autovacuum = %s' % value)
        self.psql('SELECT pg_reload_conf()')
        self.autovacuums = value == 'on'

    def settle(self):
        """Waits until autovacuum has nothing to do, where it is on."""
        if not self.autovacuums:
            return
        for _ in range(SETTLE_SECONDS * 10):
            due = self.psql(AUTOVACUUM_DUE)
            if due == '':
                return
            time.sleep(0.1)
        raise ServerError('autovacuum has not ended: %s' % due.replace('\n', ', '))

    def settings(self):
        """The extension's settings that this version of it has."""
        return dict(line.split('=', 1) for line in self.psql(
            "LOAD 'eikon_features';\n"
            "SELECT name || '=' || current_setting(name) FROM pg_settings "
            "WHERE name LIKE 'eikon\\_features.%' ORDER BY name").splitlines())

    def postmaster(self):
        with open(os.path.join(self.data, 'postmaster.pid'), encoding='utf-8') as file:
            return int(file.readline())

    def temporary_files(self):
        """Files in which a run keeps what does not fit into memory."""
        found = []
        for top, _, names in os.walk(os.path.join(self.data, 'base', 'pgsql_tmp')):
            found += [os.path.join(top, name) for name in names]
        return found


def shared_segments():
    """PostgreSQL's shared memory segments of this user that no process has mapped."""
    segments = set()
    for name in os.listdir('/dev/shm') if os.path.isdir('/dev/shm') else []:
        path = os.path.join('/dev/shm', name)
        try:
            if name.startswith('PostgreSQL.') and os.stat(path).st_uid == os.getuid():
                segments.add(path)
        except FileNotFoundError:
            pass
    for pid in os.listdir('/proc') if segments else []:
        if pid.isdigit():
            try:
                with open('/proc/%s/maps' % pid, encoding='utf-8', errors='replace') as maps:
                    segments -= {line.split(None, 5)[-1].strip() for line in maps if '/dev/shm/' in line}
            except OSError:
                pass
    return segments


class Leftovers:
    """What runs leave behind: nothing, within a moment of their end."""

    def __init__(self, server):
        self.server = server
        self.known = shared_segments()

    def now(self):
        return self.server.temporary_files() + sorted(shared_segments() - self.known)

    def require_none(self):
        for _ in range(20):
            found = self.now()
            if not found:
                return
            time.sleep(0.1)
        raise ServerError('left behind: %s' % ', '.join(found))
