"""What was measured, as numbers, as tables and as a drawing."""
import datetime
import os
import platform
import re
import statistics

import page
import peers
import sources
from days import Ours, Peer
from words import MEGABYTE, count, duration, megabytes

MARGIN = 64 * MEGABYTE  # above work_mem, for everything that does not grow
SMALL_WORK_MEM = '64MB'
SERVER_WORK_MEM = '4MB'  # PostgreSQL's own, for the extension; its default
GROWTH = 11             # at most, for ten times as much

OURS = Ours.name
PEER = Peer.name
CHECKPOINTS = {False: 'no checkpoint since the first load', True: 'right after a checkpoint'}


def memory_setting(text):
    """Bytes of a setting as the server shows it."""
    number, unit = re.fullmatch(r'(\d+)(kB|MB|GB)', text).groups()
    return int(number) << {'kB': 10, 'MB': 20, 'GB': 30}[unit]


def days_name(who, checkpoint):
    return 'normal days, %s%s' % (who, ', after checkpoints' * checkpoint)


class Step:
    """One size of the growing sources."""

    def __init__(self, experiments, size):
        self.experiments = experiments
        self.bytes = size
        self.times = {}    # of derive and load: one for each run
        self.sampled = {}  # of (name, work_mem): milliseconds, bytes

    def median(self, name):
        return statistics.median(self.times[name]) if self.times.get(name) else None


class Row:
    """One line of the result: what, ours, the peer's, how they compare, what is wanted, whether it is so."""

    def __init__(self, what, ours='', peer='', ratio='', wanted='', met=None):
        self.cells = [what, ours, peer, ratio, wanted]
        self.met = met


class Results:
    def __init__(self, options, compared):
        self.options = options
        self.compared = compared
        self.times = {}  # milliseconds by name, one for each round
        self.formulations = []
        self.settings = {}
        self.steps = []
        self.days = {}   # of (who, after checkpoints): for each round a first load and its days
        self.added = 0   # experiments in a day
        self.source_bytes = 0
        self.facts = []
        self.server_work_mem = SERVER_WORK_MEM
        self.load = os.getloadavg()[0]

    def median(self, name):
        return statistics.median(self.times[name]) if self.times.get(name) else None

    def best_duckdb(self):
        timed = [name for name in self.formulations if self.times.get('duckdb ' + name)]
        return min(timed, key=lambda name: self.median('duckdb ' + name), default=None)

    def work_mems(self):
        """The settings of work_mem under which memory is sampled; None is the default."""
        return [None, SMALL_WORK_MEM] if 'eikon_features.work_mem' in self.settings else [None]

    # --- The lines of the result

    def faster(self, what, ours, peer, label, wanted):
        """Ours is to be so many times faster than the peer."""
        a, b = self.median(ours), self.median(peer)
        if a is None or b is None:
            return Row(what, wanted='%g times faster' % wanted if wanted else '')
        return Row(what, duration(a), '%s: %s' % (label, duration(b)), '%.1f times faster' % (b / a),
                   '%g times faster' % wanted if wanted else '', b / a >= wanted if wanted else None)

    def share(self, what, ours, peer, label, wanted):
        """Ours is to take at most that part of the peer's time."""
        a, b = self.median(ours), self.median(peer)
        if a is None or b is None:
            return Row(what, wanted='at most %g of it' % wanted if wanted else '')
        return Row(what, duration(a), '%s: %s' % (label, duration(b)), '%.2f of its time' % (a / b),
                   'at most %g of it' % wanted if wanted else '', a / b <= wanted if wanted else None)

    def below(self, what, ours, wanted):
        a = self.median(ours)
        return Row(what, duration(a) if a is not None else '', wanted='under %g ms' % wanted,
                   met=a < wanted if a is not None else None)

    def comparisons(self):
        best = self.best_duckdb()
        yield self.faster('derive', 'derive plain', 'duckdb %s' % best, 'DuckDB', 4)
        yield self.faster('derive', 'derive plain', 'pandas', 'pandas', None)
        yield self.share('first load', 'load', 'copy answer', 'COPY of the finished rows', 0.8)
        yield self.faster('first load', 'load', 'copy and query', 'COPY and SQL', 15)
        yield self.share('second run, nothing changed, no row written', 'again', 'load', 'first load', 0.5)
        yield from self.normal_days()
        yield self.share('derive, every field quoted', 'derive quoted', 'derive plain', 'plain', 1.3)
        yield self.share('derive, fields separated by comma and tab', 'derive tabbed', 'derive plain', 'plain', 1.3)
        yield self.share('derive, lines ended by CRLF', 'derive crlf', 'derive plain', 'plain', 1.3)
        yield self.share('derive, rows in random order', 'derive shuffled', 'derive plain', 'plain', None)
        yield self.faster('records alone, one core', 'record plain', 'libcsv plain', 'libcsv', 3)
        yield self.faster('records alone, every field quoted', 'record quoted', 'libcsv quoted', 'libcsv', 2)
        yield self.below('derive of 100 experiments', 'derive tiny', 5)
        yield self.below('first load of 100 experiments', 'load tiny', 5)

    # --- The normal days

    def add_days(self, who, checkpoint, steps):
        self.days.setdefault((who, checkpoint), []).append(steps)
        name = days_name(who, checkpoint)
        self.times.setdefault(name + ': first load', []).append(steps[0].ms)
        self.times.setdefault(name + ': days', []).extend(step.ms for step in steps[1:])

    def of_days(self, who, checkpoint, value):
        """The median of what value makes of each day."""
        found = [value(step) for steps in self.days.get((who, checkpoint), []) for step in steps[1:]]
        return statistics.median(found) if found else None

    def grown(self, who, checkpoint):
        """By how much the table has grown when the last day has passed: a median."""
        found = [steps[-1].size / steps[0].size - 1 for steps in self.days.get((who, checkpoint), [])]
        return statistics.median(found) if found else None

    def beside(self, what, value, shown, wanted, limit, checkpoint=False):
        """Ours, which is to be at most the limit, beside what the peer has."""
        a, b = value(OURS, checkpoint), value(PEER, checkpoint)
        return Row(what, shown(a) if a is not None else '', '%s: %s' % (PEER, shown(b)) if b is not None else '',
                   wanted=wanted, met=a <= limit if wanted and a is not None else None)

    def normal_days(self):
        for checkpoint in (False, True):
            what = 'normal day, %s' % CHECKPOINTS[checkpoint]
            ours, peer = (days_name(who, checkpoint) for who in (OURS, PEER))
            yield self.share(what, ours + ': days', ours + ': first load', 'first load', 0.6)
            yield self.share(what, ours + ': days', peer + ': days', PEER, None)
            yield self.beside('WAL for a new experiment, %s' % CHECKPOINTS[checkpoint],
                              lambda *days: self.of_days(*days, lambda step: step.wal / self.added),
                              lambda size: '%.2f kB' % (size / 1024), '' if checkpoint else 'at most 2 kB', 2048, checkpoint)
        yield self.beside('rows written for a new experiment',
                          lambda *days: self.of_days(*days, lambda step: step.rows / self.added),
                          lambda rows: '%.2f' % rows, 'at most 1', 1)
        yield self.beside('growth of the table in %d days' % sources.DAYS, self.grown,
                          lambda share: '%.1f %%' % (100 * share), 'at most 5 %', 0.05)

    def days_table(self):
        def median(steps, value):
            return statistics.median(value(step) for step in steps)

        lines = []
        for (who, checkpoint), rounds in self.days.items():
            for day, steps in enumerate(zip(*rounds)):
                wal = median(steps, lambda step: step.wal)
                size = median(steps, lambda step: step.size)
                growth = statistics.median(steps[day].size / steps[0].size - 1 for steps in rounds)
                lines.append([
                    who, CHECKPOINTS[checkpoint] if day else '', 'day %d' % day if day else 'first load',
                    duration(median(steps, lambda step: step.ms)),
                    '{:,.0f}'.format(median(steps, lambda step: step.rows)),
                    megabytes(wal), '%.2f kB' % (wal / 1024 / self.added) if day else '',
                    '{:,.0f}'.format(median(steps, lambda step: step.images)),
                    megabytes(size), '%+.1f %%' % (100 * growth) if day else ''])
        return ['', 'days', '', 'time', 'rows written', 'WAL', 'for a new experiment', 'full-page images',
                'table and index', 'growth'], lines

    def days_with_checkpoint(self):
        """How many a checkpoint fell into or, where there is to be none since the first load, came before."""
        return sum(step.checkpoint for rounds in self.days.values() for steps in rounds for step in steps)

    def growths(self):
        for small, large in zip(self.steps, self.steps[1:]):
            for name, what in (('derive', 'derive'), ('load', 'first load')):
                a, b = small.median(name), large.median(name)
                if a and b:
                    yield Row('%s of %s experiments' % (what, count(large.experiments)),
                              duration(b), '%s: %s' % (count(small.experiments), duration(a)), '%.1f times as long' % (b / a),
                              'at most %d times' % GROWTH, b / a <= GROWTH)

    def limit(self, work_mem):
        setting = work_mem or self.settings.get('eikon_features.work_mem')
        return memory_setting(setting) + MARGIN if setting else None

    def memories(self):
        for work_mem in self.work_mems():
            peaks = [sampled[1] for step in self.steps for (_, w), sampled in step.sampled.items() if w == work_mem]
            limit = self.limit(work_mem)
            if peaks:
                setting = work_mem or self.settings.get('eikon_features.work_mem', 'as it is')
                yield Row('memory of a process, work_mem %s' % setting, megabytes(max(peaks)),
                          wanted='under %s' % megabytes(limit) if limit else '',
                          met=max(peaks) < limit if limit else None)

    def rows(self):
        rows = [*self.comparisons(), *self.growths(), *self.memories()]
        if self.options.only:
            rows = [row for row in rows if row.cells[1]]
        for row in rows:
            judged = row.met is not None and not self.options.smoke
            row.cells.append({True: 'yes', False: 'no'}[row.met] if judged else '')
        return rows

    def result_table(self):
        return ['', 'ours', 'against', 'ratio', 'wanted', 'met'], [row.cells for row in self.rows()]

    def growth_table(self):
        """Pairs of what derive and the first load take, by size."""
        def pair(values, shown):
            return ', '.join(shown(value) if value else '' for value in values)

        names = ('derive', 'load')
        head = ['experiments', 'files', 'derive, first load', 'memory']
        if len(self.work_mems()) > 1:
            head += ['at work_mem ' + SMALL_WORK_MEM, 'memory']
        lines = []
        for step in self.steps:
            usual, small = [[step.sampled.get((name, work_mem), (None, None)) for name in names]
                            for work_mem in (None, SMALL_WORK_MEM)]
            line = [count(step.experiments), megabytes(step.bytes), pair(map(step.median, names), duration),
                    pair([peak for _, peak in usual], megabytes)]
            if len(self.work_mems()) > 1:
                line += [pair([time for time, _ in small], duration), pair([peak for _, peak in small], megabytes)]
            lines.append(line)
        return head, lines

    def times_table(self):
        lines = []
        for name, times in self.times.items():
            lines.append([page.NAMES.get(name, name), duration(statistics.median(times)), duration(min(times)),
                          duration(max(times)), str(len(times))])
        return ['what', 'median', 'fastest', 'slowest', 'runs'], lines

    # --- What it was measured on

    def versions(self, server):
        def first_line(*command):
            return peers.output(*command).splitlines()[0]

        def proc(path, pattern):
            with open(path, encoding='utf-8') as file:
                found = re.search(pattern, file.read(), re.MULTILINE)
            return found.group(1) if found else platform.machine()

        self.facts = [
            ('processor', '%s, %d cores used' % (proc('/proc/cpuinfo', r'^model name\s*: (.*)$'),
                                                 len(os.sched_getaffinity(0)))),
            ('others at work', 'load average %.1f at the start' % self.load),
            ('memory', '%.0f GB' % (int(proc('/proc/meminfo', r'^MemTotal: *(\d+) kB')) / (1 << 20))),
            ('kernel', 'Linux ' + platform.release()),
            ('PostgreSQL', server.psql('SHOW server_version')),
            ('DuckDB', '%s, Node.js %s' % (peers.duckdb_version().lstrip('v'), first_line('node', '--version').lstrip('v'))),
            ('pandas', '%s, Python %s' % (peers.pandas_version(), platform.python_version())),
            ('compiler', first_line('gcc', '--version')),
            ('eikon_features', self.options.commit),
            ('date', datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d')),
        ]

    # --- Output

    def text(self):
        tables = [self.result_table()]
        if self.days:
            tables.append(self.days_table())
        if self.steps:
            tables.append(self.growth_table())
        return '\n' + '\n\n'.join(page.text_table(*table) for table in tables) + '\n'

    def draw(self, directory):
        """scaling.svg: time and memory against size."""
        data = os.path.join(directory, 'scaling.data')
        with open(data, 'w', encoding='utf-8') as file:
            for step in self.steps:
                values = [step.experiments / 1e6, *((step.median(name) or float('nan')) / 1000 for name in ('derive', 'load'))]
                for work_mem in (None, SMALL_WORK_MEM):
                    for name in ('derive', 'load'):
                        sampled = step.sampled.get((name, work_mem))
                        values.append(sampled[1] / MEGABYTE if sampled else float('nan'))
                file.write(' '.join('%g' % value for value in values) + '\n')
        peers.output('gnuplot', '-e', "data = '%s'; drawing = '%s'; settings = %d" % (
            data, os.path.join(directory, 'scaling.svg'), len(self.work_mems())),
            os.path.join(peers.HERE, 'scaling.gnuplot'))
        os.unlink(data)

    def write(self, directory):
        self.draw(directory)
        with open(os.path.join(directory, 'RESULTS.md'), 'w', encoding='utf-8') as file:
            file.write(page.render(self))
