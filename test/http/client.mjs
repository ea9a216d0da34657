// client.mjs URL TOKEN: the API through a client library of PostgREST, as programs use it.
// The source is that of data/, and a first run has succeeded. The output is TAP.

import { PostgrestClient } from '@supabase/postgrest-js';

const [base, token] = process.argv.slice(2);
const anonymous = new PostgrestClient(base);
const operator = new PostgrestClient(base, { headers: { Authorization: `Bearer ${token}` } });

let count = 0;
let failed = 0;

function is(got, expected, name) {
	const holds = JSON.stringify(got) === JSON.stringify(expected);
	count += 1;
	failed += holds ? 0 : 1;
	console.log(`${holds ? 'ok' : 'not ok'} ${count} - ${name}`);
	if (!holds)
		console.log(`# got      ${JSON.stringify(got)}\n# expected ${JSON.stringify(expected)}`);
}

let reply = await anonymous.from('features').select('name,total_experiments').gte('total_experiments', 2);
is(reply.data, [{ name: 'Alice', total_experiments: 2 }], 'a filter');
reply = await anonymous.from('features').select('user_id', { count: 'exact' }).order('user_id', { ascending: false }).range(0, 1);
is([reply.data, reply.count], [[{ user_id: 10 }, { user_id: 9 }], 10], 'a page, and how many there are');
reply = await anonymous.from('features').select('name').eq('user_id', 1).single();
is(reply.data, { name: 'Alice' }, 'one object');
reply = await anonymous.from('features').select('name,days_since_signup').limit(1);
is(typeof reply.data[0].days_since_signup, 'number', 'a computed column');
reply = await anonymous.from('features').select('user_id').order('user_id').limit(1).csv();
is(reply.data, 'user_id\n1', 'CSV');
reply = await anonymous.rpc('run_etl');
is([reply.status, reply.data.status], [200, 'succeeded'], 'a run');
reply = await anonymous.rpc('run_etl', { source: 'x' });
is([reply.status, reply.error.code], [401, 'PT401'], 'one that takes a token');
reply = await operator.rpc('run_etl', { source: 'none' });
is([reply.status, reply.error.code], [404, '58P01'], 'with a token');
reply = await operator.rpc('submit_etl');
is([reply.status, reply.data.status], [202, 'queued'], 'in the background');
reply = await anonymous.from('features').delete().eq('user_id', 1);
is([reply.status, reply.error.code], [405, '405'], 'what may not be done');
reply = await anonymous.from('nothing').select();
is(reply.status, 404, 'what is not there');

console.log(`1..${count}`);
process.exit(failed ? 1 : 0);
