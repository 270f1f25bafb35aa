// Notes every animation and transition that begins, in `window.motions`. Runs before the page's own scripts.

window.motions = [];
const { animate } = Element.prototype;
Element.prototype.animate = function (...words) {
  motions.push(`animate ${this.id || this.className}`);
  return animate.apply(this, words);
};
for (const type of ["transitionrun", "animationstart"]) {
  addEventListener(type, ({ target }) => motions.push(`${type} ${target.id || target.className}`), true);
}
