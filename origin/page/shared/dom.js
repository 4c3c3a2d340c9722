// The little of the DOM that several modules share.

export function element(id) {
  return document.getElementById(id);
}

export function text(id, value) {
  const node = element(id);
  const next = String(value);
  if (node.textContent !== next) node.textContent = next;
}

export function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** An identifier as the edge's routes take it, or null. */
export function keyed(value) {
  return value !== null && /^[a-z0-9][a-z0-9.-]{0,63}$/.test(value) && !value.includes('..')
    ? value
    : null;
}

const PATIENCE_MS = 5000;

/** A signal for a request that nobody waits for any longer than a few seconds. */
export function soon() {
  return AbortSignal.timeout(PATIENCE_MS);
}

/** JSON of an answer, or an error that says what came. */
export async function json(answer) {
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.title ?? problem.error ?? `status ${answer.status}`);
  }
  return answer.json();
}
