// The player: hls.js in low-latency mode, and its way back after an error.
// Invariant: at most one hls.js is attached; a later `enter` wins over an earlier one that is still
// under way.

import Hls from 'hls.js';
import { CONFIG, forDelay } from './hls.js';
import { revisionOf } from './stream.js';
import { Watchdog } from './watchdog.js';
import { Refused } from './entrance.js';
import { wordsOf } from './words.js';

const RETRY_FIRST_MS = 800;
const RETRY_MOST_MS = 15_000;
/** Behind the live edge from which on playing faster would take minutes. */
const FAR_BEHIND_S = 8;
/** How near to the end of an ended event a viewer may stand who has seen all of it. */
const END_WITHIN_S = 0.5;
const EMPTY_S = 0.05;
/** How near to the live edge counts as live. */
const NEAR_S = 5;
/** A decoder that fails again so soon after it was set up anew is not helped by that. */
const RECOVER_EVERY_MS = 10_000;
const NATIVE = 'application/vnd.apple.mpegurl';

export class Player {
  /** Called with the code of why there is no picture, or null when there is one. */
  onTrouble = () => {};
  /** Called when renditions, languages or captions may have changed. */
  onTracks = () => {};
  /** Whether the viewer wants the live edge, and not a moment before it. */
  isLive = true;
  /** Whether the stream has ended and was played to its end. */
  isOver = false;
  delay = 'low';
  hls = null;
  #recoveredAt = -Infinity;
  #turn = 0;
  #retry = RETRY_FIRST_MS;
  #timer = null;
  #revision = null;
  #entered = null;
  #at = null;
  #language = null;

  constructor(video, { entrance, measure }) {
    this.video = video;
    this.entrance = entrance;
    this.measure = measure;
    this.#language = entrance.claims.language ?? null;
    this.watchdog = new Watchdog(this);
    video.addEventListener('ended', () => this.#over());
    window.addEventListener('online', () => this.#now());
    window.addEventListener('offline', () => this.#offline());
    document.addEventListener('visibilitychange', () => this.#shown());
  }

  /** Gets a new entry URL and plays it, dropping what played before; at `at`, in Unix ms. */
  async enter(at = null) {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    this.#at = at;
    if (at !== null) this.isLive = false;
    this.isOver = false;
    try {
      const url = await this.entrance.url();
      if (turn === this.#turn) this.#play(url);
    } catch (error) {
      if (turn === this.#turn) this.#turnedAway(error instanceof Refused ? error : null);
    }
  }

  /** What plays now; `details` is the media playlist, or null. */
  state() {
    const { video, hls } = this;
    const details = hls?.latestLevelDetails ?? hls?.levels?.[hls.currentLevel]?.details ?? null;
    if (details !== null) this.#revision = revisionOf(details) ?? this.#revision;
    const ahead = bufferAhead(video);
    const latency = details !== null && ahead !== null && hls.latency > 0 ? hls.latency : null;
    return {
      details,
      playhead: video.currentTime,
      latency,
      buffer: ahead,
      revision: this.#revision,
      buffered: video.buffered,
    };
  }

  /** Whether the picture is near the live edge. */
  isNear() {
    const { latency } = this.state();
    return latency !== null && latency < this.#target() + NEAR_S;
  }

  /**
   * Back to the live edge, for who fell so far behind that playing faster would take minutes. And
   * the end of an event that has one: hls.js 1.7.4 may leave out the last part, and then no end
   * comes from the video.
   */
  keepUp() {
    const { video } = this;
    const { details, buffer, playhead } = this.state();
    const isLast = details && !details.live && playhead > details.edge - END_WITHIN_S;
    if (isLast && buffer < EMPTY_S && !this.isOver && !video.paused) this.#over();
    const live = this.#livePosition();
    const isBehind = live !== null && live - video.currentTime > FAR_BEHIND_S;
    if (this.isLive && isBehind && !video.paused && !video.seeking) video.currentTime = live;
  }

  goLive() {
    this.isLive = true;
    const live = this.#livePosition();
    if (live !== null) this.video.currentTime = live;
    this.start();
  }

  /** To a time of the player's timeline, as the viewer asked. */
  seek(time) {
    const range = this.range();
    if (range === null) return;
    const live = this.#livePosition() ?? range.end;
    this.isLive = time >= live - 1;
    this.video.currentTime = Math.max(range.start, Math.min(time, live));
  }

  /** What can be sought, in seconds of the player's timeline, or null. */
  range() {
    const { details } = this.state();
    if (!details || details.fragments.length === 0) return null;
    const first = details.fragments.find((fragment) => !fragment.gap) ?? details.fragments[0];
    return { start: first.start, end: details.edge };
  }

  /** When the picture was made, in Unix milliseconds, or null. */
  dateMs() {
    const date = this.hls?.playingDate;
    return date ? date.getTime() : null;
  }

  /** Of the fullest rendition, 0 while none is known. */
  framesPerSecond() {
    return Math.max(0, ...(this.hls?.levels ?? []).map((level) => level.frameRate ?? 0));
  }

  /** `low` or `steady`; the stream is entered anew. */
  setDelay(delay) {
    if (delay === this.delay) return;
    this.delay = delay;
    this.enter();
  }

  /** With sound where the browser lets us, else without. */
  async start() {
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== 'NotAllowedError') return;
      this.video.muted = true;
      await this.video.play().catch(() => { this.onTrouble('gesture'); });
    }
  }

  /** The picture stands though there is more; see the watchdog. */
  stuck() {
    this.#again('stuck');
  }

  /** Where the live edge is played from, or null. hls.js names one of an ended event as well. */
  #livePosition() {
    const { details } = this.state();
    return details?.live ? this.hls?.liveSyncPosition ?? null : null;
  }

  #target() {
    return this.hls?.targetLatency ?? 0;
  }

  #play(url) {
    this.hls?.destroy();
    this.hls = null;
    this.#entered = new URL(url, location.href).href;
    if (Hls.isSupported()) this.#byScript();
    else this.#byBrowser();
  }

  #byScript() {
    Object.assign(this.video, { onerror: null, onplaying: null });
    const preference = this.#language === null ? undefined : { lang: this.#language };
    const hls = new Hls({ ...CONFIG, ...forDelay(this.delay), audioPreference: preference });
    this.hls = hls;
    this.measure.watch(hls);
    for (const name of [
      'MANIFEST_PARSED', 'AUDIO_TRACKS_UPDATED', 'AUDIO_TRACK_SWITCHED', 'LEVEL_SWITCHED',
      'SUBTITLE_TRACKS_UPDATED', 'SUBTITLE_TRACK_SWITCH',
    ]) hls.on(Hls.Events[name], () => this.onTracks());
    hls.on(Hls.Events.AUDIO_TRACK_SWITCHED, () => this.#remember());
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => this.#toMoment(details));
    hls.on(Hls.Events.FRAG_CHANGED, () => this.#well());
    hls.on(Hls.Events.ERROR, (_, data) => this.#failed(hls, data));
    hls.loadSource(this.#entered);
    hls.attachMedia(this.video);
    this.start();
  }

  /** For a browser in which hls.js cannot play: its own HLS, else a note, and no further try. */
  #byBrowser() {
    const { video } = this;
    this.hls?.destroy();
    this.hls = null;
    if (video.canPlayType(NATIVE) === '') {
      this.onTrouble('no-player');
      return;
    }
    video.onerror = () => this.#again('native');
    video.onplaying = () => this.#well();
    video.src = this.#entered;
    this.start();
  }

  /** The moment that a link names, once the playlist is there. */
  #toMoment(details) {
    if (this.#at === null || details.fragments.length === 0) return;
    const dated = details.fragments.find((fragment) => fragment.programDateTime !== null);
    if (dated === undefined) return;
    const time = dated.start + (this.#at - dated.programDateTime) / 1000;
    this.#at = null;
    this.seek(time);
  }

  /** A language that was chosen is kept when the stream is entered anew. */
  #remember() {
    this.#language = this.hls?.audioTracks[this.hls.audioTrack]?.lang ?? this.#language;
  }

  #well() {
    this.#retry = RETRY_FIRST_MS;
    this.onTrouble(null);
  }

  #over() {
    this.isOver = true;
    this.onTrouble('ended');
  }

  #failed(hls, data) {
    if (!data.fatal || hls !== this.hls) return;
    if (data.details === Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) {
      this.#byBrowser();
      return;
    }
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && this.#recovers()) {
      hls.recoverMediaError();
      return;
    }
    // A pass that ran out, a restarted edge, a lost network, a decoder that fails again: all begin
    // again at the entry, which says why it turns somebody away.
    this.#again(data.details);
  }

  /** Whether a decoder may be set up anew; it is noted as done. */
  #recovers() {
    const now = performance.now();
    if (now - this.#recoveredAt < RECOVER_EVERY_MS) return false;
    this.#recoveredAt = now;
    return true;
  }

  /** Enters again after a while, and says meanwhile why there is no picture. */
  async #again(what) {
    this.hls?.destroy();
    this.hls = null;
    this.measure.noteEntry(what);
    const turn = ++this.#turn;
    const why = await this.entrance.why(this.#entered);
    if (turn !== this.#turn) return;
    // What a restarted edge or a network that was lost for a moment left behind is no refusal.
    if (why === null || why.code === 'pass-expired') this.#later(null);
    else this.#turnedAway(why);
  }

  #turnedAway(refused) {
    const code = refused?.code ?? 'unreachable';
    this.onTrouble(code);
    if (wordsOf(code).wait === true) this.#later(refused?.retryS ?? null);
  }

  #later(seconds) {
    if (seconds === null) this.onTrouble('joining');
    const wait = seconds === null ? this.#retry : Math.max(seconds * 1000, this.#retry);
    this.#retry = Math.min(this.#retry * 2, RETRY_MOST_MS);
    const turn = this.#turn;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => { if (turn === this.#turn) this.enter(); },
      wait * (0.5 + Math.random()),
    );
  }

  /** The network is back: nobody waits for the end of a pause. */
  #now() {
    this.#retry = RETRY_FIRST_MS;
    if (this.hls === null && !this.isOver) this.enter();
    else this.hls?.startLoad();
  }

  #offline() {
    if (bufferAhead(this.video) === null) this.onTrouble('offline');
  }

  /** Seen again, after a while in the background or asleep. */
  #shown() {
    if (document.hidden) return;
    this.watchdog.forgive();
    if (this.isLive && !this.video.paused) this.keepUp();
  }
}

function bufferAhead(video) {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; i += 1) {
    if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i))
      return buffered.end(i) - currentTime;
  }
  return buffered.length === 0 ? null : 0;
}
