// Owns the few ways in which the console touches the page: find, build, set, animate, copy.
// Nothing here knows what Rollcall is. Text only ever enters as text nodes, never as markup.

export const byId = (id) => document.getElementById(id);

/** Builds an element: `el("li", { class: "x", title: "y", onclick: f }, "text", child)`. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A picture from the sprite in index.html; always beside words, so hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function setIcon(holder, name) {
  holder.querySelector("use").setAttribute("href", `#i-${name}`);
}

/** Sets text only where it differs: a write to the DOM costs layout, and a live region would speak again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** A name that a user chose: isolated, so that right-to-left text cannot rearrange its surroundings. */
export const userText = (text) => el("bdi", {}, text);

/** Returns `schedule`, which runs `work` once in the next animation frame however often it is called. */
export function oncePerFrame(work) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame((now) => {
      due = false;
      work(now);
    });
  };
}

/** Plays a short animation, or none where the user asked for none. */
export function animate(node, frames, duration = 160) {
  if (!stillness.matches) node.animate(frames, { duration, easing: "ease-out" });
}

export const motionAllowed = () => !stillness.matches;

/** A button that copies `text()` and says so for a moment. */
export function copiesOnClick(button, text) {
  let restore;
  button.addEventListener("click", async () => {
    const copied = await copy(text());
    button.dataset.said = copied ? "Copied" : "Copy failed";
    clearTimeout(restore);
    restore = setTimeout(() => delete button.dataset.said, 1500);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain http on another host has no clipboard API; the old command still works there.
    const area = el("textarea", { class: "unseen", readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** A whole number as one reads it: "12,345". The browser's own formatter takes tens of milliseconds to start. */
export const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** "1", "1 and 2", "1, 2 and 3". */
export function list(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/**
 * A number that mostly tells one thing from another, such as a revision: its last digits, the whole of it on hover.
 * Revisions of one cluster differ in their last digits only.
 */
export const lastDigits = (n) => (n < SHORT ? String(n) : `…${String(n).slice(-LAST_DIGITS)}`);

export const revisionText = (revision) => el("span", { title: `Revision ${revision}`, class: "revision" }, lastDigits(revision));

/** The host and port of a server's URL; what is no URL stays as it is. */
export function hostOf(url) {
  try {
    return new URL(url).host;
  } catch {
    return String(url ?? "");
  }
}

/** An address as one writes it: an IPv6 literal in brackets. */
export const address = ({ ip, port }) => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);

const LAST_DIGITS = 6;
const SHORT = 10 ** LAST_DIGITS;
const SVG = "http://www.w3.org/2000/svg";
const stillness = matchMedia("(prefers-reduced-motion: reduce)");
