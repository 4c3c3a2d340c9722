// What every driver shares: its plan, from the command line, a Chromium that reaches for nothing
// but the page, what was checked, and the control API.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export const plan = JSON.parse(process.argv[2]);

// No process of the browser may reach for the network, and none needs a screen.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
];
const DESKTOP = { width: 1440, height: 1000 };
const PATIENCE_MS = 30_000;
const POLL_MS = 200;

/** Runs `use` with a browser, and ends the browser whatever comes of it. */
export async function withChromium(use, flags = []) {
  const { chromium } = createRequire(`${plan.packages}/`)('playwright-core');
  const browser = await chromium.launch({
    executablePath: plan.chromium, args: [...FLAGS, ...flags],
  });
  try {
    return await use(browser);
  } finally {
    await browser.close();
  }
}

/** What no page of a run may do: throw what nobody catches, or ask any but its own server. */
export const faults = { thrown: [], outside: [] };

/** A page of a viewer who shares nothing with the others, and what it complains of. */
export async function open(browser, url, size = DESKTOP) {
  const context = await browser.newContext({ viewport: size });
  const { origin } = new URL(url);
  context.on('request', (request) => {
    if (leaves(request.url(), origin)) faults.outside.push(request.url());
  });
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => faults.thrown.push(String(error?.message ?? error)));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  const opened = Date.now();
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  return { page, problems, opened };
}

/** A blob has the origin of the page that made it. */
function leaves(address, allowed) {
  const { protocol, origin } = new URL(address);
  return protocol !== 'data:' && origin !== allowed;
}

/** What the page measured of itself. */
export function measured(page) {
  return page.evaluate(() => window.sightscreen.measure());
}

/** What was checked, in its order. */
export const checks = [];

export function check(passed, what) {
  checks.push({ passed, what });
}

/** Looks again and again until `look` gives something; an error says what did not come. */
export async function until(what, look, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${patience / 1000} s`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

/** Asks the control API; an error says what it answered. */
export async function control(method, path, body) {
  const answer = await fetch(plan.control + path, {
    method,
    headers: { authorization: `Bearer ${plan.token}` },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** Checks that axe finds nothing that it calls serious or worse. */
export async function serious(page, where) {
  const axe = readFileSync(`${plan.packages}/node_modules/axe-core/axe.min.js`, 'utf8');
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, {
      iframes: false, resultTypes: ['violations'],
    });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.target).join(' ')}`);
  });
  check(found.length === 0, `axe finds nothing serious in ${where} ${found.join('; ')}`);
}
