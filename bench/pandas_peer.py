"""pandas_peer.py [DIR [OUT]]: derives the features of a source with pandas.

Prints the milliseconds as JSON; the import is not timed. With OUT, also writes
the rows there; without DIR, prints the version. What is timed loops over no rows.
"""
import json
import sys
import time

import numpy as np
import pandas as pd


def read(directory):
    users = pd.read_csv(directory + '/users.csv', parse_dates=['signup_date'], dtype={'user_id': np.int64})
    compounds = pd.read_csv(directory + '/compounds.csv', dtype={'compound_id': np.int64})
    experiments = pd.read_csv(
        directory + '/user_experiments.csv', usecols=['user_id', 'experiment_compound_ids', 'experiment_run_time'],
        dtype={'user_id': np.int64, 'experiment_compound_ids': str, 'experiment_run_time': np.float64})
    return users, compounds, experiments


def most_common(experiments):
    """Per user: the ids listed most often, and how often."""
    lists = experiments['experiment_compound_ids']
    lengths = lists.str.count(';').to_numpy() + 1
    # one text for all of them, parsed at once
    ids = np.fromstring(lists.str.cat(sep=';'), dtype=np.int64, sep=';')
    listed = pd.DataFrame({'user_id': np.repeat(experiments['user_id'].to_numpy(), lengths), 'id': ids})
    counts = listed.groupby(['user_id', 'id'], sort=True).size().reset_index(name='k')
    top = counts[counts['k'] == counts.groupby('user_id')['k'].transform('max')]
    first = np.flatnonzero(np.diff(top['user_id'].to_numpy(), prepend=-1))
    most = top.iloc[first].rename(columns={'id': 'most_common_compound_id'})
    most['ids'] = np.array(np.split(top['id'].to_numpy(), first[1:]) + [None], dtype=object)[:-1]
    return most


def totals(experiments):
    per_user = experiments.groupby('user_id')['experiment_run_time'].agg(['size', 'mean', 'sum', 'count'])
    per_user['sum'] = per_user['sum'].where(per_user['count'] > 0)
    return per_user.drop(columns='count').reset_index()


def derive(directory):
    users, compounds, experiments = read(directory)
    features = users.merge(totals(experiments), on='user_id', how='left')
    features = features.merge(most_common(experiments), on='user_id', how='left')
    features = features.merge(compounds, left_on='most_common_compound_id', right_on='compound_id', how='left')
    features['size'] = features['size'].fillna(0).astype(np.int64)
    features['avg_experiments'] = len(experiments) / len(users)
    features['experiments_pct'] = features['size'] / len(experiments)
    features = features.astype({'most_common_compound_id': 'Int64', 'k': 'Int64'})
    return features[['user_id', 'name', 'email', 'signup_date', 'size', 'avg_experiments', 'experiments_pct', 'mean',
                     'sum', 'most_common_compound_id', 'compound_name', 'compound_structure', 'k', 'ids']]


def write(features, path):
    ids = features['ids'].map(lambda ids: '{%s}' % ','.join(map(str, ids)), na_action='ignore')
    features.assign(ids=ids).to_csv(path, header=False, index=False)


def main():
    if len(sys.argv) == 1:
        print(json.dumps({'version': pd.__version__}))
        return
    start = time.perf_counter()
    features = derive(sys.argv[1])
    elapsed = (time.perf_counter() - start) * 1e3
    if len(sys.argv) > 2:
        write(features, sys.argv[2])
    print(json.dumps({'rows': len(features), 'ms': elapsed}))


main()
