// pages.mjs URL: the pages in Chromium, narrow and wide, light and dark. What a user must
// see there can't be told from the answers alone: what the browser makes of them, what its
// console says, and whether it can be read and reached by keyboard.
//
//	npm ci && node pages.mjs http://127.0.0.1:5000
//
//	EXPECT_FAILURE	the source is broken, and triggering must end on the page that says so.
//			Any text but 1 is one that the message must show, such as "<b>"
//	CHROMIUM	the browser (/usr/bin/chromium)
//
// The source is that of data/, and a first run has succeeded. The output is TAP.

import { chromium } from 'playwright-core';

const [base, ...more] = process.argv.slice(2);
if (!base || more.length) {
	console.error('usage: [EXPECT_FAILURE=1] node pages.mjs URL');
	process.exit(2);
}
const origin = new URL(base).origin;
const expectFailure = process.env.EXPECT_FAILURE;
const sizes = [{ width: 360, height: 740 }, { width: 1280, height: 800 }];
const schemes = ['light', 'dark'];
const asBrowser = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

// --- TAP

let count = 0;
let failed = 0;

function ok(holds, name, ...seen) {
	count += 1;
	failed += holds ? 0 : 1;
	console.log(`${holds ? 'ok' : 'not ok'} ${count} - ${name}`.replaceAll('#', '\\#'));
	if (!holds)
		seen.flat().forEach((line) => console.log(String(line).replaceAll(/^/gm, '# ')));
}

function is(got, expected, name) {
	ok(got === expected, name, `got      ${got}`, `expected ${expected}`);
}

function none(found, name) {
	ok(found.length === 0, name, found);
}

// --- Pages

// A page that notes what goes wrong in it, and which other hosts it asks.
async function open(browser, path, options) {
	const context = await browser.newContext(options);
	const page = await context.newPage();
	const problems = [];
	const strangers = [];
	page.on('console', (message) => ['error', 'warning'].includes(message.type()) && problems.push(message.text()));
	page.on('pageerror', (error) => problems.push(error.message));
	page.on('requestfailed', (request) => problems.push(`${request.url()}: ${request.failure().errorText}`));
	page.on('response', (response) => response.status() >= 400 && problems.push(`${response.url()}: ${response.status()}`));
	page.on('request', (request) => {
		const url = new URL(request.url());
		if (url.protocol.startsWith('http') && url.origin !== origin)
			strangers.push(url.href);
	});
	await page.goto(origin + path, { waitUntil: 'load' });
	return { context, page, problems, strangers };
}

// Texts with less contrast than WCAG 2 AA wants, by the styles that the browser computed.
function faintTexts() {
	const parse = (color) => {
		const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
		return { rgb: [r, g, b], a };
	};
	const over = (top, under) => top.rgb.map((v, i) => v * top.a + under[i] * (1 - top.a));
	const canvas = matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255];
	const behind = (e) => (e ? over(parse(getComputedStyle(e).backgroundColor), behind(e.parentElement)) : canvas);
	const luminance = (rgb) => rgb.map((v) => v / 255)
		.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const faint = [];
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (!texts.currentNode.data.trim() || !e.checkVisibility())
			continue;
		const style = getComputedStyle(e);
		const under = behind(e);
		const [light, dark] = [luminance(over(parse(style.color), under)), luminance(under)].sort((a, b) => b - a);
		const size = parseFloat(style.fontSize);
		const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
		const ratio = (light + 0.05) / (dark + 0.05);
		if (ratio < (isLarge ? 3 : 4.5))
			faint.push(`${ratio.toFixed(2)}: ${texts.currentNode.data.trim().slice(0, 60)}`);
	}
	return faint;
}

// What keeps those from finding their way who don't see the page.
function unlabelled() {
	const found = [];
	const levels = [...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]));
	if (!document.documentElement.lang)
		found.push('no language');
	if (!document.title)
		found.push('no title');
	if (levels[0] !== 1 || levels.filter((level) => level === 1).length !== 1)
		found.push(`headings: ${levels}`);
	if (levels.some((level, i) => level > (levels[i - 1] ?? 0) + 1))
		found.push(`a level of headings is left out: ${levels}`);
	if (document.querySelectorAll('main').length !== 1)
		found.push('not one main');
	document.querySelectorAll('nav, section, [role="region"]').forEach((e) => {
		const label = e.getAttribute('aria-label') ?? document.getElementById(e.getAttribute('aria-labelledby'))?.textContent;
		if (!label)
			found.push(`no label: ${e.outerHTML.slice(0, 60)}`);
	});
	document.querySelectorAll('a, button, th').forEach((e) => {
		if (!e.textContent.trim() || (e.tagName === 'TH' && !e.scope))
			found.push(`no name or scope: ${e.outerHTML.slice(0, 60)}`);
	});
	const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
	ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => found.push(`a second id "${id}"`));
	return found;
}

const excessWidth = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;

async function checkLooks(page, what) {
	is(await page.evaluate(excessWidth), 0, `${what}: nothing is wider than the window`);
	none(await page.evaluate(faintTexts), `${what}: texts stand out from what is behind them`);
	none(await page.evaluate(unlabelled), `${what}: headings, landmarks and names are there`);
}

async function tabTo(page, selector) {
	for (let i = 0; i < 60; i += 1) {
		await page.keyboard.press('Tab');
		if (await page.evaluate((s) => document.activeElement.matches(s), selector))
			return true;
	}
	return false;
}

// --- What is to be seen

async function checkIndex(browser, options, what) {
	const { context, page, problems, strangers } = await open(browser, '/', options);
	await page.locator('#rows table').waitFor();
	await checkLooks(page, `${what}: /`);
	is(await page.locator('header, footer').count(), 2, `${what}: / has a header and a footer`);
	is(await page.locator('#rows tbody tr').count(), 10, `${what}: / shows the first rows`);
	ok(/succeeded on/.test(await page.locator('#state').innerText()), `${what}: / says when a run succeeded`);

	ok(await tabTo(page, 'form[action="/trigger-etl"] button'), `${what}: Tab reaches the button`);
	const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
	ok(outline !== 'none', `${what}: and one sees it`, outline);
	none(problems, `${what}: / has nothing to complain about`);
	none(strangers, `${what}: / asks no other host`);

	const navigation = page.waitForResponse((response) => response.url() === `${origin}/trigger-etl`);
	await page.keyboard.press('Enter');
	const response = await navigation;
	await page.waitForLoadState('load');
	await (expectFailure ? checkFailure : checkSuccess)(page, response, `${what}: the page after it`);
	await checkLooks(page, `${what}: the page after it`);
	is(await page.locator('.result :empty').filter({ visible: true }).count(), 0, `${what}: it has no empty boxes`);
	none(strangers, `${what}: it asks no other host`);
	await page.getByRole('link', { name: 'Overview' }).click();
	is(page.url(), `${origin}/`, `${what}: it leads back`);
	await context.close();
}

async function checkSuccess(page, response, what) {
	const text = await page.locator('main').innerText();
	is(response.status(), 200, `${what}: status`);
	is(await page.locator('h1').innerText(), 'ETL Process Successful', `${what}: heading`);
	ok(text.includes('Status Code: 200'), `${what}: says the status`, text);
	ok(text.includes('Message: ETL process completed for 20 rows'), `${what}: says how many rows`, text);
}

async function checkFailure(page, response, what) {
	const [run] = await (await page.request.get(`${origin}/runs?order=run_id.desc&limit=1`)).json();
	const text = await page.locator('main').innerText();
	ok(response.status() >= 400, `${what}: status`, response.status());
	is(await page.locator('h1').innerText(), 'ETL Process Failed', `${what}: heading`);
	ok(text.includes(`Status Code: ${response.status()}`), `${what}: says the status`, text);
	ok(text.includes(`Message: ${run.error_message}`), `${what}: says what the ledger says`, text, run.error_message);
	ok(expectFailure === '1' || text.includes(expectFailure), `${what}: shows "${expectFailure}" as text`, text);
	none(await page.locator('main *:not(h1, p, pre, form, button)').allInnerTexts(), `${what}: has no other elements`);
}

async function checkLinks(browser) {
	const { context, page } = await open(browser, '/');
	const links = await page.locator('a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
	for (const link of new Set(links)) {
		if (link.startsWith('#')) {
			is(await page.locator(link).count(), 1, `link ${link}`);
		} else {
			const response = await page.request.get(origin + link, { headers: asBrowser });
			ok(response.status() < 400, `link ${link}`, response.status());
		}
	}
	ok(!links.some((link) => link.startsWith('/trigger')), 'no link triggers a run');
	await context.close();
}

async function checkWithoutScripts(browser) {
	const { context, page } = await open(browser, '/', { javaScriptEnabled: false });
	ok(await page.getByRole('button', { name: 'Trigger the ETL' }).isVisible(), 'without scripts / has the button');
	ok(await page.locator('#state a').isVisible(), 'without scripts / leads to the state');
	await page.goto(`${origin}/docs/`);
	is(await page.locator('main a').count(), 2, 'without scripts /docs/ leads to the descriptions');
	await context.close();
}

// What the page does with answers that are not what it hopes for.
async function checkAnswers(browser) {
	const context = await browser.newContext();
	const page = await context.newPage();
	const name = '<img src=x onerror=alert(1)>';
	await page.route('**/features?select=*', (route) => route.fulfill({ json: [{ user_id: 1, name }] }));
	await page.goto(`${origin}/`);
	is(await page.locator('#rows td').nth(1).innerText(), name, 'HTML in a row is text');
	await page.route('**/features?select=*', (route) => route.fulfill({ json: [] }));
	await page.goto(`${origin}/`);
	is(await page.locator('#rows p').innerText(), 'There are none yet.', 'no rows are none');
	await page.route('**/health', (route) => route.fulfill({ status: 503, json: { message: 'the API can\'t be reached' } }));
	await page.goto(`${origin}/`);
	await page.getByText('The state can’t be read: 503').waitFor();
	ok(true, 'a failure is told');
	await context.close();
}

// References within a description are looked up only when an operation opens.
async function checkOperations(browser) {
	const { context, page, problems } = await open(browser, '/docs/?urls.primaryName=Paths%20of%20the%20gateway');
	await page.locator('[data-path="/uploads/users"]').first().waitFor();
	for (const operation of await page.locator('.opblock').all()) {
		const button = operation.locator('.opblock-summary-control');
		await button.dispatchEvent('click');
		await operation.locator('.responses-wrapper .response').first().waitFor();
		await button.dispatchEvent('click');
	}
	none(await page.locator('.errors-wrapper').allInnerTexts(), 'operations open without errors');
	none(problems, 'and without complaints');
	await context.close();
}

function operationsOf(description) {
	return Object.values(description.paths)
		.flatMap((path) => Object.keys(path)).filter((key) => key !== 'parameters').length;
}

async function checkDocs(browser, options, what) {
	const { context, page, problems, strangers } = await open(browser, '/docs/', options);
	for (const [name, path] of [['Native API', '/openapi.json'], ['Paths of the gateway', '/gateway.json']]) {
		const description = await (await page.request.get(origin + path)).json();
		await page.getByLabel('Select a definition').selectOption({ label: name });
		await page.locator('.info .title', { hasText: description.info.title }).waitFor();
		await page.locator('.opblock').nth(operationsOf(description) - 1).waitFor();
		is(await page.locator('.opblock').count(), operationsOf(description), `${what}: ${name}: all operations are listed`);
		none(await page.locator('.errors-wrapper').allInnerTexts(), `${what}: ${name}: no errors are shown`);
	}
	is(await page.locator('nav a[href="/"]').count(), 1, `${what}: /docs/ leads back`);
	const health = page.locator('.opblock', { has: page.locator('[data-path="/health"]') });
	await health.locator('.opblock-summary-control').click();
	await health.getByRole('button', { name: 'Try it out' }).click();
	await health.getByRole('button', { name: 'Execute' }).click();
	is((await health.locator('.live-responses-table .response-col_status').last().innerText()).trim(), '200', `${what}: an operation can be tried`);
	none(problems, `${what}: /docs/ has nothing to complain about`);
	none(strangers, `${what}: /docs/ asks no other host`);
	await context.close();
}

const browser = await chromium.launch({
	executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
	args: process.getuid() === 0 ? ['--no-sandbox'] : [],
});
try {
	for (const viewport of sizes) {
		for (const colorScheme of schemes) {
			const what = `${viewport.width} px, ${colorScheme}`;
			await checkIndex(browser, { viewport, colorScheme }, what);
			if (!expectFailure)
				await checkDocs(browser, { viewport, colorScheme }, what);
		}
	}
	if (!expectFailure) {
		await checkOperations(browser);
		await checkLinks(browser);
		await checkWithoutScripts(browser);
		await checkAnswers(browser);
	}
} catch (error) {
	ok(false, 'the test came to its end', error.message);
}
await browser.close();
console.log(`1..${count}`);
process.exitCode = failed ? 1 : 0;
