// The keyboard, and a television's remote control, of which the arrows are all there is.

import { element } from '../shared/dom.js';

const STEP_S = 10;
const LOUDER = 0.1;
/** Where letters choose among options or go into a text. */
const TAKES_LETTERS = 'select, input:not([type=range]), textarea';
const TAKES_ARROWS = 'select, input, textarea';

export class Keys {
  #controls;
  #player;
  #isTelevision;

  constructor(controls, player, address) {
    this.#controls = controls;
    this.#player = player;
    this.#isTelevision = isTelevision(address);
    document.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || element('help').open) return;
      if (this.#press(event)) event.preventDefault();
    });
    element('help-open').onclick = () => element('help').showModal();
  }

  /** Whether the key meant something here. */
  #press(event) {
    const { key, target } = event;
    if (element('stage').hidden) return false;
    if (key === 'Escape') return this.#controls.closePanel();
    if (target.matches?.(TAKES_LETTERS)) return false;
    if (key === ' ' || key === 'Enter') return this.#plays(target, key);
    const act = this.#letters()[key.toLowerCase()];
    if (act !== undefined) {
      act();
      return true;
    }
    return this.#arrow(key, target);
  }

  #plays(target, key) {
    const presses = target.matches?.('button, a, input, summary');
    if (presses || (key === 'Enter' && !this.#isTelevision)) return false;
    this.#controls.togglePlay();
    return true;
  }

  #letters() {
    return {
      m: () => this.#controls.toggleSound(),
      f: () => this.#controls.fullScreen(),
      c: () => this.#controls.toggleCaptions(),
      l: () => this.#player.goLive(),
      k: () => this.#controls.togglePlay(),
      '?': () => element('help').showModal(),
    };
  }

  #arrow(key, target) {
    const forward = document.documentElement.dir === 'rtl' ? 'ArrowLeft' : 'ArrowRight';
    const back = forward === 'ArrowLeft' ? 'ArrowRight' : 'ArrowLeft';
    const isAway = key === 'ArrowUp' || key === 'ArrowDown';
    if (this.#isTelevision && (isAway || target.matches?.('button')))
      return moveFocus(target, { key, forward, back });
    if (target.matches?.(TAKES_ARROWS)) return false;
    const acts = {
      [forward]: () => this.#controls.skip(STEP_S),
      [back]: () => this.#controls.skip(-STEP_S),
      ArrowUp: () => this.#controls.louder(LOUDER),
      ArrowDown: () => this.#controls.louder(-LOUDER),
    };
    if (acts[key] === undefined) return false;
    acts[key]();
    this.#controls.wake();
    return true;
  }
}

function isTelevision(address) {
  const names = /\b(Tizen|Web0S|WebOS|SMART-TV|SmartTV|BRAVIA|AFT[A-Z]|CrKey|GoogleTV|Roku)\b/;
  return address.searchParams.get('tv') === '1' || names.test(navigator.userAgent);
}

/** From one control to the next: rows are as they lie on the screen. */
function moveFocus(target, { key, forward, back }) {
  const all = [...document.querySelectorAll('button, a[href], select, input')]
    .filter((one) => !one.disabled && one.checkVisibility());
  const at = all.indexOf(target);
  if (at === -1) {
    element('play').focus();
    return true;
  }
  if (key === forward || key === back) {
    all[at + (key === forward ? 1 : -1)]?.focus();
    return true;
  }
  const here = middle(target);
  const down = key === 'ArrowDown' ? 1 : -1;
  const others = all.filter((one) => (middle(one).y - here.y) * down > 8);
  const far = (one) => Math.abs(middle(one).y - here.y) * 4 + Math.abs(middle(one).x - here.x);
  others.sort((one, other) => far(one) - far(other))[0]?.focus();
  return true;
}

function middle(one) {
  const box = one.getBoundingClientRect();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}
