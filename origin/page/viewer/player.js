// The player: hls.js in low-latency mode, its menus and its way back after an error.
// Invariant: at most one hls.js is attached; a later `enter` wins over an earlier one that is still
// under way.

import Hls from 'hls.js';
import { element, make } from '../shared/dom.js';
import { revisionOf } from './stream.js';

const RETRY_FIRST_MS = 800;
const RETRY_MOST_MS = 15_000;
const FAR_BEHIND_S = 8;
/** A decoder that fails again so soon after it was set up anew is not helped by that. */
const RECOVER_EVERY_MS = 10_000;
const JOINING = 'Joining';
const NATIVE = 'application/vnd.apple.mpegurl';

/**
 * hls.js takes a segment for whole when its playlist says so and all but 0.2 s of it is buffered.
 * In low latency that is one part: when the playlist with the last part comes before the part ahead
 * of it has been appended, the last one is never loaded, and playback stands at the hole for
 * seconds.
 */
const WHOLE_WITHIN_S = 0.02;

class AudioStreamController extends Hls.DefaultConfig.audioStreamController {
  constructor(hls, tracker, keyLoader) {
    super(hls, tracker, keyLoader);
    // One tracker serves all of the player's controllers.
    tracker.bufferPadding = WHOLE_WITHIN_S;
  }
}

const CONFIG = {
  audioStreamController: AudioStreamController,
  lowLatencyMode: true,
  // The playlist's own PART-HOLD-BACK is the target; play a little faster to get back to it, never
  // jump while it is near.
  maxLiveSyncPlaybackRate: 1.08,
  liveSyncOnStallIncrease: 0.3,
  // A guess that starts in the middle of the ladder: the parts of the first seconds are too small
  // to measure a network with.
  abrEwmaDefaultEstimate: 4_000_000,
  testBandwidth: false,
  // What was played is the browser's to evict: when hls.js trims it, it forgets which parts of the
  // growing segment it has, and stands for seconds.
  backBufferLength: Infinity,
  maxBufferLength: 12,
  workerPath: '/page/hls.worker.js',
};

export class Player {
  /** What there is to say of the stream while no latency is known. */
  word = JOINING;
  #hls = null;
  #recoveredAt = -Infinity;
  #turn = 0;
  #retry = RETRY_FIRST_MS;
  #revision = null;
  #entered = null;

  constructor(video, { entry, language, measure }) {
    this.video = video;
    this.entry = entry;
    this.language = language;
    this.measure = measure;
    this.#controls();
  }

  /** Gets a new entry URL and plays it, dropping what played before. */
  async enter() {
    const turn = ++this.#turn;
    try {
      const url = await this.entry();
      if (turn !== this.#turn) return;
      this.#play(url);
    } catch (error) {
      if (turn === this.#turn) this.#again(`No way in yet: ${error.message}.`);
    }
  }

  /** What plays now; `details` is the media playlist, or null. */
  state() {
    const hls = this.#hls;
    const details = hls?.latestLevelDetails ?? hls?.levels?.[hls.currentLevel]?.details ?? null;
    if (details !== null) this.#revision = revisionOf(details) ?? this.#revision;
    const { video } = this;
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

  /** Back to the live edge, for who fell so far behind that playing faster would take minutes. */
  keepUp() {
    const { video } = this;
    const live = this.#hls?.liveSyncPosition;
    if (live && !video.paused && !video.seeking && live - video.currentTime > FAR_BEHIND_S)
      video.currentTime = live;
  }

  /** Of the fullest rendition, 0 while none is known. */
  framesPerSecond() {
    return Math.max(0, ...(this.#hls?.levels ?? []).map((level) => level.frameRate ?? 0));
  }

  #play(url) {
    this.#hls?.destroy();
    this.#hls = null;
    this.#entered = new URL(url, location.href).href;
    this.word = JOINING;
    if (Hls.isSupported()) this.#byScript();
    else this.#byBrowser();
  }

  #byScript() {
    Object.assign(this.video, { onerror: null, onplaying: null });
    const hls = new Hls({ ...CONFIG, audioPreference: this.#audioPreference() });
    this.#hls = hls;
    this.measure.watch(hls);
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#menus(hls));
    hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, () => this.#menus(hls));
    hls.on(Hls.Events.AUDIO_TRACK_SWITCHED, () => this.#menus(hls));
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.#menus(hls));
    hls.on(Hls.Events.FRAG_CHANGED, () => this.#well());
    hls.on(Hls.Events.ERROR, (_, data) => this.#failed(hls, data));
    hls.loadSource(this.#entered);
    hls.attachMedia(this.video);
    this.#start();
  }

  /** For a browser in which hls.js cannot play: its own HLS, else a note, and no further try. */
  #byBrowser() {
    const { video } = this;
    this.#hls?.destroy();
    this.#hls = null;
    if (video.canPlayType(NATIVE) === '') {
      this.word = 'No picture';
      say('This browser cannot play the stream: it needs Media Source Extensions, H.264 and AAC.');
      return;
    }
    video.onerror = () => {
      this.word = JOINING;
      this.#again('The stream is interrupted, or this browser cannot play it.');
    };
    video.onplaying = () => {
      this.word = 'Live';
      this.#well();
    };
    video.src = this.#entered;
    this.#start();
  }

  #audioPreference() {
    const language = this.language();
    return language === '' || language === 'regional' ? undefined : { lang: language };
  }

  /** With sound where the browser lets us, else without. */
  async #start() {
    try {
      await this.video.play();
    } catch (error) {
      if (error.name !== 'NotAllowedError') return;
      this.video.muted = true;
      await this.video.play().catch(() => { element('big-play').hidden = false; });
    }
  }

  #well() {
    this.#retry = RETRY_FIRST_MS;
    element('note').hidden = true;
  }

  #failed(hls, data) {
    if (!data.fatal) return;
    if (data.details === Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) {
      this.#byBrowser();
      return;
    }
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && this.#recovers()) {
      hls.recoverMediaError();
      return;
    }
    // A pass that ran out, a restarted edge, a lost network, a decoder that fails again: all begin
    // again at the entry.
    this.#again('The stream is interrupted.');
  }

  /** Whether a decoder may be set up anew; it is noted as done. */
  #recovers() {
    const now = performance.now();
    if (now - this.#recoveredAt < RECOVER_EVERY_MS) return false;
    this.#recoveredAt = now;
    return true;
  }

  #again(why) {
    say(`${why} Trying again.`);
    const wait = this.#retry * (0.5 + Math.random());
    this.#retry = Math.min(this.#retry * 2, RETRY_MOST_MS);
    const turn = this.#turn;
    setTimeout(() => { if (turn === this.#turn) this.enter(); }, wait);
  }

  #menus(hls) {
    const quality = element('quality');
    const auto = hls.autoLevelEnabled && hls.levels[hls.currentLevel];
    const levels = hls.levels.map((level, index) => [index, `${level.height}p`]).reverse();
    fill(
      quality,
      [[-1, auto ? `Auto (${auto.height}p)` : 'Auto'], ...levels],
      hls.autoLevelEnabled ? -1 : hls.currentLevel,
    );
    quality.onchange = () => {
      hls.nextLevel = Number(quality.value);
    };
    const language = element('language');
    fill(language, hls.audioTracks.map((track, index) => [index, track.name]), hls.audioTrack);
    language.parentElement.hidden = hls.audioTracks.length < 2;
    language.onchange = () => { hls.audioTrack = Number(language.value); };
  }

  #controls() {
    const { video } = this;
    const toggle = () => (video.paused ? this.#resume() : video.pause());
    element('play').onclick = toggle;
    element('big-play').onclick = toggle;
    element('mute').onclick = () => { video.muted = !video.muted; };
    element('go-live').onclick = () => this.#resume();
    element('full').onclick = () => this.#fullScreen();
    const show = () => {
      element('play-path').setAttribute(
        'd',
        video.paused ? 'M8 5v14l11-7z' : 'M7 5h4v14H7zm6 0h4v14h-4z',
      );
      element('play').setAttribute('aria-label', video.paused ? 'Play' : 'Pause');
      element('mute-path').setAttribute(
        'd',
        video.muted ? 'M16 9.5l5 5m0-5l-5 5' : 'M16 8a5 5 0 0 1 0 8',
      );
      element('mute').setAttribute('aria-label', video.muted ? 'Sound on' : 'Sound off');
      if (!video.paused) element('big-play').hidden = true;
    };
    for (const name of ['play', 'pause', 'volumechange']) video.addEventListener(name, show);
    show();
  }

  #fullScreen() {
    const screen = element('screen');
    // A phone may know no full screen but the video's own.
    if (screen.requestFullscreen === undefined) {
      this.video.webkitEnterFullscreen?.();
      return;
    }
    const asked = document.fullscreenElement
      ? document.exitFullscreen()
      : screen.requestFullscreen();
    // A browser may refuse; the page stays as it is then.
    asked?.catch(() => {});
  }

  #resume() {
    const live = this.#hls?.liveSyncPosition;
    if (live) this.video.currentTime = live;
    this.#start();
  }
}

function say(words) {
  const note = element('note');
  note.textContent = words;
  note.hidden = false;
}

function bufferAhead(video) {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; i += 1) {
    if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i))
      return buffered.end(i) - currentTime;
  }
  return buffered.length === 0 ? null : 0;
}

/** Options of a menu, rewritten only when they differ: an open menu must not close. */
function fill(select, options, chosen) {
  const key = JSON.stringify(options);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(
      ...options.map(([value, label]) => make('option', { value, textContent: label })),
    );
  }
  select.value = String(chosen);
}
