// What the numbers were while the page was open: one row each few seconds, for as long as a match
// lasts. A counter becomes a rate here, so that a restart of the origin is a hole and no cliff.

/** Five hours at one each five seconds. */
const MOST = 3600;

/**
 * What is drawn: `of` says of two readings what it was between them, by the line's name. `least` is
 * how high a chart is where all is small.
 */
export const SERIES = {
  delay: {
    title: 'Part delay',
    unit: 'ms',
    least: 100,
    about: 'From the encoder’s last byte of a part to its publication, on average, and how far ' +
      'each stream is behind its clock.',
    of: (now, before) => {
      const lines = scaled(now.by('sightscreen_behind_seconds', 'event'), 1000);
      const parts = grown(now, before, 'sightscreen_part_seconds_count');
      const seconds = grown(now, before, 'sightscreen_part_seconds_sum');
      if (parts > 0 && seconds !== null) lines.set('publication', (seconds / parts) * 1000);
      return lines;
    },
  },
  speed: {
    title: 'Encoder speed',
    unit: '×',
    about: 'Seconds of picture encoded in a second. Below 1 for long, viewers see slate.',
    digits: 2,
    of: (now, before, seconds) => rates(now, before, 'sightscreen_encoded_seconds_total', seconds),
  },
  offset: {
    title: 'Clock offset',
    unit: 'ms',
    least: 50,
    about: 'How far the publisher’s clock has fallen behind since it connected.',
    of: (now) => scaled(now.by('sightscreen_input_clock_offset_seconds', 'event'), 1000),
  },
  held: {
    title: 'Held requests',
    unit: '',
    least: 10,
    about: 'Requests at the origin that wait for the next part.',
    of: (now) => new Map([['origin', now.value('sightscreen_held_requests')]]),
  },
  requests: {
    title: 'Requests at the edges',
    unit: '/s',
    digits: 1,
    about: 'Of viewers, at each edge that the setting edges names.',
    of: (now, before, seconds) =>
      ofEdges(now, before, (edge, earlier) => grew(edge, earlier, 'requests') / seconds),
  },
  hits: {
    title: 'Hit rate',
    unit: '%',
    digits: 1,
    least: 100,
    about: 'Of what viewers needed at an edge, how much was there or on its way already.',
    of: (now, before) =>
      ofEdges(now, before, (edge, earlier) =>
        (grew(edge, earlier, 'hits') / grew(edge, earlier, 'wants')) * 100),
  },
};

export class History {
  #before = null;
  #beforeAt = 0;
  times = [];
  /** By series, by line: a value, or null, for each of `times`. */
  lines = new Map();

  /** Takes a reading, in Unix milliseconds. */
  note(metrics, atMs) {
    const seconds = (atMs - this.#beforeAt) / 1000;
    const before = this.#before !== null && seconds > 0 ? this.#before : null;
    const found = Object.entries(SERIES).map(([id, series]) =>
      [id, series.of(metrics, before, seconds)]);
    this.#push(atMs, found);
    this.#before = metrics;
    this.#beforeAt = atMs;
  }

  /** Values by series and line. */
  #push(atMs, found) {
    this.times.push(atMs / 1000);
    for (const [id, values] of found) {
      if (!this.lines.has(id)) this.lines.set(id, new Map());
      const lines = this.lines.get(id);
      for (const name of values.keys()) {
        if (!lines.has(name)) lines.set(name, Array(this.times.length - 1).fill(null));
      }
      for (const [name, column] of lines) column.push(finite(values.get(name)));
    }
    if (this.times.length > MOST) this.#drop();
  }

  #drop() {
    this.times.shift();
    for (const lines of this.lines.values()) {
      for (const [name, column] of lines) {
        column.shift();
        if (column.every((value) => value === null)) lines.delete(name);
      }
    }
  }
}

function finite(value) {
  return Number.isFinite(value) ? value : null;
}

function scaled(values, factor) {
  return new Map([...values].map(([name, value]) => [name, value * factor]));
}

/** By edge, what became of it between two readings. One that was begun anew has nothing. */
function ofEdges(now, before, value) {
  const found = new Map();
  for (const [name, edge] of now.edges) {
    const earlier = before?.edges.get(name);
    found.set(name, earlier === undefined ? null : value(edge, earlier));
  }
  return found;
}

function grew(edge, earlier, what) {
  return edge[what] < earlier[what] ? NaN : edge[what] - earlier[what];
}

function grown(now, before, name) {
  const [later, earlier] = [now.value(name), before?.value(name) ?? null];
  // A counter that fell was begun anew.
  return later === null || earlier === null || later < earlier ? null : later - earlier;
}

function rates(now, before, name, seconds) {
  if (before === null) return new Map();
  const earlier = before.by(name, 'event');
  const rate = ([event, value]) => {
    const was = earlier.get(event);
    return [event, was === undefined || value < was ? null : (value - was) / seconds];
  };
  return new Map([...now.by(name, 'event')].map(rate));
}
