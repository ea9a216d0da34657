"""The page RESULTS.md, and tables."""
from memory import SAMPLES_PER_SECOND
from server import CONF
from sources import DAYS
from words import count, megabytes

# What the times are called on the page.
NAMES = {
    'derive plain': 'derive',
    'derive quoted': 'derive, every field quoted',
    'derive tabbed': 'derive, comma and tab',
    'derive crlf': 'derive, CRLF',
    'derive shuffled': 'derive, rows in random order',
    'load': 'first load',
    'again': 'second run, nothing changed',
    'copy answer': 'COPY of the finished rows',
    'copy and query': 'COPY and SQL',
    'duckdb rank': 'DuckDB, by `rank`',
    'duckdb join': 'DuckDB, by `join`',
    'duckdb arg_max': 'DuckDB, by `arg_max`',
    'duckdb histogram': 'DuckDB, by `histogram`',
    'record plain': 'records alone',
    'libcsv plain': 'libcsv',
    'record quoted': 'records alone, every field quoted',
    'libcsv quoted': 'libcsv, every field quoted',
    'derive tiny': 'derive of 100 experiments',
    'load tiny': 'first load of 100 experiments',
}

PAGE = '''# Benchmark

eikon_features against its peers, all on one machine, in one run of `make bench`, which wrote this page. Times are those of whole
statements, commits included, as the client sees them; each is the median of {runs}. What counts are the ratios.

## Result

{compared} experiments of {users} users, {source} of CSV.

{result}

- **derive** is `SELECT count(*) FROM eikon_derive_features(…)`: files in, features out, nothing written.
- **first load** is `eikon_run_etl(…)` into the empty table `eikon_user_features` with its primary key.
- **DuckDB** keeps its result in its own memory, all columns, nothing written; of {formulations} formulations the fastest counts ({best}).
- **pandas** is vectorised and uses one core.
- **normal day** is `eikon_run_etl(…)` of a source that was loaded before and has one more file, with one new experiment for each thousand.
  [Below](#the-normal-day) is what it writes.
- **COPY of the finished rows** loads the text of these same rows into a table like `eikon_user_features`, with the same key:
  what it takes to write them and nothing else.
- **COPY and SQL** loads the three files into plain tables, runs one query that inserts into such a table, and one for the totals.
- **records alone** is the CSV reader without the rest, on bytes in memory; **libcsv** is its callbacks on the same bytes.

Before anything was timed, all of them gave the same features: ids, names, counts and ties exactly, sums and averages within 1e-9.

## The normal day

A first load of {compared} experiments, then {days} days, each of which adds a file of {added} new experiments of users that are there already.
The extension runs over the whole source again. **COPY and MERGE** copies the new file into plain tables that hold the rows of the files already,
with primary keys and a covering index of each user's experiments, computes the rows of the users in that file anew, and updates the totals
in a table of their own. Its first load is COPY and SQL, and then makes these keys.

{normal_days}

Each figure is the median of {runs}. Rows written are those of the table of features; COPY and MERGE also writes the new experiments. WAL is all
that the server wrote in the meantime. After a checkpoint, PostgreSQL writes each page as a whole when it is first changed (a full-page image):
the days were measured without any checkpoint since the one before the first load, and with one right before each day. {checkpoints}
The images of a first load by COPY and MERGE are the pages of its new indexes.
Size is `pg_total_relation_size`, and growth is relative to the size after the first load. Autovacuum is on, and a day begins when it has
finished what was due. Before the days were timed, both had the same features after each of them.

## Growth

{growth}

In each cell, derive and the first load. Memory is the peak of the largest process, the session's or a worker's: all that is resident, but
for the shared buffers, sampled {rate} times a second in a run of its own{sampling}. work_mem is `eikon_features.work_mem`. After each run there were neither temporary files nor shared memory left.

![Time and memory against the number of experiments](scaling.svg)

## All times

{times}

## What it was measured on

{facts}

- Two processes work for a query of PostgreSQL at most, two threads for DuckDB; everyone runs on the same {cores} cores.
- The files are in the page cache. Each statement follows a `CHECKPOINT`, so that none pays for what an earlier one has written; normal days are measured without one too.
  Within a round, the peers take turns. Autovacuum is on for the normal days only.
- The server's settings, for the extension as for COPY and SQL:
  {settings}.{ours} The extension's sessions have {server_work_mem} of `work_mem`, PostgreSQL's default.
- The sources are generated: a user of rank r has a share of the experiments like 1/√r (the first of a million users has 10,000, half of them
  have at most 8), an experiment lists 1 to 4 of 1,000 compounds, half of them its user's favourites, and 1 run time in 128 is empty.

## Do it again

```sh
{command}
```

It installs what is missing, and touches no PostgreSQL that the machine may have. `SIZE=` is the number of experiments in millions (10; 100
takes some 25 GB of disk for a while), `RUNS=` how often each is timed (3), `BENCH_DIR=` where generated files are kept for the next time.
`ONLY=` is a regular expression that selects what is measured by its name, such as `ONLY='normal days'`, and leaves this page as it is.
`make bench-smoke` only checks that all of it works. The programs and queries are in this directory: `duckdb.mjs`, `pandas_peer.py`,
`sql/copy_and_query.sql`, `sql/keys.sql`, `sql/copy_and_merge.sql`, `record.c`.
'''


def text_table(head, lines):
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in [head, ['-' * width for width in widths], *lines])


def markdown_table(head, lines):
    return '\n'.join('| %s |' % ' | '.join(line) for line in [head, ['---'] * len(head), *lines])


def bold_verdicts(lines):
    """What is not as wanted stands out."""
    return [line[:-1] + ['**no**' if line[-1] == 'no' else line[-1]] for line in lines]


def checkpoints(days):
    if not days:
        return 'There was no other checkpoint.'
    return '**Other checkpoints affected %d of them.**' % days


def own_settings(settings):
    shown = ['`%s = %s`' % item for item in settings.items()
             if item[0] in ('eikon_features.work_mem', 'eikon_features.parallel_workers')]
    return ' The extension\'s own: %s.' % ', '.join(shown) if shown else ''


def command(options):
    million = options.experiments / 1e6
    words = ['make bench'] + ['SIZE=%g' % million] * (million != 10) + ['RUNS=%d' % options.runs] * (options.runs != 3)
    return ' '.join(words)


def render(results):
    head, lines = results.result_table()
    options = results.options
    return PAGE.format(
        runs=options.runs,
        compared=count(results.compared), users=count(results.compared // 10),
        source=megabytes(results.source_bytes),
        result=markdown_table(head, bold_verdicts(lines)),
        formulations=len(results.formulations), best='`%s`' % results.best_duckdb(),
        rate=SAMPLES_PER_SECOND, server_work_mem=results.server_work_mem,
        sampling=", which gives the times at 64 MB too" if len(results.work_mems()) > 1 else '',
        days=DAYS, added=count(results.added), normal_days=markdown_table(*results.days_table()),
        checkpoints=checkpoints(results.days_with_checkpoint()),
        growth=markdown_table(*results.growth_table()),
        times=markdown_table(*results.times_table()),
        facts=markdown_table(['', ''], [list(fact) for fact in results.facts]),
        cores=dict(results.facts)['processor'].rpartition(', ')[2].split()[0],
        settings=', '.join('`%s = %s`' % item for item in CONF.items() if item[0] != 'listen_addresses'),
        ours=own_settings(results.settings),
        command=command(options))
