// Texts that can be seen and read badly: contrast below 4.5 : 1 (WCAG 2.2, 1.4.3). A function's body; it returns how
// many texts there are and which of them fail. Colours are put together from all that lies behind, half-transparent
// parts included; what a filter of CSS does to them is left out.

const LEAST = 4.5;
const WHITE = { r: 255, g: 255, b: 255 };

function parse(colour) {
  if (!colour.startsWith("rgb")) throw new Error(`a colour in another notation: ${colour}`);
  const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
}

const mix = (over, under, share) => Object.fromEntries(["r", "g", "b"].map((c) => [c, share * over[c] + (1 - share) * under[c]]));

function luminance({ r, g, b }) {
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** The contrast of text in this colour within an element, as it ends up on the screen. */
function contrastIn(element, colour) {
  const chain = [];
  for (let one = element; one; one = one.parentElement) chain.unshift(getComputedStyle(one));
  let ground = WHITE;
  const groups = [];
  for (const { opacity, backgroundColor } of chain) {
    groups.unshift([Number(opacity), ground]);
    const own = parse(backgroundColor);
    ground = mix(own, ground, own.a);
  }
  let text = mix(colour, ground, colour.a);
  for (const [opacity, behind] of groups) {
    text = mix(text, behind, opacity);
    ground = mix(ground, behind, opacity);
  }
  return contrast(text, ground);
}

const isSeen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !element.closest(".unseen");

function* texts() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (data.trim() !== "" && isSeen(parentElement)) yield { element: parentElement, words: data.trim(), style: getComputedStyle(parentElement) };
  }
  for (const element of document.querySelectorAll("input")) {
    if (!isSeen(element) || element.type === "checkbox") continue;
    const empty = element.value === "";
    if (empty && element.placeholder === "") continue;
    yield { element, words: empty ? element.placeholder : element.value, style: getComputedStyle(element, empty ? "::placeholder" : null) };
  }
}

let count = 0;
const bad = [];
for (const { element, words, style } of texts()) {
  count += 1;
  const found = contrastIn(element, parse(style.color));
  if (found < LEAST) bad.push(`${words.slice(0, 40)} (${element.tagName} ${element.id || element.className || element.parentElement.id}): ${found.toFixed(2)}`);
}
return { count, bad };
