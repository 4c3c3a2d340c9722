// How hls.js is set up, and what of its faults is worked around: docs/players.md lists them all.

import Hls from 'hls.js';

/**
 * hls.js takes a segment for whole when its playlist says so and all but 0.2 s of it is buffered.
 * In low latency that is one part: when the playlist with the last part comes before the part ahead
 * of it has been appended, the last one is never loaded, and playback stands at the hole for
 * seconds. Of the kind of video-dev/hls.js#5028, and still there in 1.7.4.
 */
const WHOLE_WITHIN_S = 0.02;

class AudioStreamController extends Hls.DefaultConfig.audioStreamController {
  constructor(hls, tracker, keyLoader) {
    super(hls, tracker, keyLoader);
    // One tracker serves all of the player's controllers.
    tracker.bufferPadding = WHOLE_WITHIN_S;
  }
}

export const CONFIG = {
  audioStreamController: AudioStreamController,
  // The playlist's own PART-HOLD-BACK is the target; play a little faster to get back to it, never
  // jump while it is near.
  maxLiveSyncPlaybackRate: 1.08,
  liveSyncOnStallIncrease: 0.3,
  // A guess that starts in the middle of the ladder: the parts of the first seconds are too small
  // to measure a network with.
  abrEwmaDefaultEstimate: 4_000_000,
  testBandwidth: false,
  // What was played is the browser's to evict: when hls.js trims it, it forgets which parts of the
  // growing segment it has, and stands for seconds. Of the kind of video-dev/hls.js#3564.
  backBufferLength: Infinity,
  maxBufferLength: 12,
  workerPath: '/page/hls.worker.js',
};

/** What differs by how near to live the viewer wants to be. */
export function forDelay(delay) {
  return delay === 'steady'
    ? { lowLatencyMode: false, maxLiveSyncPlaybackRate: 1, maxBufferLength: 30 }
    : { lowLatencyMode: true };
}
