// Reads the frame number that the test match burns into its top edge, and so when the picture was
// made. Twenty-four squares, each a thirty-second of the width: white, black, twenty bits from the
// highest, black, white.

const SQUARES = 24;
const BITS = 20;
const SIDE = 1 / 32;
const FIRST = 1 / 8;
/** Luma past which a square is white. The encoder greys them, it never crosses the middle. */
const WHITE = 128;
/** Pixels that a square is drawn into; the middle one is read. */
const SCALE = 3;

let pen = null;

/**
 * The picture's frame number modulo 2^20, or null where the strip is not there: another picture, or
 * none.
 */
export function readStrip(video) {
  const { videoWidth: width, videoHeight: height } = video;
  if (width === 0 || height === 0) return null;
  pen ??= new OffscreenCanvas(SQUARES * SCALE, SCALE).getContext('2d', {
    willReadFrequently: true,
  });
  pen.drawImage(
    video,
    width * FIRST,
    0,
    width * SIDE * SQUARES,
    width * SIDE,
    0,
    0,
    SQUARES * SCALE,
    SCALE,
  );
  const { data } = pen.getImageData(0, 1, SQUARES * SCALE, 1);
  const white = (square) => data[(square * SCALE + 1) * 4 + 1] > WHITE;
  if (!white(0) || white(1) || white(SQUARES - 2) || !white(SQUARES - 1)) return null;
  let frame = 0;
  for (let bit = 0; bit < BITS; bit += 1) frame = frame * 2 + (white(bit + 2) ? 1 : 0);
  return frame;
}

/** Seconds from when a frame was made to now, for an event that began at `epochMs`. */
export function ageOf(frame, epochMs, framesPerSecond, nowMs) {
  const turn = 2 ** BITS;
  const now = Math.floor(((nowMs - epochMs) * framesPerSecond) / 1000);
  // The number wraps; the picture is of the turn that is nearest to now.
  const behind = (((now - frame) % turn) + turn) % turn;
  const frames = behind > turn / 2 ? behind - turn : behind;
  return (nowMs - epochMs) / 1000 - (now - frames) / framesPerSecond;
}
