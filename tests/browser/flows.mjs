// The five things people do every day: see how things are, read a log, trigger, clear, mark; with the hands named by the
// first argument: a mouse, a keyboard alone, or a browser without JavaScript.
import { mkdirSync } from 'node:fs';
import { base, launch, looks, screens, signIn, verdict, visitor } from './browser.mjs';

const hands = process.argv[2];
const script = hands !== 'plain';
mkdirSync(`${screens}/${hands}`, { recursive: true });
const browser = await launch();
const { page, troubles } = await visitor(browser, { ...looks.light, javaScriptEnabled: script }, (text) => text.includes('status of 422'));
let step = 0;
const picture = (name) => page.screenshot({ path: `${screens}/${hands}/${++step}-${name}.png` });
const must = (truth, text) => { if (!truth) troubles.push(`${page.url().replace(base, '')}: ${text}`); };

/** Opens or presses what `locator` shows. */
const act = hands === 'keyboard' ? press : (locator) => locator.click();

/** As somebody without a mouse: Tab until it has the focus, which must be seen, then Enter. */
async function press(locator) {
  await reach(locator);
  await page.keyboard.press('Enter');
}
async function reach(locator) {
  const wanted = await locator.elementHandle();
  const has = () => wanted.evaluate((element) => element === document.activeElement);
  for (let tabs = 0; !(await has()); tabs++) {
    if (tabs > 250) throw new Error(`the keyboard does not reach ${locator}`);
    await page.keyboard.press('Tab');
  }
  const seen = await wanted.evaluate((element) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
    return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
  });
  must(seen, `the focus on ${locator} cannot be seen`);
}

/** A row of a list: walked to with j, from wherever the focus is. */
async function open(locator) {
  if (hands !== 'keyboard') return locator.click();
  const wanted = await locator.elementHandle();
  for (let rows = 0; !(await wanted.evaluate((element) => element === document.activeElement)); rows++) {
    if (rows > 60) throw new Error(`j does not lead to ${locator}`);
    await page.keyboard.press('j');
  }
  await page.keyboard.press('Enter');
}

/** Writes into a field. */
async function write(locator, text) {
  if (hands !== 'keyboard') return locator.fill(text);
  await reach(locator);
  await page.keyboard.press('Control+a');
  await page.keyboard.type(text);
}

/** By its key where there are keys, else by what can be pressed. */
async function shortcut(key, locator) {
  if (hands === 'keyboard') { await page.locator(`[data-key="${key}"]`).first().waitFor(); return page.keyboard.press(key); }
  return locator.click();
}

/** A page that shows how it is now: by itself, or by being asked again. */
async function becomes(locator) {
  if (script) return locator.waitFor();
  for (let tries = 0; !(await locator.count()); tries++) {
    if (tries > 100) throw new Error(`${page.url()} never shows ${locator}`);
    await new Promise((done) => setTimeout(done, 100));
    await page.reload();
  }
}

const main = page.locator('main');
const link = (name) => main.getByRole('link', { name }).first();
const button = (name) => main.getByRole('button', { name }).first();
const heading = page.locator('.head h1');

const flows = {
  async 'see how things are'() {
    if (hands === 'keyboard') {
      await page.goto(`${base}/login`);
      // A page that is drawn late takes its focus late: keys before that go nowhere.
      await page.locator('#username:focus').waitFor();
      await page.keyboard.type('admin');
      await write(page.locator('#password'), process.env.ORCH_PASSWORD);
      await page.keyboard.press('Enter');
      await page.waitForURL(`${base}/`);
    } else {
      await signIn(page);
    }
    await picture('home');
    await act(page.locator('nav.side').getByRole('link', { name: 'DAGs' }));
    await page.waitForURL(`${base}/dags`);
    await open(main.locator('a[href="/dags/test_second_try"]').first());
    await page.waitForURL('**/dags/test_second_try');
    await picture('dag');
    await act(main.locator('a[href*="/runs/broken"]').first());
    await page.waitForURL('**/runs/broken*');
    await becomes(heading.locator('.s-failed'));
    await picture('run');
  },

  async 'read a log'() {
    await act(main.locator('a[href*="/runs/broken/tasks/fetch"]').first());
    await page.waitForURL('**/tasks/fetch*');
    await becomes(main.locator('.log li.error').first());
    must((await main.locator('[data-log]').textContent()).includes('the source is empty'), 'the log does not say what happened');
    await picture('log');
  },

  async 'clear'() {
    await page.goto(`${base}/dags/test_second_try/runs/broken/tasks/fetch`);
    await shortcut('c', link(/^Clear/));
    await page.waitForURL('**/clear*');
    await picture('clear');
    const clear = button(/^Clear \d/);
    must(/Clear \d+/.test(await clear.textContent()), 'the button does not say how many');
    await act(clear);
    await page.waitForURL('**/runs/broken*');
    await becomes(heading.locator('.s-success'));
    await picture('cleared');
  },

  async 'trigger'() {
    await page.goto(`${base}/dags/example_params`);
    await shortcut('t', link(/^Trigger/));
    await page.waitForURL('**/trigger*');
    await write(page.locator('[name="p.limit"]'), 'many');
    await act(button(/^Trigger/));
    await page.locator('.f.bad').first().waitFor();
    await picture('bad');
    await write(page.locator('[name="p.limit"]'), '3');
    await picture('trigger');
    await act(button(/^Trigger/));
    await page.waitForURL('**/runs/*');
    await becomes(heading.locator('.s-success'));
    await picture('triggered');
    if (script) {
      const moved = await page.evaluate(() => globalThis.moved);
      must(moved < 0.1, `live data moved the page by ${moved.toFixed(3)}`);
    }
  },

  async 'mark'() {
    await page.goto(`${base}/dags/test_failing/runs/failed/tasks/fail`);
    await shortcut('m', link(/^Mark/));
    await page.waitForURL('**/mark*');
    await picture('mark');
    await act(button(/success/i));
    await page.waitForURL((url) => !url.pathname.endsWith('/mark'));
    await page.goto(`${base}/dags/test_failing/runs/failed/tasks/fail`);
    await becomes(heading.locator('.s-success'));
    await picture('marked');
  },

  /** A page whose stream is cut shows as of when its data is. The stream is a double, which the test opens and cuts. */
  async 'lose the server'() {
    if (!script) return;
    const other = await page.context().newPage();
    await other.addInitScript(() => {
      globalThis.EventSource = class extends EventTarget {
        static OPEN = 1;
        static CLOSED = 2;
        readyState = 1;
        constructor() { super(); globalThis.stream = this; }
        close() { this.readyState = 2; }
      };
    });
    await other.goto(`${base}/`);
    const tell = (name) => other.evaluate((name) => { globalThis.stream.dispatchEvent(new Event(name)); }, name);
    const state = async () => [await other.locator('[data-live-sign]').textContent(), await other.locator('html.connected').count()];
    await tell('open');
    const live = await state();
    must(live[0] === 'Live' && live[1] === 1, `a page with an open stream shows ${live}`);
    await tell('error');
    const lost = await state();
    must(/^Not connected; as of (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d$/.test(lost[0]) && lost[1] === 0, `a page whose stream is cut shows ${lost}`);
    must(!(await other.locator('.pulse').isVisible()), 'a page whose stream is cut shows that all parts are healthy');
    await other.close();
  },
};

for (const [name, flow] of Object.entries(flows)) {
  try {
    await flow();
  } catch (error) {
    await picture('broken');
    troubles.push(`${hands} cannot ${name}: ${error.message.split('\n')[0]} at ${page.url().replace(base, '')}`);
  }
}
await browser.close();
verdict(troubles);
