// What every driver shares: its plan, from the command line, and a Chromium that reaches for
// nothing but the page.

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

/** Runs `use` with a browser, and ends the browser whatever comes of it. */
export async function withChromium(use) {
  const { chromium } = createRequire(`${plan.packages}/`)('playwright-core');
  const browser = await chromium.launch({ executablePath: plan.chromium, args: FLAGS });
  try {
    return await use(browser);
  } finally {
    await browser.close();
  }
}

/** What no page of a run may do: throw what nobody catches, or ask any other than its own server. */
export const faults = { thrown: [], outside: [] };

/** A page of a viewer who shares nothing with the others, and what it complains of. */
export async function open(browser, url) {
  const context = await browser.newContext({ viewport: DESKTOP });
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
