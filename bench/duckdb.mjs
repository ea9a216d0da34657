// duckdb.mjs DIR FORMULATION [OUT]: derives the features of a source with DuckDB
// by one of the formulations below, nothing written, and prints the milliseconds.
// With OUT, writes the rows there instead. Without arguments, prints which
// formulations there are.
//
// Each result is kept by DuckDB as its own rows in memory, all 14 columns of
// each, and no row is made a JavaScript value: what is timed is DuckDB alone.
// Columns have their types beforehand, nothing is sniffed, and rows may come in any order.
import { writeSync } from 'node:fs';
import { DuckDBInstance, version } from '@duckdb/node-api';

const THREADS = '2';

const [dir, formulation, out] = process.argv.slice(2);

function csv(name, columns) {
    const types = Object.entries(columns).map(([column, type]) => `'${column}': '${type}'`);
    return `read_csv('${dir}/${name}.csv', auto_detect = false, header = true, delim = ',', quote = '"',
        escape = '"', columns = {${types.join(', ')}})`;
}

const users = csv('users', { user_id: 'BIGINT', name: 'VARCHAR', email: 'VARCHAR', signup_date: 'DATE' });
const experiments = csv('user_experiments',
    { experiment_id: 'BIGINT', user_id: 'BIGINT', ids: 'VARCHAR', run_time: 'DOUBLE' });
const compounds = csv('compounds',
    { compound_id: 'BIGINT', compound_name: 'VARCHAR', compound_structure: 'VARCHAR' });

// From "totals" (per user: n, total, timed) and "most" (per user: k listings of
// each of the tied ids) to the rows of features.
const features = `
    total AS (SELECT (SELECT count(*) FROM users) AS users, (SELECT sum(n) FROM totals) AS experiments)
SELECT u.user_id, u.name, u.email, u.signup_date, coalesce(t.n, 0)::BIGINT AS total_experiments,
    total.experiments::DOUBLE / total.users AS avg_experiments,
    coalesce(t.n, 0) / total.experiments::DOUBLE AS experiments_pct,
    t.total / t.timed AS avg_experiment_run_time, t.total AS total_experiment_run_time,
    m.ids[1] AS most_common_compound_id, c.compound_name, c.compound_structure, m.k::BIGINT AS k, m.ids
FROM users u LEFT JOIN totals t USING (user_id) LEFT JOIN most m USING (user_id)
    LEFT JOIN ${compounds} c ON c.compound_id = m.ids[1], total`;

const totals = `totals AS MATERIALIZED (
    SELECT user_id, count(*) AS n, sum(run_time) AS total, count(run_time) AS timed
    FROM ${experiments} GROUP BY user_id)`;

const listed = `listed AS (
    SELECT user_id, id, count(*) AS k
    FROM (SELECT user_id, unnest(string_split(ids, ';'))::BIGINT AS id FROM ${experiments})
    GROUP BY ALL)`;

const formulations = {
    // what one writes first
    rank: `WITH users AS (FROM ${users}), ${totals}, ${listed},
        ranked AS (SELECT *, rank() OVER (PARTITION BY user_id ORDER BY k DESC) AS r FROM listed),
        most AS (SELECT user_id, k, list(id ORDER BY id) AS ids FROM ranked WHERE r = 1 GROUP BY ALL),
        ${features}`,

    // the largest count joined to the counts
    join: `WITH users AS (FROM ${users}), ${totals}, ${listed.replace('AS (', 'AS MATERIALIZED (')},
        top AS (SELECT user_id, max(k) AS k FROM listed GROUP BY ALL),
        most AS (SELECT user_id, any_value(k) AS k, list_sort(list(id)) AS ids
                 FROM listed JOIN top USING (user_id, k) GROUP BY user_id),
        ${features}`,

    // the ids of each count, then those of the largest one
    arg_max: `WITH users AS (FROM ${users}), ${totals}, ${listed},
        grouped AS (SELECT user_id, k, list_sort(list(id)) AS ids FROM listed GROUP BY ALL),
        most AS (SELECT user_id, max(k) AS k, arg_max(ids, k) AS ids FROM grouped GROUP BY user_id),
        ${features}`,

    // one text per user, split once, counted within the row; one pass over the file
    histogram: `WITH joined AS (
            SELECT user_id, count(*) AS n, sum(run_time) AS total, count(run_time) AS timed, string_agg(ids, ';') AS ids
            FROM ${experiments} GROUP BY user_id),
        counted AS (SELECT * EXCLUDE ids,
                map_entries(list_aggregate(string_split(ids, ';')::BIGINT[], 'histogram')) AS counts FROM joined),
        largest AS (SELECT *, list_max([c.value FOR c IN counts]) AS k FROM counted),
        most AS (SELECT user_id, n, total, timed, k, [c.key FOR c IN counts IF c.value = k] AS ids FROM largest),
        everyone AS (SELECT u.*, coalesce(n, 0)::BIGINT AS n, total, timed, k, ids
                     FROM ${users} u LEFT JOIN most USING (user_id))
        SELECT user_id, name, email, signup_date, n AS total_experiments,
            sum(n) OVER () / count(*) OVER () AS avg_experiments, n / sum(n) OVER () AS experiments_pct,
            total / timed AS avg_experiment_run_time, total AS total_experiment_run_time,
            ids[1] AS most_common_compound_id, c.compound_name, c.compound_structure, k::BIGINT AS k, ids
        FROM everyone LEFT JOIN ${compounds} c ON c.compound_id = ids[1]`,
};

// Without arguments: what there is.
if (!dir) {
    writeSync(1, JSON.stringify({ version: version(), formulations: Object.keys(formulations) }) + '\n');
    process.exit(0);
}

const query = formulations[formulation];
const instance = await DuckDBInstance.create(':memory:', { threads: THREADS });
const connection = await instance.connect();
await connection.run('SET preserve_insertion_order = false');
if (out) {
    await connection.run(`COPY (SELECT * REPLACE ('{' || array_to_string(ids, ',') || '}' AS ids) FROM (${query}))
        TO '${out}' (FORMAT csv, HEADER false)`);
} else {
    const start = process.hrtime.bigint();
    const result = await connection.run(query);
    const ms = Number(process.hrtime.bigint() - start) / 1e6;
    writeSync(1, JSON.stringify({ rows: result.rowCount, columns: result.columnCount, ms }) + '\n');
}
