// Shows the state and the first rows in index.html, which says the same with links.

const columns = {
	user_id: 'User', name: 'Name', signup_date: 'Signup', total_experiments: 'Experiments',
	avg_experiment_run_time: 'Average run time', most_common_compound_name: 'Most common compound',
};

function element(name, text = '', attributes = {}) {
	const made = Object.assign(document.createElement(name), { textContent: text });
	Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
	return made;
}

async function read(path) {
	const response = await fetch(path, { headers: { Accept: 'application/json' } });
	const body = await response.json();
	if (!response.ok)
		throw new Error(`${response.status}: ${body.message}`);
	return body;
}

const kindOf = (key) => (key.startsWith('total') || key.startsWith('avg') ? 'number' : '');

function cell(key, value) {
	const text = typeof value === 'number'
		? value.toLocaleString('en', { maximumFractionDigits: 2, useGrouping: false }) : value ?? '';
	return element('td', text, { class: kindOf(key) });
}

async function showRows() {
	const rows = await read(`/features?select=${Object.keys(columns)}&order=user_id&limit=20`);
	const frame = element('div', '', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'The first 20 users' });
	const table = frame.appendChild(element('table'));
	const head = table.createTHead().insertRow();
	Object.entries(columns).forEach(([key, title]) =>
		head.append(element('th', title, { scope: 'col', class: kindOf(key) })));
	const body = table.createTBody();
	rows.forEach((row) => body.insertRow().append(...Object.keys(columns).map((key) => cell(key, row[key]))));
	document.getElementById('rows').replaceChildren(rows.length ? frame : element('p', 'There are none yet.'));
}

function timeOf(when) {
	return new Date(when).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
}

function describe(health) {
	const now = health.running + health.queued
		? `${health.running} running, ${health.queued} waiting.` : 'No run is going on.';
	const last = health.last_success ? `The last one succeeded on ${timeOf(health.last_success)}.` : 'None has succeeded yet.';
	const failed = health.last_failure && !(health.last_failure < health.last_success)
		? ` One failed on ${timeOf(health.last_failure)}.` : '';
	return `${now} ${last}${failed}`;
}

const state = document.getElementById('state');
let shown;

async function refresh() {
	let text;
	try {
		const health = await read('/health');
		text = describe(health);
		if (shown !== health.last_success)
			await showRows();
		shown = health.last_success;
	} catch (error) {
		text = `The state can’t be read: ${error.message}`;
		shown = undefined;
	}
	if (state.textContent !== text)
		state.textContent = text;
	setTimeout(refresh, document.hidden ? 60000 : 5000);
}

document.querySelectorAll('.origin').forEach((place) => { place.textContent = location.origin; });
refresh();
