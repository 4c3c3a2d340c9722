// Asks again and again: each time after the last answer has come, so that a slow server is not
// asked by many at once.

const SLOWER = 2;
const SLOWEST = 4;

/**
 * `ask` answers whether all is well; while it is not, the time from one to the next grows to a few
 * times `everyMs`.
 */
export function poll(everyMs, ask) {
  let wait = everyMs;
  const turn = async () => {
    wait = await ask() ? everyMs : Math.min(wait * SLOWER, everyMs * SLOWEST);
    setTimeout(turn, wait);
  };
  turn();
}
