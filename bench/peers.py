"""The peers outside of PostgreSQL: DuckDB, pandas, and libcsv for the record stage alone."""
import json
import os
import subprocess
import sys

from checks import require

HERE = os.path.dirname(os.path.abspath(__file__))


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True).stdout


def duckdb(*arguments):
    printed = output('node', os.path.join(HERE, 'duckdb.mjs'), *arguments)
    return json.loads(printed) if printed else None


def duckdb_formulations():
    return duckdb()['formulations']


def duckdb_version():
    return duckdb()['version']


def time_duckdb(source, formulation, users):
    """Milliseconds, in a process that does nothing else."""
    result = duckdb(source, formulation)
    require(result['rows'] == users and result['columns'] == 14, 'DuckDB gave %s' % result)
    return result['ms']


def pandas(*arguments):
    return json.loads(output(sys.executable, os.path.join(HERE, 'pandas_peer.py'), *arguments))


def pandas_version():
    return pandas()['version']


def time_pandas(source, users):
    result = pandas(source)
    require(result['rows'] == users, 'pandas gave %s' % result)
    return result['ms']


def time_records(program, file):
    """Milliseconds of the record stage and of libcsv's callbacks."""
    ours, libcsv = output(program, file, '1').split()
    return float(ours), float(libcsv)
