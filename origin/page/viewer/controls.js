// The controls over the picture: play, sound, position, menus, full screen, other screens. They
// hide while nobody uses them.

import { element, make, text } from '../shared/dom.js';
import { behindWords, languageName, qualityName } from './words.js';

const IDLE_MS = 3000;
const PLAY = 'M8 5v14l11-7z';
const PAUSE = 'M7 5h4v14H7zm6 0h4v14h-4z';
const LOUD = 'M16 8a5 5 0 0 1 0 8';
const SILENT = 'M16 9.5l5 5m0-5l-5 5';
const OFF = '-1';

export class Controls {
  #player;
  #video;
  #stage = element('stage');
  #idle = null;
  #seeking = false;

  constructor(player) {
    this.#player = player;
    this.#video = player.video;
    this.#buttons();
    this.#sound();
    this.#position();
    this.#menus();
    this.#screens();
    this.#hiding();
  }

  togglePlay() {
    const { isLive } = this.#player;
    if (!this.#video.paused) this.#video.pause();
    else if (isLive) this.#player.goLive();
    else this.#player.start();
  }

  toggleSound() {
    this.#video.muted = !this.#video.muted;
  }

  louder(by) {
    const { volume } = this.#video;
    this.#video.volume = Math.max(0, Math.min(1, Math.round((volume + by) * 20) / 20));
    if (by > 0) this.#video.muted = false;
  }

  skip(seconds) {
    this.#player.seek(this.#video.currentTime + seconds);
  }

  toggleCaptions() {
    const { hls } = this.#player;
    if (!hls || hls.subtitleTracks.length === 0) return;
    hls.subtitleTrack = hls.subtitleTrack === -1 ? 0 : -1;
  }

  fullScreen() {
    // A phone may know no full screen but the video's own.
    if (this.#stage.requestFullscreen === undefined) {
      this.#video.webkitEnterFullscreen?.();
      return;
    }
    const asked = document.fullscreenElement
      ? document.exitFullscreen()
      : this.#stage.requestFullscreen();
    // A browser may refuse; the page stays as it is then.
    asked?.catch(() => {});
  }

  /** Whether the panel was open. */
  closePanel() {
    const panel = element('panel');
    const wasOpen = !panel.hidden;
    panel.hidden = true;
    element('settings').setAttribute('aria-expanded', 'false');
    return wasOpen;
  }

  /** Somebody is there: the controls show for a while. */
  wake() {
    this.#stage.dataset.idle = 'false';
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#rest(), IDLE_MS);
  }

  /** Position and go-live, as they are now. */
  refresh() {
    const near = this.#player.isLive && this.#player.isNear();
    const live = element('go-live');
    live.dataset.on = String(near);
    const range = this.#player.range();
    const behind = range === null ? 0 : range.end - this.#video.currentTime;
    const word = range === null ? 'Joining' : near ? 'Live' : behindWords(behind);
    live.setAttribute('aria-label', range === null || near ? word : `${word}, go live`);
    text('chip-live', word);
    this.#showPosition(range, behind, near);
  }

  /** Menus, from what the stream has. */
  showTracks() {
    const { hls } = this.#player;
    if (!hls) return;
    const auto = hls.autoLevelEnabled && hls.levels[hls.currentLevel];
    const levels = hls.levels.map(({ height }, at) => [at, qualityName(height)]).reverse();
    const automatic = auto ? `Automatic (${auto.height}p)` : 'Automatic';
    const level = hls.autoLevelEnabled ? -1 : hls.currentLevel;
    fill(element('quality'), [[-1, automatic], ...levels], level);
    const named = ({ name, lang }, at) => [at, name || languageName(lang)];
    const captions = hls.subtitleTracks.map(named);
    const sounds = hls.audioTracks.map(named);
    fill(element('language'), sounds, hls.audioTrack);
    fill(element('captions'), [[OFF, 'Off'], ...captions], hls.subtitleTrack);
    element('language').parentElement.hidden = sounds.length < 2;
    element('captions').parentElement.hidden = captions.length === 0;
  }

  #buttons() {
    element('play').onclick = () => this.togglePlay();
    element('big-play').onclick = () => this.togglePlay();
    element('mute').onclick = () => this.toggleSound();
    element('go-live').onclick = () => this.#player.goLive();
    element('full').onclick = () => this.fullScreen();
    element('settings').onclick = () => this.#togglePanel();
    this.#video.addEventListener('click', () => this.#touched());
    this.#video.addEventListener('dblclick', () => this.fullScreen());
    document.addEventListener('fullscreenchange', () => {
      const word = document.fullscreenElement ? 'Leave full screen' : 'Full screen';
      element('full').setAttribute('aria-label', word);
    });
    const show = () => {
      const { paused } = this.#video;
      element('play-path').setAttribute('d', paused ? PLAY : PAUSE);
      element('play').setAttribute('aria-label', paused ? 'Play' : 'Pause');
      if (!paused) element('big-play').hidden = true;
      this.wake();
    };
    for (const name of ['play', 'pause']) this.#video.addEventListener(name, show);
    show();
  }

  /** A click plays or pauses; a finger shows the controls first. */
  #touched() {
    const isTouch = matchMedia('(hover: none)').matches;
    if (this.closePanel() || (isTouch && this.#stage.dataset.idle === 'true')) this.wake();
    else this.togglePlay();
  }

  #sound() {
    const volume = element('volume');
    const show = () => {
      const { muted } = this.#video;
      element('mute-path').setAttribute('d', muted ? SILENT : LOUD);
      element('mute').setAttribute('aria-label', muted ? 'Sound on' : 'Sound off');
      const percent = muted ? 0 : Math.round(this.#video.volume * 100);
      volume.value = String(percent);
      volume.setAttribute('aria-valuetext', muted ? 'off' : `${percent} %`);
    };
    volume.oninput = () => {
      this.#video.volume = Number(volume.value) / 100;
      this.#video.muted = volume.value === '0';
    };
    this.#video.addEventListener('volumechange', show);
    show();
  }

  #position() {
    const seek = element('seek');
    seek.oninput = () => {
      this.#seeking = true;
    };
    seek.onchange = () => {
      this.#seeking = false;
      const range = this.#player.range();
      if (range !== null) this.#player.seek(range.start + Number(seek.value));
    };
  }

  #showPosition(range, behind, near) {
    const seek = element('seek');
    seek.disabled = range === null;
    if (range === null || this.#seeking) return;
    const length = Math.max(1, range.end - range.start);
    seek.max = String(Math.round(length));
    seek.value = String(Math.round(near ? length : this.#video.currentTime - range.start));
    seek.setAttribute('aria-valuetext', near ? 'live' : `${Math.round(behind)} seconds ago`);
    const share = `${(100 * Number(seek.value)) / Number(seek.max)}%`;
    seek.style.setProperty('--played', share);
  }

  #menus() {
    const track = (id, set) => {
      element(id).onchange = () => {
        if (this.#player.hls !== null) set(this.#player.hls, Number(element(id).value));
      };
    };
    track('quality', (hls, level) => { hls.nextLevel = level; });
    track('language', (hls, sound) => { hls.audioTrack = sound; });
    track('captions', (hls, captions) => { hls.subtitleTrack = captions; });
    element('delay').onchange = () => this.#player.setDelay(element('delay').value);
    this.#player.onTracks = () => this.showTracks();
  }

  #togglePanel() {
    const panel = element('panel');
    panel.hidden = !panel.hidden;
    element('settings').setAttribute('aria-expanded', String(!panel.hidden));
    this.wake();
    if (!panel.hidden) element('quality').focus();
  }

  /** Picture in picture, and screens in the room, where the browser has them. */
  #screens() {
    const video = this.#video;
    const pip = element('pip');
    pip.hidden = !document.pictureInPictureEnabled;
    pip.onclick = () => {
      const asked = document.pictureInPictureElement
        ? document.exitPictureInPicture()
        : video.requestPictureInPicture();
      asked.catch(() => {});
    };
    const cast = element('cast');
    const found = (isThere) => { cast.hidden = !isThere; };
    if (video.remote) {
      video.remote.watchAvailability(found).catch(() => {});
      cast.onclick = () => video.remote.prompt().catch(() => {});
    }
    if (window.WebKitPlaybackTargetAvailabilityEvent) {
      const heard = ({ availability }) => found(availability === 'available');
      video.addEventListener('webkitplaybacktargetavailabilitychanged', heard);
      cast.onclick = () => video.webkitShowPlaybackTargetPicker();
    }
  }

  #hiding() {
    for (const name of ['pointermove', 'pointerdown', 'keydown', 'focusin'])
      this.#stage.addEventListener(name, () => this.wake());
    this.wake();
  }

  #rest() {
    const focused = document.activeElement;
    const isUsed = element('bar').contains(focused) && focused.matches(':focus-visible');
    if (this.#video.paused || isUsed || !element('panel').hidden) return;
    this.#stage.dataset.idle = 'true';
  }
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
