// Asks again and again: each time after the last answer has come, so that a slow server is not
// asked by many at once.

const SLOWER = 2;
const SLOWEST = 4;

/**
 * `ask` answers whether all is well; while it is not, the time from one to the next grows to a few
 * times `everyMs`. Answers with what ends it.
 */
export function poll(everyMs, ask) {
  let wait = everyMs;
  let timer = 0;
  let over = false;
  const turn = async () => {
    wait = await ask() ? everyMs : Math.min(wait * SLOWER, everyMs * SLOWEST);
    if (!over) timer = setTimeout(turn, wait);
  };
  turn();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
