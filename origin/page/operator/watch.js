// What is read for as long as somebody is signed in, whichever view is open: the metrics, from
// which the list of streams and the charts are made, and the streams' names. Two requests for any
// number of streams.

import { poll } from '../shared/poll.js';
import { History } from './history.js';
import { Metrics } from './metrics.js';

const METRICS_MS = 5000;
const STREAMS_MS = 10_000;
/** Pages of the list of streams. */
const PAGES_MOST = 10;

export class Watch {
  #control;
  #ends = [];
  #listeners = new Set();
  history = new History();
  metrics = null;
  /** By name: what the API says of a stream. The metrics know of streams without it. */
  streams = new Map();
  /** What each edge that the origin knows says, or why it says nothing. */
  edges = [];
  /** Why the list of streams cannot be read, in words; empty where it can. */
  without = '';

  constructor(control, onTrouble) {
    this.#control = control;
    this.#ends.push(
      poll(METRICS_MS, async () => {
        try {
          const [text, edges] = await Promise.all([control.text('/metrics'), this.#readEdges()]);
          this.metrics = new Metrics(text, edges);
          this.history.note(this.metrics, Date.now());
          onTrouble(null);
          this.#tell();
          return true;
        } catch (error) {
          onTrouble(error);
          return false;
        }
      }),
      poll(STREAMS_MS, () => this.#readStreams()),
    );
  }

  /** Has `listener` called at each news, and answers with what ends that. */
  follow(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  end() {
    this.#ends.forEach((end) => end());
    this.#listeners.clear();
  }

  /** What people call a stream. */
  title(id) {
    return this.streams.get(id)?.title ?? id;
  }

  #tell() {
    this.#listeners.forEach((listener) => listener());
  }

  /** Numbers of the edges that answer, by name. The origin's own count without them. */
  async #readEdges() {
    try {
      const { edges = [] } = await this.#control.get('/control/edges');
      this.edges = edges;
    } catch {
      this.edges = this.edges.map((edge) => ({ ...edge, reachable: false, reason: '' }));
    }
    const there = this.edges.filter((edge) => edge.reachable);
    return new Map(there.map((edge) => [edge.name, edge]));
  }

  async #readStreams() {
    try {
      const found = new Map();
      let cursor = '';
      for (let page = 0; page < PAGES_MOST && cursor !== null; page += 1) {
        const path = `/api/v1/streams?limit=200${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const { streams, next } = await this.#control.get(path);
        for (const stream of streams ?? []) found.set(stream.id, stream);
        cursor = next ?? null;
      }
      this.streams = found;
      this.without = '';
    } catch (error) {
      // The streams that run are known from the metrics all the same.
      this.without = error.message;
    }
    this.#tell();
    return this.without === '';
  }
}
