// One Chromium, signed in, that remembers everything that went wrong on the way: errors and warnings of the console (the
// content security policy speaks there, too), exceptions, requests that failed.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const { ORCH_URL, ORCH_PASSWORD, ORCH_CHROMIUM, ORCH_SCREENS } = process.env;
export const base = ORCH_URL;
export const screens = ORCH_SCREENS;

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** How people look at pages. */
export const looks = {
  light: { viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light', hasTouch: true, isMobile: true },
};

/** What axe-core looks for. Dark has the elements of light and a phone its colours, and contrasts take longest. */
const contrasts = 'color-contrast';
export const rules = {
  light: {},
  dark: { runOnly: [contrasts] },
  phone: { rules: { [contrasts]: { enabled: false } } },
};

export const launch = () => chromium.launch({
  executablePath: ORCH_CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A page of somebody who is not signed in yet. `expected` tells which complaints belong to what is tested. */
export async function visitor(browser, options, expected = () => false) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const troubles = [];
  const trouble = (text) => { if (!expected(text)) troubles.push(`${page.url().replace(base, '')}: ${text}`); };
  page.on('console', (said) => { if (['error', 'warning'].includes(said.type())) trouble(said.text()); });
  page.on('pageerror', (error) => trouble(error.message));
  // A page that is left ends what it was loading, its live stream first of all.
  page.on('requestfailed', (request) => {
    const why = request.failure()?.errorText;
    if (why !== 'net::ERR_ABORTED') trouble(`${request.url()} ${why}`);
  });
  page.on('response', (response) => { if (response.status() >= 500) trouble(`${response.url()} answered ${response.status()}`); });
  // What moves although nobody touched anything.
  await context.addInitScript(() => {
    globalThis.moved = 0;
    new PerformanceObserver((list) => {
      for (const shift of list.getEntries()) if (!shift.hadRecentInput) globalThis.moved += shift.value;
    }).observe({ type: 'layout-shift', buffered: true });
  });
  return { context, page, troubles };
}

export async function signIn(page, name = 'admin', password = ORCH_PASSWORD) {
  await page.goto(`${base}/login`);
  await page.fill('#username', name);
  await page.fill('#password', password);
  await page.click('button[type=submit]');
  await page.waitForURL(`${base}/`);
}

/** What axe-core has against the page as it is now. */
export async function violations(page, rules = {}) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe);
  const { violations } = await page.evaluate((rules) => globalThis.axe.run({ resultTypes: ['violations'], ...rules }), rules);
  return violations.map(({ id, nodes }) => `axe ${id} ×${nodes.length}: ${nodes[0].html.slice(0, 160)} ${nodes[0].failureSummary.replace(/\s+/g, ' ').slice(0, 200)}`);
}

/** Ends the program as a test: silent and 0 when all is well. */
export function verdict(troubles) {
  for (const trouble of troubles) console.log(trouble);
  process.exitCode = troubles.length ? 1 : 0;
}
