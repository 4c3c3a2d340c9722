// Reads the text format of Prometheus, of which the page needs names, labels and values.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)(?: \d+)?$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { '\\n': '\n', '\\"': '"', '\\\\': '\\' };
/** Lines past this are left out: no page draws so many. */
const LINES_MOST = 50_000;

export class Metrics {
  #samples = new Map();

  /** `edges` are the numbers of edges that answer, by name. */
  constructor(text, edges = new Map()) {
    this.edges = edges;
    for (const line of text.split('\n', LINES_MOST)) {
      const found = line.startsWith('#') ? null : LINE.exec(line);
      if (found === null) continue;
      const [, name, labels, value] = found;
      if (!this.#samples.has(name)) this.#samples.set(name, []);
      this.#samples.get(name).push({ labels: labelsOf(labels ?? ''), value: Number(value) });
    }
  }

  /** All samples of a name. */
  all(name) {
    return this.#samples.get(name) ?? [];
  }

  /** The value with these labels, or null. */
  value(name, labels = {}) {
    const wanted = Object.entries(labels);
    const fits = (sample) => wanted.every(([label, value]) => sample.labels[label] === value);
    return this.all(name).find(fits)?.value ?? null;
  }

  /** Values by a label. */
  by(name, label) {
    return new Map(this.all(name).map((sample) => [sample.labels[label] ?? '', sample.value]));
  }
}

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    labels[name] = value.replaceAll(/\\[n"\\]/g, (escape) => ESCAPES[escape]);
  }
  return labels;
}
