// Follows every link from page to page, then looks at one page of each kind in light, in dark and on a phone: errors of the
// console, accessibility, width; and keeps a picture of each that is not right, or of all with ORCH_TEST_PICTURES.
import { mkdirSync } from 'node:fs';
import { base, launch, looks, rules, screens, signIn, verdict, violations, visitor } from './browser.mjs';

/** The page routes, with their `{parameters}`. */
const routes = JSON.parse(process.env.ORCH_ROUTES).map((path) => ({ path, matches: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`) }));
/** The most specific one: `/dags/{dag_id}/graph` before `/dags/{dag_id}/{anything}`. */
const routeOf = (path) => routes.filter((route) => route.matches.test(path)).sort((a, b) => a.path.split('{').length - b.path.split('{').length)[0]?.path;

/** Where a walk through a part of the pages stays; all of them, where nothing is said. */
const within = JSON.parse(process.env.ORCH_WITHIN ?? '[""]');
const isWithin = (path) => within.some((begin) => path.startsWith(begin));
/** A query for the console, if there is a lake that answers. */
const query = process.env.ORCH_QUERY;

/** Between a phone and a desk. */
const TABLET = { width: 820, height: 1180 };

/** So many pages of a kind are opened to find links, and so many are looked at closely, with those where the walk starts. */
const OPENED = 6;
const LOOKED_AT = 2;
const starts = JSON.parse(process.env.ORCH_STARTS);
const isLookedAt = ({ path }, index) => index < LOOKED_AT || starts.includes(path);

/** Where the links of a page lead, and its forms in which several are chosen at once: with the first one chosen. */
function linksOf({ html, here }) {
  const page = new DOMParser().parseFromString(html, 'text/html');
  const links = [...page.querySelectorAll('a[href]:not([download])')].map((a) => new URL(a.getAttribute('href'), here).href);
  const forms = [...page.querySelectorAll('button[data-needs-chosen]')].flatMap((button) => {
    const fields = [...button.form.elements];
    const choice = fields.find((field) => field.type === 'checkbox' && 'pick' in field.dataset);
    if (!choice) return [];
    const sent = [...fields.filter((field) => field.type === 'hidden'), choice, button].filter((field) => field.name);
    const address = new URL(button.getAttribute('formaction') ?? button.form.getAttribute('action'), here);
    address.search = new URLSearchParams(sent.map((field) => [field.name, field.value]));
    return [address.href];
  });
  return [...links, ...forms];
}

const browser = await launch();
const troubles = [];

// Where do the links lead?
const found = new Map(routes.map(({ path }) => [path, []]));
{
  const { page, context, troubles: seen } = await visitor(browser, looks.light);
  await signIn(page);
  // A page without a policy of its own, where a text may be read as HTML.
  const reader = await context.newPage();
  const waiting = ['/', '/login', ...starts];
  const known = new Set(waiting);
  for (let path = waiting.shift(); path; path = waiting.shift()) {
    const route = routeOf(path.split('?')[0]);
    if (!route) { seen.push(`${path} is linked to and is no page`); continue; }
    const same = found.get(route);
    // One without a query and those with different ones are different sights.
    const kind = `${path.includes('?')} ${[...new URLSearchParams(path.split('?')[1])].map(([name]) => name)}`;
    if (same.length >= OPENED || same.filter((other) => other.kind === kind).length >= 3) continue;
    same.push({ path, kind });
    // What is looked at closely is loaded there; for the links its text is enough.
    const answer = await page.request.get(base + path);
    if (answer.status() !== 200) seen.push(`${path} answered ${answer.status()}`);
    const links = await reader.evaluate(linksOf, { html: await answer.text(), here: answer.url() });
    for (const link of links) {
      const url = new URL(link);
      const next = url.pathname + url.search;
      if (url.origin !== base || known.has(next) || !isWithin(url.pathname) || url.pathname.startsWith('/static/') || url.pathname.startsWith('/api/') || url.pathname.endsWith('.json')) continue;
      known.add(next);
      waiting.push(next);
    }
  }
  troubles.push(...seen);
  await context.close();
}
// In a binary without a lake no table of one is led to, and without a cluster of Kafka none of its topics.
const isMissed = (route) => query || !(route.startsWith('/lake/{') || route.startsWith('/clusters/{'));
for (const [route, pages] of found) if (!pages.length && isMissed(route)) troubles.push(`no link leads to ${route}`);

// How does each kind look?
async function look(name, options) {
  // Whose page is asked for although it is not there, or not for everybody, the console calls an error.
  const { page, troubles: seen } = await visitor(browser, options, (text) => /status of 40[34]/.test(text));
  const fits = async (path) => {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) seen.push(`${path} is ${wide} px wider than the screen of ${page.viewportSize().width}`);
  };
  const check = async (path, file, isFirst = true) => {
    const before = seen.length;
    await fits(path);
    // A class that means two things stretches what should be a line.
    for (const note of await page.$$eval('.note', (all) => all.filter((e) => e.offsetHeight > innerHeight / 3).map((e) => e.textContent.trim()))) {
      seen.push(`${path}: a note fills the screen: ${note}`);
    }
    for (const violation of await violations(page, rules[name])) seen.push(`${path}: ${violation}`);
    await keep(name, file, seen.length > before);
    if (name === 'light') {
      // The colours of a kind of page are the same on each.
      if (isFirst) {
        await page.emulateMedia({ colorScheme: 'dark' });
        const violated = await violations(page, rules.dark);
        seen.push(...violated.map((violation) => `${path} in dark: ${violation}`));
        await keep('dark', file, violated.length);
        await page.emulateMedia({ colorScheme: 'light' });
      }
      await page.setViewportSize(TABLET);
      await fits(path);
      await page.setViewportSize(options.viewport);
    }
  };
  const keep = async (look, file, isWrong) => {
    if (!isWrong && !process.env.ORCH_TEST_PICTURES) return;
    mkdirSync(`${screens}/${look}`, { recursive: true });
    await page.screenshot({ path: `${screens}/${look}/${file}.png`, fullPage: true, timeout: 180_000 });
  };
  await page.goto(`${base}/login`);
  await check('/login', 'login');
  await signIn(page);
  for (const [route, pages] of found) {
    for (const [index, { path }] of pages.filter(isLookedAt).entries()) {
      await page.goto(base + path, { waitUntil: 'load' });
      await check(path, `${route.replace(/[{}]/g, '').replace(/\W+/g, '-').replace(/^-|-$/g, '') || 'home'}${index ? `-${index + 1}` : ''}`, !index);
    }
  }
  if (query) {
    await page.goto(`${base}/sql`);
    await page.fill('#sql', query);
    await page.selectOption('[name=chart]', 'line');
    await page.click('form[data-sql] button.main');
    await page.waitForSelector('#results');
    if (!(await page.$('svg.chart'))) seen.push('/sql draws no picture of its answer');
    await check('/sql with an answer', 'sql-answer');
    // A filter is changed by keyboard alone, and its value is in the address.
    await page.goto(`${base}/dashboards/weather`);
    for (let tabs = 0; (await page.evaluate(() => document.activeElement.name)) !== 'days'; tabs++) {
      if (tabs > 100) throw new Error('the keyboard does not reach the filter of a dashboard');
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Control+a');
    await page.keyboard.type('3');
    await page.keyboard.press('Enter');
    await page.waitForURL(/[?&]days=3\b/);
  }
  for (const lost of ['/dags/no_such_dag', '/nothing/here']) {
    await page.goto(base + lost);
    await check(lost, `lost${lost.replace(/\W+/g, '-')}`);
  }
  await page.goto(`${base}/dags`);
  await page.keyboard.press('Control+k');
  await page.waitForSelector('[role=option]');
  await check('the palette', 'palette');
  troubles.push(...seen.map((trouble) => `${name}: ${trouble}`));
}
await Promise.all(Object.entries(looks).map(([name, options]) => look(name, options)));

await browser.close();
const count = [...found.values()].reduce((sum, pages) => sum + pages.filter(isLookedAt).length, 0);
console.error(`looked at ${count} pages of ${found.size} kinds`);
verdict([...new Set(troubles)]);
