// What a view of the operator's page is made of: a picture's structure, which fonts and numbers do
// not change.

/** Runs in the page. Each line is what something is, its name, and in which column it stands. */
export function structure() {
  const kinds = 'h1, h2, button, a, select, input, table, figure, svg[role=img], iframe, summary';
  const main = document.querySelector('main');
  const columns = [];
  const column = (left) => {
    const known = columns.findIndex((other) => Math.abs(other - left) < 40);
    return known >= 0 ? known : columns.push(left) - 1;
  };
  const name = (node) => {
    if (node.localName === 'svg') return 'timeline';
    if (node.localName === 'iframe') return node.title;
    const label = node.getAttribute('aria-label') ?? node.labels?.[0]?.firstChild?.textContent ??
      node.querySelector(':scope > caption, :scope > h2')?.textContent;
    const words = label || node.textContent;
    return words.trim().replaceAll(/\d+/g, '#').slice(0, 40);
  };
  const lines = [];
  for (const node of main.querySelectorAll(kinds)) {
    const box = node.getBoundingClientRect();
    if (box.width === 0 || node.closest('.u-legend') !== null) continue;
    const place = ['h1', 'h2', 'figure', 'iframe'].includes(node.localName)
      ? ` in ${column(node.closest('.card, figure, h1').getBoundingClientRect().left)}`
      : '';
    lines.push(`${node.localName} ${name(node)}${place}`);
  }
  return lines;
}

/** What must be there, in this order; more may be. */
export const STRUCTURE = {
  streams: ['h1 Streams in 0', 'a Sightscreen test match'],
  event: [
    'h1 Sightscreen test match in 0', 'a Two cohorts side by side', 'svg timeline',
    'h2 Break in 0', 'select Length', 'button Break now', 'button Break at …', 'button Extend',
    'button Return',
    'h2 Switches in 0', 'button Ads', 'button Low latency', 'button Snapshots', 'button Panic',
    'h2 Health in 0', 'h2 Breaks in 1', 'h2 Creatives in 1', 'table Creatives', 'h2 Log in 1',
  ],
  numbers: [
    'h1 Numbers in 0', 'h2 Part delay (ms) in 0', 'summary As a table', 'h2 Encoder speed (×) in 1',
    'h2 Clock offset (ms) in 0', 'h2 Held requests in 1', 'h2 Requests at the edges (/s) in 0',
    'h2 Hit rate (%) in 1', 'h2 Edges in 0', 'table Edges',
  ],
  log: ['h1 Who did what in 0', 'table Log, newest first'],
  cohorts: [
    'h1 Two cohorts of Sightscreen test match in 0', 'svg timeline', 'h2 One viewer in 0',
    'iframe One viewer in 0', 'h2 Other viewer in 1', 'iframe Other viewer in 1', 'h2 Break in 0',
    'button Break now',
  ],
};
