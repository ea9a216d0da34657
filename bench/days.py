"""The normal day: a source that was loaded yesterday has one more small part today.

After a first load come days, each with a part of its own. Ours runs over the whole
source again; its peer copies the part into tables that hold the files' rows already,
and brings the rows of the part's users up to date.

Between the days is a night: autovacuum does what is due.
"""
import os

import peers
import sources
from checks import require

EMPTY = 'TRUNCATE eikon_user_features, eikon_totals, eikon_compounds, eikon_runs, eikon_rejects;'
COUNTS = 'rows_inserted, rows_updated, rows_deleted, rows_unchanged'

# Asked in the session of what is measured, which has added its own to them by then.
COUNTERS = ("SELECT pg_current_wal_lsn() - '0/0', wal_fpi, redo_lsn - '0/0', pg_snapshot_xmax(pg_current_snapshot())\n"
            'FROM pg_stat_wal, pg_control_checkpoint();\n')
FLUSH_COUNTERS = 'SELECT pg_stat_force_next_flush();\n'


def etl(source):
    return "SELECT %s FROM eikon_run_etl('%s');" % (COUNTS, source)


def sql(name):
    with open(os.path.join(peers.HERE, 'sql', name), encoding='utf-8') as file:
        return file.read()


def copied(directory, experiments=sources.FILES[2]):
    """psql's variables for the paths that COPY reads."""
    return ''.join("\\set %s '%s'\n" % (variable, os.path.join(directory, name))
                   for variable, name in zip(('users', 'compounds', 'experiments'), (*sources.FILES[:2], experiments)))


class Ours:
    name = 'ours'
    table = 'eikon_user_features'
    empty = EMPTY

    def __init__(self, settings, source):
        self.source = source
        self.before = settings

    def first_load(self):
        return etl(self.source)

    def day(self, _):
        return etl(self.source)

    @staticmethod
    def written(printed):
        """Rows inserted, updated and deleted, as eikon_runs has them."""
        return sum(int(n) for n in printed.split('|')[:3])


class Peer:
    name = 'COPY and MERGE'
    table = 'answer'
    empty = sql('empty.sql')

    def __init__(self, source):
        self.source = source
        self.before = copied(source, os.path.basename(sources.part(source, 0)))

    def first_load(self):
        return 'BEGIN;\n%s\n%s\nCOMMIT;' % (sql('copy_and_query.sql'), sql('keys.sql'))

    def day(self, number):
        return "\\set part '%s'\n%s" % (sources.part(self.source, number), sql('copy_and_merge.sql'))

    @staticmethod
    def written(printed):
        return int(printed)


class Step:
    """A first load or a day: what it took, and what it left."""

    def __init__(self, milliseconds, rows, wal, images):
        self.ms = milliseconds
        self.rows = rows      # written to the table
        self.wal = wal        # bytes
        self.images = images  # pages written whole into it, for being the first change since a checkpoint
        self.size = None      # bytes of the table and its indexes after the night
        self.redo = None      # where the last checkpoint began, when it had ended
        self.checkpoint = False  # whether one came that was not wanted


class Days:
    def __init__(self, server, settings, files, experiments):
        self.server = server
        self.files = files
        self.experiments = experiments
        self.source = files.growing(experiments)
        self.parts = [sources.counts(files.day(day, experiments)) for day in range(1, sources.DAYS + 1)]
        self.ours = Ours(settings, self.source)
        self.peer = Peer(self.source)

    def added(self):
        """New experiments of a day."""
        return self.parts[0][0]

    def step(self, who, script, users, checkpoint):
        """Measures a statement, or several, that must write the rows of so many users."""
        times, printed = self.server.timed('%s\n\\timing off\n%s%s' % (script, FLUSH_COUNTERS, COUNTERS),
                                           who.before + 'CHECKPOINT;\n' * checkpoint + COUNTERS, checkpoint=False)
        before, rows, after = (line for line in printed if line)
        before, after = ([int(n) for n in line.split('|')] for line in (before, after))
        step = Step(sum(times), who.written(rows), after[0] - before[0], after[1] - before[1])
        step.redo = after[2]
        step.checkpoint = before[2] != after[2]
        require(step.rows == users, 'wrote %d rows of %d users' % (step.rows, users))
        found = self.server.psql('SELECT count(*) FROM %s WHERE xmin::text::bigint >= %d' % (who.table, before[3]))
        require(found == str(users), 'the table has %s new rows for %d users' % (found, users))
        self.server.settle()
        step.size = int(self.server.psql("SELECT pg_total_relation_size('%s')" % who.table))
        return step

    def first_load(self, who):
        """Into empty tables, of the source without any day; a checkpoint comes first."""
        self.source = self.files.growing(self.experiments)
        self.server.psql(who.empty)
        return self.step(who, who.first_load(), self.experiments // 10, checkpoint=True)

    def begin_day(self, day):
        self.files.add_day(self.source, day, self.experiments)

    def day(self, who, day, checkpoint):
        return self.step(who, who.day(day), self.parts[day - 1][1], checkpoint)

    def all_days(self, who, checkpoint):
        """A first load and the days after it, each right after a checkpoint or without any."""
        steps = [self.first_load(who)]
        for day in range(1, sources.DAYS + 1):
            self.begin_day(day)
            steps.append(self.day(who, day, checkpoint))
            if not checkpoint and steps[-1].redo != steps[0].redo:
                steps[-1].checkpoint = True
        return steps

    def compare(self, require_same):
        """Ours and the peer side by side, compared after each day; nothing is kept of the times."""
        for who in (self.ours, self.peer):
            self.first_load(who)
        require_same()
        for day in range(1, sources.DAYS + 1):
            self.begin_day(day)
            for who in (self.ours, self.peer):
                self.day(who, day, False)
            require_same()
