// One stream: its state in words and as a timeline, what an operator can do, and what was done.

import { make } from '../shared/dom.js';
import { poll } from '../shared/poll.js';
import { Actions } from './actions.js';
import { Breaks, Creatives, Pods } from './breaks.js';
import { Log } from './log.js';
import { badge, card, Facts, say, setBadge } from './parts.js';
import { Switches } from './switches.js';
import { summary, Timeline } from './timeline.js';
import { encoder, lasting, number, stateOf } from './words.js';

const EVERY_MS = 1500;
const CREATIVES_MS = 10_000;
/** A timeline moves by itself between two answers. */
const DRAW_MS = 500;
const FACTS = ['Input', 'Behind', 'Encoder', 'Encoder starts', 'Publisher’s clock', 'Disk', 'API'];

export class EventView {
  #event;
  #control;
  #watch;
  #turn = 0;
  #ends = [];
  #title = make('h1');
  #badge = badge();
  #now = make('p', { className: 'headline' });
  #cause = make('p', { className: 'cause', hidden: true });
  #facts = new Facts(FACTS);
  #timeline = new Timeline();
  #parts;
  #pods;
  #creatives = new Creatives();
  #log;
  #state = null;

  constructor({ event, control, watch, may }) {
    this.#event = event;
    this.#control = control;
    this.#watch = watch;
    this.title = watch.title(event);
    const shared = {
      event, control, may,
      title: () => watch.title(event),
      refresh: () => this.#read(),
      edge: () => this.#timeline.edge(),
    };
    this.#pods = new Pods(shared);
    const breaks = new Breaks((id) => this.#pods.open(id));
    const actions = new Actions(shared);
    const switches = new Switches(shared);
    this.#parts = [this.#timeline, actions, switches, breaks];
    this.#log = new Log({ control, stream: event });
    this.node = this.#laidOut(actions, switches, breaks);
    const redraw = setInterval(() => this.#tick(), DRAW_MS);
    this.#ends.push(
      () => clearInterval(redraw),
      () => this.#timeline.end(),
      () => this.#log.end(),
      poll(EVERY_MS, () => this.#read()),
      poll(CREATIVES_MS, () => this.#readCreatives()),
      watch.follow(() => say(this.#title, watch.title(event))),
    );
    say(this.#title, this.title);
  }

  end() {
    this.#turn = Infinity;
    this.#ends.forEach((end) => end());
  }

  #laidOut(actions, switches, breaks) {
    const aside = make('a', {
      className: 'act', textContent: 'Two cohorts side by side',
      href: `#/event/${encodeURIComponent(this.#event)}/cohorts`,
    });
    return make(
      'div', { className: 'event' },
      make('div', { className: 'head' }, this.#title, this.#badge, aside),
      make('div', { className: 'stand' }, this.#now, this.#cause),
      this.#timeline.node,
      make(
        'div', { className: 'columns' },
        make('div', {}, actions.node, switches.node, card('Health', this.#facts.node)),
        make(
          'div', {}, breaks.node, this.#pods.node, this.#creatives.node,
          card('Log', this.#log.node),
        ),
      ),
    );
  }

  /** Whether the origin answered. An answer that was overtaken is not shown. */
  async #read() {
    const turn = ++this.#turn;
    try {
      const state = await this.#control.get(`/control/events/${this.#event}`);
      if (turn === this.#turn) this.#show(state);
      return true;
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
      return false;
    }
  }

  async #readCreatives() {
    try {
      const { creatives = [] } = await this.#control.get(
        `/control/events/${this.#event}/creatives`,
      );
      this.#creatives.show(creatives);
      return true;
    } catch (error) {
      this.#creatives.fail(error.message);
      return false;
    }
  }

  #show(state) {
    const revision = this.#state?.ledger?.revision;
    this.#state = state;
    setBadge(this.#badge, state.state);
    this.#parts.forEach((part) => part.show(state));
    this.#health(state);
    if (revision !== state.ledger?.revision) this.#pods.refresh();
    this.#tick();
  }

  #fail(error) {
    setBadge(this.#badge, 'unknown');
    this.#cause.hidden = false;
    say(this.#cause, `${error.message} What is shown may be out of date.`);
  }

  #tick() {
    if (this.#state === null) return;
    const { state } = this.#state;
    this.#timeline.draw();
    const isOn = state === 'live' || state === 'interrupted';
    say(this.#now, isOn ? summary(this.#state, this.#timeline.edge()) : `${stateOf(state).says}.`);
  }

  #health({ media = {}, api = {} }) {
    const cause = media.cause ?? '';
    say(this.#cause, cause);
    this.#cause.hidden = cause === '';
    const lacking = media.lacking ?? [];
    const input = lacking.length > 0 ? `missing: ${lacking.join(', ')}` : media.state ?? '–';
    this.#facts.set('Input', input, lacking.length > 0 ? 'bad' : '');
    const late = media.state === 'live' && media.behind_ms > 1500;
    this.#facts.set('Behind', `${number(media.behind_ms)} ms`, late ? 'bad' : '');
    this.#facts.set('Encoder', encoder(media.encoder));
    this.#facts.set('Encoder starts', number(media.encoder_starts));
    this.#facts.set('Publisher’s clock', clockOf(media));
    const [disk, tone] = diskOf(media.disk);
    this.#facts.set('Disk', disk, tone);
    this.#facts.set('API', api.up === false ? `down (${api.mode})` : 'up', api.up ? '' : 'bad');
  }
}

function clockOf({ clock_offset_ms: offset, clock_drift_ppm: drift }) {
  if (!Number.isFinite(offset)) return '–';
  if (Math.abs(offset) < 1 && Math.abs(drift) < 1) return 'as the origin’s';
  const away = Math.abs(offset);
  const told = away < 1000 ? `${away} ms` : lasting(away / 1000);
  return `${told} ${offset < 0 ? 'ahead' : 'behind'}, drifts ${number(drift)} ppm`;
}

function diskOf(disk) {
  if (!disk) return ['–', ''];
  if (disk.lost_segments > 0) return [`${disk.lost_segments} segments lost`, 'bad'];
  return disk.late ? ['late', 'bad'] : ['keeps up', ''];
}
