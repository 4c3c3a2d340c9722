// What happened since the page was opened, for the page itself and for whoever drives it.
// Invariant: only what was observed is reported; a value not seen is null or absent.

import Hls from 'hls.js';
import { creativeOf } from './stream.js';
import { ageOf, readStrip } from './strip.js';

const STALL_S = 0.1;
const SAMPLE_MS = 50;
const STRIP_MS = 500;
const KEPT = 2000;

export class Measure {
  stalls = [];
  pictureLatency = null;
  /** `{epochMs, framesPerSecond}` of the event, once known. */
  clock = null;
  #video;
  #firstPictureMs = null;
  /** Sequence numbers that the playhead was in, with what was loaded for them. */
  #played = [];
  #loaded = new Map();
  #latencies = [];
  #pictures = [];
  #errors = [];
  /** When the stream was entered anew, and why. */
  #entries = [];
  #still = { time: 0, since: 0, seen: 0 };
  #stripAt = 0;
  #revisions = new Set();

  constructor(video) {
    this.#video = video;
    setInterval(() => this.#sample(), SAMPLE_MS);
    this.#frames();
  }

  /** Follows a new hls.js. */
  watch(hls) {
    hls.on(Hls.Events.FRAG_LOADED, (_, { frag, part }) => {
      if (frag.type === 'main' && Number.isInteger(frag.sn))
        this.#keep(frag.sn, creativeOf(part ?? frag));
    });
    hls.on(Hls.Events.ERROR, (_, { type, details, fatal, response, error }) => {
      push(this.#errors, {
        at: Math.round(performance.now()),
        type,
        details,
        fatal,
        status: response?.code ?? null,
        reason: error?.message ?? null,
      });
    });
  }

  /** The stream is entered anew, for this reason. */
  noteEntry(why) {
    push(this.#entries, { at: Math.round(performance.now()), why });
  }

  /** Takes what the page shows now. */
  note(now) {
    if (now.latency !== null && this.#firstPictureMs !== null && !this.#video.paused)
      push(this.#latencies, now.latency);
    if (now.revision !== null) this.#revisions.add(now.revision);
    if (
      now.sequence !== null &&
      now.sequence !== this.#played.at(-1)?.sn &&
      this.#loaded.has(now.sequence)
    ) {
      push(this.#played, {
        at: Math.round(performance.now()),
        sn: now.sequence,
        creative: this.#loaded.get(now.sequence),
      });
    }
  }

  dropped() {
    return this.#video.getVideoPlaybackQuality().droppedVideoFrames;
  }

  report() {
    const video = this.#video;
    const quality = video.getVideoPlaybackQuality();
    return {
      firstPictureMs: this.#firstPictureMs,
      currentTime: video.currentTime,
      playing: !video.paused && video.readyState >= 3,
      size: [video.videoWidth, video.videoHeight],
      frames: quality.totalVideoFrames,
      dropped: quality.droppedVideoFrames,
      audioBytes: video.webkitAudioDecodedByteCount ?? null,
      videoBytes: video.webkitVideoDecodedByteCount ?? null,
      latency: spread(this.#latencies),
      pictureLatency: spread(this.#pictures),
      stalls: this.stalls,
      played: this.#played,
      revisions: [...this.#revisions],
      errors: this.#errors,
      entries: this.#entries,
    };
  }

  #keep(sequence, creative) {
    this.#loaded.set(sequence, creative);
    // A map lists what came first first.
    if (this.#loaded.size > KEPT) this.#loaded.delete(this.#loaded.keys().next().value);
  }

  #frames() {
    const video = this.#video;
    const frame = (now) => {
      this.#firstPictureMs ??= Math.round(now);
      if (now - this.#stripAt >= STRIP_MS) {
        this.#stripAt = now;
        this.#strip();
      }
      video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback?.(frame);
  }

  #strip() {
    const frame = this.clock === null ? null : readStrip(this.#video);
    this.pictureLatency =
      frame === null
        ? null
        : ageOf(frame, this.clock.epochMs, this.clock.framesPerSecond, Date.now());
    if (this.pictureLatency !== null) push(this.#pictures, this.pictureLatency);
  }

  /** A stall is a time in which a video that ought to play was seen not to advance. */
  #sample() {
    const video = this.#video;
    const now = performance.now();
    const idle = video.paused || this.#firstPictureMs === null || document.hidden;
    if (!idle && video.currentTime === this.#still.time) {
      this.#still.seen = now;
      return;
    }
    const seconds = (this.#still.seen - this.#still.since) / 1000;
    if (!idle && seconds > STALL_S)
      push(this.stalls, { at: Math.round(now), seconds: Number(seconds.toFixed(2)) });
    this.#still = { time: video.currentTime, since: now, seen: now };
  }
}

function push(list, item) {
  list.push(item);
  if (list.length > KEPT) list.shift();
}

/** Smallest, middle, 95 % and largest of what was seen. */
function spread(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share) =>
    Number(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(3));
  return { samples: sorted.length, min: at(0), median: at(0.5), p95: at(0.95), max: at(1) };
}
