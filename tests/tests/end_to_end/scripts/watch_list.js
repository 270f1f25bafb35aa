// Counts what the page does to its DOM, frame by frame, and what stands under the pointer meanwhile. A function's body
// with the pointer's place as `x` and `y`, if it matters; it leaves its counts in `window.watched`, and is over when
// that is read by `finish()`.

const rows = () => document.querySelectorAll("#people .person").length;
const under = () => document.elementFromPoint(x, y)?.closest(".person")?.dataset.user ?? null;
const top = () => document.querySelector(`#people [data-user="${CSS.escape(fixed)}"]`)?.getBoundingClientRect().top ?? null;

const grid = document.getElementById("people");
const inView = [...grid.querySelectorAll("[data-user]")].find((row) => row.getBoundingClientRect().top > grid.getBoundingClientRect().top + 100);
const fixed = inView.dataset.user;
const watched = { frames: 0, total: 0, most: 0, rows: rows(), under: new Set(), tops: new Set([Math.round(top())]) };

let changes = 0;
const observer = new MutationObserver((records) => {
  changes += records.length;
});
observer.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });

let running = true;
function look() {
  watched.frames += 1;
  watched.total += changes;
  watched.most = Math.max(watched.most, changes);
  changes = 0;
  watched.rows = Math.max(watched.rows, rows());
  if (x !== null) watched.under.add(under());
  watched.tops.add(top() === null ? null : Math.round(top()));
  if (running) requestAnimationFrame(look);
}
requestAnimationFrame(look);

window.watched = () => ({ ...watched, under: [...watched.under], tops: [...watched.tops] });
window.finish = () => {
  running = false;
  observer.disconnect();
  return window.watched();
};
