// Never stuck: enters anew when the picture has stood for some seconds though there is more to
// play, or though the playlist ought to have grown. The pauses between its tries grow, and differ
// between viewers, so that a fault of the stream does not make a crowd knock in step.

const LOOK_MS = 1000;
/** How long the picture may stand while there is media to play, in seconds. */
const PATIENCE_S = 6;
/** How many of its target durations a playlist may stand still before it counts as lost. */
const OLD_TARGETS = 4;
const PATIENCE_MOST_S = 60;
/** Playing so long without a try makes it patient only as at first. */
const WELL_S = 20;

export class Watchdog {
  /** How often it had to enter anew. */
  bites = 0;
  #player;
  #time = -1;
  #standsSince = performance.now();
  #movesSince = null;
  #patienceS = spread(PATIENCE_S);
  #step = PATIENCE_S;
  #lookedAt = performance.now();

  constructor(player) {
    this.#player = player;
    setInterval(() => this.#look(), LOOK_MS);
  }

  /** The time that passed unseen is not held against the stream. */
  forgive() {
    this.#standsSince = performance.now();
  }

  #look() {
    const { video } = this.#player;
    const now = performance.now();
    // A machine that slept, or a tab whose timers rest.
    if (now - this.#lookedAt > 5 * LOOK_MS) this.forgive();
    this.#lookedAt = now;
    if (video.paused || this.#player.hls === null || this.#player.isOver) {
      this.forgive();
      return;
    }
    if (video.currentTime !== this.#time) {
      this.#time = video.currentTime;
      this.#standsSince = now;
      this.#movesSince ??= now;
      if (now - this.#movesSince > WELL_S * 1000) this.#calm();
      return;
    }
    this.#movesSince = null;
    if (now - this.#standsSince < this.#patienceS * 1000 || !this.#hasMore(now)) return;
    this.bites += 1;
    this.#step = Math.min(this.#step * 2, PATIENCE_MOST_S);
    this.#patienceS = spread(this.#step);
    this.forgive();
    this.#player.stuck();
  }

  #calm() {
    this.#step = PATIENCE_S;
    this.#patienceS = spread(PATIENCE_S);
  }

  /** Whether there is media after the playhead, or no new playlist where there ought to be one. */
  #hasMore() {
    const { details, playhead } = this.#player.state();
    if (!details) return true;
    const after = details.fragments.some(({ gap, end }) => !gap && end > playhead + 1);
    const isOld = details.live && details.age > OLD_TARGETS * details.targetduration;
    return after || isOld;
  }
}

function spread(seconds) {
  return seconds * (0.75 + Math.random() / 2);
}
