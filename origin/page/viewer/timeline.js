// The timeline: the last minute and what is announced, one cell for each media sequence number.

import { announced, cells } from './stream.js';

const BEHIND_S = 40;
const AHEAD_S = 10;
const CELLS = { top: 26, height: 34 };
const CONTENT = '#24513d';
const GAP = '#2a2f2c';
const FONT = '11.5px ui-sans-serif, system-ui, "DejaVu Sans", sans-serif';
// Creatives side by side must differ; all of them stay in the amber family that says "break".
const CREATIVES = ['#f2b24a', '#d98a3d', '#f0cf7a', '#c9703f', '#e7a06a'];

export class Timeline {
  /** `name` says what people call a creative. */
  constructor(canvas, name) {
    this.canvas = canvas;
    this.name = name;
    this.pen = canvas.getContext('2d');
  }

  draw({ details, playhead, buffered }) {
    const { pen } = this;
    const width = this.#size();
    pen.clearRect(0, 0, width, this.canvas.clientHeight);
    if (!details || details.fragments.length === 0) return;
    const span = width < 520 ? 0.55 : 1;
    // The left edge moves with the playhead, so that time flows evenly and the cells move under it.
    const from = playhead - BEHIND_S * span;
    const scale = width / ((BEHIND_S + AHEAD_S) * span);
    const view = { width, scale, x: (time) => (time - from) * scale };
    this.#announced(view, announced(details));
    this.#cells(view, details);
    this.#buffered(view, buffered);
    this.#edge(view, details.edge);
    this.#playhead(view, playhead);
  }

  #size() {
    const { canvas, pen } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = FONT;
    return width;
  }

  #cells(view, details) {
    const fragments = shaded(cells(details));
    let labelled = null;
    for (const cell of fragments) {
      const left = view.x(cell.start);
      const right = view.x(cell.end);
      if (right < 0 || left > view.width) continue;
      this.#cell(left, right, cell);
      if (cell.creative !== null && cell.creative !== labelled) this.#slot(view, cell, fragments);
      labelled = cell.creative;
      if (cell.sn % 5 === 0) this.#number(left, right, cell.sn);
    }
  }

  #cell(left, right, cell) {
    const { pen } = this;
    pen.fillStyle = cell.creative === null ? (cell.gap ? GAP : CONTENT) : cell.shade;
    pen.globalAlpha = cell.partial ? 0.6 : 1;
    rounded(pen, left + 1, CELLS.top, Math.max(1, right - left - 2), CELLS.height, 3);
    pen.fill();
    pen.globalAlpha = 1;
  }

  /** The creative's name above its cells. */
  #slot(view, first, all) {
    const { pen } = this;
    let end = first.end;
    for (const cell of all)
      if (cell.start >= first.start && cell.creative === first.creative && cell.start <= end + 0.01)
        end = Math.max(end, cell.end);
    const left = Math.max(2, view.x(first.start) + 2);
    const room = view.x(end) - left - 4;
    if (room < 12) return;
    pen.fillStyle = first.shade;
    pen.textAlign = 'left';
    pen.fillText(fitted(pen, this.name(first.creative), room), left, CELLS.top - 9);
  }

  #number(left, right, sn) {
    const { pen } = this;
    pen.fillStyle = '#7d8c84';
    pen.textAlign = 'center';
    pen.fillText(String(sn), (left + right) / 2, CELLS.top + CELLS.height + 21);
  }

  #announced(view, breaks) {
    const { pen } = this;
    pen.save();
    pen.strokeStyle = '#f2b24a';
    pen.setLineDash([4, 4]);
    for (const one of breaks) {
      const left = view.x(one.start);
      const right = one.end === null ? view.width : view.x(one.end);
      if (right < 0 || left > view.width) continue;
      rounded(
        pen,
        left + 0.5,
        CELLS.top - 3.5,
        Math.max(2, Math.min(right, view.width + 20) - left - 1),
        CELLS.height + 7,
        5,
      );
      pen.stroke();
    }
    pen.restore();
  }

  #buffered(view, buffered) {
    const { pen } = this;
    pen.fillStyle = '#8fa39a';
    for (let i = 0; i < buffered.length; i += 1) {
      const left = Math.max(0, view.x(buffered.start(i)));
      const right = Math.min(view.width, view.x(buffered.end(i)));
      if (right > left) pen.fillRect(left, CELLS.top + CELLS.height + 6, right - left, 2);
    }
  }

  #edge(view, edge) {
    const { pen } = this;
    const x = view.x(edge);
    pen.fillStyle = '#ef5b50';
    pen.fillRect(x, CELLS.top - 4, 2, CELLS.height + 8);
    pen.textAlign = 'left';
    if (x + 34 < view.width) pen.fillText('live', x + 6, CELLS.top + CELLS.height / 2 + 4);
  }

  #playhead(view, playhead) {
    const { pen } = this;
    const x = view.x(playhead);
    pen.fillStyle = '#ffffff';
    pen.fillRect(x - 1, CELLS.top - 5, 2, CELLS.height + 15);
    pen.beginPath();
    pen.arc(x, CELLS.top + CELLS.height + 10, 4, 0, 2 * Math.PI);
    pen.fill();
  }
}

/** Gives creatives their colours: always the same one, unless the neighbour before has it. */
function shaded(all) {
  let before = null;
  for (const cell of all) {
    if (cell.creative !== null) {
      const same = before?.creative === cell.creative;
      const own = shade(cell.creative);
      cell.shade = same
        ? before.shade
        : own === before?.shade
          ? CREATIVES[(CREATIVES.indexOf(own) + 1) % CREATIVES.length]
          : own;
    }
    before = cell;
  }
  return all;
}

function shade(creative) {
  let sum = 0;
  for (const letter of creative) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return CREATIVES[sum % CREATIVES.length];
}

function fitted(pen, label, room) {
  if (pen.measureText(label).width <= room) return label;
  let short = label;
  while (short.length > 1 && pen.measureText(`${short}…`).width > room) short = short.slice(0, -1);
  return `${short}…`;
}

function rounded(pen, x, y, width, height, radius) {
  pen.beginPath();
  pen.roundRect(x, y, width, height, Math.min(radius, width / 2));
}
