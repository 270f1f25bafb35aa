// Owns time in words: how long ago, how long, exactly when; and the one shared tick per second.

/** "now", "12 s", "4 min", "3 h", "2 d": how long ago `then` was. */
export function ago(then, now = Date.now()) {
  const elapsed = now - then;
  return elapsed < 1500 ? "now" : duration(elapsed);
}

/** A span in its largest whole unit. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Date and time to the second, for tooltips. */
export const exact = (ms) => exactFormat().format(ms);

/** The time of day to the second. */
export const clock = (ms) => clockFormat().format(ms);

/** The time of day to the millisecond, for the message trace. */
export const clockMs = (ms) => `${clock(ms)}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`;

/** Calls `work(now)` once a second while the page is visible, and at once when it becomes visible. */
export function everySecond(work) {
  ticking.add(work);
}

function tick() {
  if (document.hidden) return;
  const now = Date.now();
  for (const work of ticking) work(now);
}

const ticking = new Set();
// Made when first needed: they are slow to start, and the first picture needs none.
const once = (make) => {
  let made;
  return () => (made ??= make());
};
const exactFormat = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" }));
const clockFormat = once(() => new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" }));

setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
