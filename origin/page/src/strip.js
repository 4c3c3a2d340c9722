export function readStrip() { return null; }
