"""Measures eikon_features against its peers; run.sh says how it is called.

First everyone's answers are compared, then everyone is timed, in rounds, so that
a machine that is slower for a while is so for all. Then sources of growing size
are timed, and the memory that they take is sampled.
"""
import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import sys

import memory
import peers
import report
import sources
from checks import Checks, Mismatch, require
from days import EMPTY, Days, copied, etl, sql
from server import Leftovers, Server, ServerError
from words import count, duration, megabytes

CORES = 2
PARALLEL_WORKERS = 'eikon_features.parallel_workers'
COMPARED_AT_MOST = 10_000_000
TINY = 100         # experiments
TINY_RUNS = 21     # the first of them is not counted


def derive(source):
    return "SELECT count(*) FROM eikon_derive_features('%s');" % source


class Bench:
    def __init__(self, options):
        self.options = options
        self.checks = Checks()
        self.server = Server(options.bin, options.work)
        self.sources = sources.Sources(options.data, os.path.join(options.tools, 'generate'))
        self.leftovers = None
        self.days = None
        self.compared = min(options.experiments, COMPARED_AT_MOST)
        self.users = self.compared // 10
        self.results = report.Results(options, self.compared)
        if self.results.load > 0.5 and not options.smoke:
            print('The machine is busy (load average %.1f): the times will say less' % self.results.load)

    def file(self, name):
        return os.path.join(self.options.work, name)

    # --- Asking ours

    def settings(self, work_mem=None):
        """Two processes at most work for a run, the session's and one more.

        PostgreSQL's own work_mem, within which it keeps derive's result, is its
        default: beyond it the result goes through a temporary file, which is
        quicker to write than as much memory is to get.
        """
        script = "LOAD 'eikon_features';\nSET work_mem = '%s';\n" % report.SERVER_WORK_MEM
        if PARALLEL_WORKERS in self.results.settings:
            script += 'SET %s = %d;\n' % (PARALLEL_WORKERS, CORES - 1)
        if work_mem:
            script += "SET eikon_features.work_mem = '%s';\n" % work_mem
        return script

    def wanted(self, name):
        """Whether ONLY= selects it."""
        return re.search(self.options.only, name)

    def ours(self, script, before=''):
        times, rows = self.server.timed(script, self.settings() + before)
        self.leftovers.require_none()
        return sum(times), rows

    def time(self, name, milliseconds):
        self.results.times.setdefault(name, []).append(milliseconds)
        return duration(milliseconds)

    # --- Sources and answers

    def generate(self):
        first, second = self.file('first'), self.file('second')
        for directory in (first, second):
            self.sources.generate(directory, 1000, '--order', 'shuffled')
        for name in sources.FILES:
            with open(os.path.join(first, name), 'rb') as one, open(os.path.join(second, name), 'rb') as other:
                require(one.read() == other.read(), '%s is not the same twice' % name)
        for shape in sources.SHAPES:
            sources.warm(self.sources.shape(shape, self.compared))
        for day in range(1, sources.DAYS + 1):
            sources.warm(os.path.dirname(self.sources.day(day, self.compared)))
        self.results.source_bytes = sources.size(self.sources.shape('plain', self.compared))

    def first_answer(self):
        _, rows = self.ours(etl(self.plain()), EMPTY)
        require(rows == ['%d|0|0|0' % self.users], 'the first load gave %s' % rows)
        self.server.psql("COPY eikon_user_features TO '%s'" % self.file('answer.txt'))

    def plain(self):
        return self.sources.shape('plain', self.compared)

    def same_derived(self, shape):
        """eikon_derive_features gives what is in features."""
        rows = self.server.psql(
            "%s SELECT count(*), (SELECT count(*) FROM features) FROM (SELECT * FROM eikon_derive_features('%s') "
            'INTERSECT SELECT * FROM features) AS same' % (self.settings(), self.sources.shape(shape, self.compared)))
        require(rows == '%d|%d' % (self.users, self.users), 'the same rows, of how many: %s' % rows)

    def same_as(self, answer):
        """A relation with the columns of features holds what is in features."""
        differing = self.server.psql('\\set answer %s\n%s' % (answer, sql('differences.sql')))
        require(differing == '0', '%s users have other features' % differing)

    def load_answer(self, path):
        self.server.psql("TRUNCATE answer_rows; COPY answer_rows FROM '%s' (FORMAT csv)" % path)
        os.unlink(path)
        self.same_as('answer_rows')

    def load_duckdb(self, formulation):
        path = self.file('answer.duckdb')
        peers.duckdb(self.plain(), formulation, path)
        self.load_answer(path)

    def load_pandas(self):
        path = self.file('answer.pandas')
        peers.pandas(self.plain(), path)
        self.load_answer(path)

    def copy_and_query(self):
        return sum(self.server.timed(sql('copy_and_query.sql'), sql('empty.sql') + copied(self.plain()))[0])

    def same_copied(self):
        self.copy_and_query()
        self.same_as('answer_features')

    def same_days(self):
        with self.nights():
            self.days.compare(lambda: self.same_as('answer_features'))
        self.leftovers.require_none()

    @contextlib.contextmanager
    def nights(self):
        """Autovacuum is on meanwhile; it finds no work that others have left."""
        self.server.psql(EMPTY + sql('empty.sql') + 'TRUNCATE answer_rows;')
        with self.server.autovacuum():
            yield

    def comparisons(self):
        for shape in sources.SHAPES:
            yield 'derive, %s files' % shape, lambda s=shape: self.same_derived(s)
        yield 'COPY and SQL', self.same_copied
        for formulation in self.results.formulations:
            yield 'DuckDB by ' + formulation, lambda f=formulation: self.load_duckdb(f)
        yield 'pandas', self.load_pandas
        yield 'normal days', self.same_days

    def answers(self):
        with self.checks.part('first load'):
            self.first_answer()
        for name, compare in self.comparisons():
            if self.wanted(name):
                with self.checks.part('same features, ' + name):
                    compare()

    # --- Rounds

    def time_derive(self, shape='plain'):
        ms, rows = self.ours(derive(self.sources.shape(shape, self.compared)))
        require(rows == [str(self.users)], '%s rows' % rows)
        return self.time('derive ' + shape, ms)

    def time_duckdb(self, formulation):
        return self.time('duckdb ' + formulation, peers.time_duckdb(self.plain(), formulation, self.users))

    def time_pandas(self):
        return self.time('pandas', peers.time_pandas(self.plain(), self.users))

    def time_load(self):
        ms, rows = self.ours(etl(self.plain()), EMPTY)
        require(rows == ['%d|0|0|0' % self.users], 'the first load gave %s' % rows)
        return self.time('load', ms)

    def written_since(self, transaction):
        return int(self.server.psql(
            'SELECT count(*) FROM eikon_user_features WHERE xmin::text::bigint >= %s' % transaction))

    def time_again(self):
        """A run over what is in features already."""
        before = self.server.psql('SELECT pg_current_xact_id()')
        ms, rows = self.ours(etl(self.plain()))
        require(rows == ['0|0|0|%d' % self.users], 'the run gave %s' % rows)
        written = self.written_since(before)
        require(written == 0, '%d rows were written' % written)
        return self.time('again', ms) + ', no row written'

    def time_days(self, who, checkpoint):
        """A first load and the days after it, each right after a checkpoint or without any since the load."""
        with self.nights():
            steps = self.days.all_days(who, checkpoint)
        self.leftovers.require_none()
        self.results.add_days(who.name, checkpoint, steps)
        return 'first load %s, days %s' % (duration(steps[0].ms), ', '.join(duration(step.ms) for step in steps[1:]))

    def time_copy_answer(self):
        times, _ = self.server.timed("COPY answer FROM '%s';" % self.file('answer.txt'), sql('empty.sql'))
        return self.time('copy answer', sum(times))

    def time_copy_and_query(self):
        return self.time('copy and query', self.copy_and_query())

    def time_record(self, shape):
        ours, libcsv = peers.time_records(os.path.join(self.options.tools, 'record'),
                                          os.path.join(self.sources.shape(shape, self.compared), sources.FILES[2]))
        return '%s, libcsv %s' % (self.time('record ' + shape, ours), self.time('libcsv ' + shape, libcsv))

    def measures(self):
        """What is timed in a round, in this order: what a run finds is what the one before has left."""
        yield 'derive', self.time_derive
        for formulation in self.results.formulations:
            yield 'DuckDB by ' + formulation, lambda f=formulation: self.time_duckdb(f)
        yield 'pandas', self.time_pandas
        for shape in list(sources.SHAPES)[1:]:
            yield 'derive, %s files' % shape, lambda s=shape: self.time_derive(s)
        yield 'first load', self.time_load
        yield 'second run, nothing changed', self.time_again
        for who in (self.days.ours, self.days.peer):
            for checkpoint in (False, True):
                yield report.days_name(who.name, checkpoint), lambda w=who, c=checkpoint: self.time_days(w, c)
        yield 'COPY of the finished rows', self.time_copy_answer
        yield 'COPY and SQL', self.time_copy_and_query
        for shape in ('plain', 'quoted'):
            yield 'records alone, ' + shape, lambda s=shape: self.time_record(s)

    def rounds(self):
        for turn in range(1, self.options.runs + 1):
            for name, measure in self.measures():
                if self.wanted(name):
                    with self.checks.part('round %d, %s' % (turn, name)) as say:
                        say(measure())

    # --- Small sources

    def tiny(self, name, statement, before='', after=''):
        """A statement many times in one session; only the server's work counts, not its start."""
        once = '\\timing off\n%s\n\\timing on\n%s\n\\timing off\n%s\n' % (before, statement, after)
        times, _ = self.server.timed(once * TINY_RUNS, self.settings())
        self.leftovers.require_none()
        require(len(times) == TINY_RUNS, '%d times' % len(times))
        self.results.times[name] = times[1:]
        return duration(statistics.median(times[1:]))

    def tinies(self):
        source = self.sources.shape('plain', TINY)
        with self.checks.part('derive, %d rows' % TINY) as say:
            say(self.tiny('derive tiny', derive(source)))
        with self.checks.part('first load, %d rows' % TINY) as say:
            say(self.tiny('load tiny', etl(source),
                          'BEGIN; TRUNCATE eikon_user_features, eikon_totals, eikon_compounds;', 'ROLLBACK;'))

    # --- Growth

    def sampled(self, script, before, work_mem):
        """Milliseconds, and the peak of the process that took most memory."""
        with memory.Sampler(self.server.postmaster()) as sampler:
            # a short run is seen before its session ends
            times, _ = self.server.timed(script + '\n\\timing off\nSELECT pg_sleep(0.3);',
                                         self.settings(work_mem) + before)
        self.leftovers.require_none()
        return sum(times), sampler.peak()

    def grow(self, experiments):
        source = self.sources.shape('plain', experiments)
        sources.warm(source)
        step = report.Step(experiments, sources.size(source))
        self.results.steps.append(step)
        statements = {'derive': (derive(source), ''), 'load': (etl(source), EMPTY)}
        for name, (script, before) in statements.items():
            with self.checks.part('%s experiments, %s' % (count(experiments), name)) as say:
                step.times[name] = [self.ours(script, before)[0] for _ in range(self.options.runs)]
                say(duration(statistics.median(step.times[name])))
        for work_mem in self.results.work_mems():
            for name, (script, before) in statements.items():
                label = '%s experiments, memory of %s%s' % (
                    count(experiments), name, ' at ' + work_mem if work_mem else '')
                with self.checks.part(label) as say:
                    step.sampled[name, work_mem] = self.sampled(script, before, work_mem)
                    say(megabytes(step.sampled[name, work_mem][1]))
        self.server.psql(EMPTY)

    def scaling(self):
        for experiments in self.options.sizes:
            self.grow(experiments)

    # --- All of it

    def prepare(self):
        with self.checks.part('sources'):
            self.generate()
        with self.checks.part('DuckDB') as say:
            self.results.formulations = peers.duckdb_formulations()
            say(peers.duckdb_version())
        self.server.start()
        self.leftovers = Leftovers(self.server)
        self.results.settings = self.server.settings()
        if PARALLEL_WORKERS in self.results.settings:
            self.results.settings[PARALLEL_WORKERS] = str(CORES - 1)
        self.server.psql(sql('staging.sql'))
        self.days = Days(self.server, self.settings(), self.sources, self.compared)
        self.results.added = self.days.added()

    def the_rest(self):
        """What is measured once, after the rounds."""
        self.tinies()
        self.server.psql('DROP TABLE answer, answer_rows, staged_users, staged_experiments, staged_compounds CASCADE')
        for name in list(sources.SHAPES)[1:] + sources.day_names():
            if not self.options.keep:
                self.sources.forget(name, self.compared)
        self.scaling()
        with self.checks.part('report'):
            self.results.versions(self.server)
            self.results.write(self.options.out)

    def run(self):
        try:
            self.prepare()
            self.answers()
            self.rounds()
            if not self.options.only:
                self.the_rest()
        finally:
            self.server.stop()
        print(self.results.text())
        print('%d passed, %d failed' % (self.checks.passed, self.checks.failed))
        return self.checks.failed == 0


def growing_sizes(experiments, smallest):
    sizes = [experiments]
    while sizes[0] >= 10 * smallest:
        sizes.insert(0, sizes[0] // 10)
    return sizes


def require_disk(options):
    """The files, the tables and the write-ahead log, roughly."""
    compared = min(options.experiments, COMPARED_AT_MOST)
    needed = 700 * compared + 150 * options.experiments + (6 << 30) * (not options.smoke)
    for directory in (options.data, options.work):
        free = shutil.disk_usage(directory).free
        require(free >= needed, 'needs about %d GB of disk, and %d GB are free' % (needed >> 30, free >> 30))


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument('--work', required=True, help='directory for the server and what it is given')
    parser.add_argument('--bin', required=True, help="the server's programs, with the extension installed")
    parser.add_argument('--tools', required=True, help='directory of generate and record')
    parser.add_argument('--data', required=True, help='directory of the generated sources')
    parser.add_argument('--out', required=True, help='directory of RESULTS.md and scaling.svg')
    parser.add_argument('--experiments', type=int, required=True)
    parser.add_argument('--runs', type=int, required=True)
    parser.add_argument('--only', default='', help='a regular expression: only measures whose names it matches; no report')
    parser.add_argument('--commit', default='unknown')
    parser.add_argument('--smoke', action='store_true', help='only whether everything works')
    parser.add_argument('--keep', action='store_true', help='keep the generated sources')
    options = parser.parse_args()
    options.sizes = growing_sizes(options.experiments, 1000 if options.smoke else 100_000)
    return options


def ended(signum, _):
    sys.exit(128 + signum)


def main():
    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGHUP, ended)
    options = parse()
    # everyone gets the same cores
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    try:
        require_disk(options)
        good = Bench(options).run()
    except (ServerError, Mismatch) as error:
        print('bench: %s' % error, file=sys.stderr)
        good = False
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
