// The token: where it comes from and where it is kept. It is in this tab's own store, gone with the
// tab, and never in the address for longer than it takes to read it.

const KEY = 'sightscreen-operator-token';
const LONGEST = 512;

/** Whether what is typed here can be read by nobody on the way. */
export function isSafe() {
  return window.isSecureContext === true;
}

/** A token in the address, which is taken out of it at once; or null. */
export function fromAddress() {
  const told = new URLSearchParams(location.hash.slice(1));
  const token = told.get('token');
  if (token === null) return null;
  history.replaceState(null, '', `${location.pathname}${location.search}#/`);
  return clean(token);
}

export function kept() {
  try {
    return clean(sessionStorage.getItem(KEY));
  } catch {
    // A browser that stores nothing asks for the token each time.
    return null;
  }
}

export function keep(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // As above.
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

/** What could be a token: a header can carry it. */
export function clean(text) {
  const token = (text ?? '').trim();
  return token !== '' && token.length <= LONGEST && /^[\x21-\x7e]+$/.test(token) ? token : null;
}
