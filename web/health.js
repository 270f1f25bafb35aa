// Owns the answer to "is it healthy?": one verdict in words from the picture of the link and the cluster, shown in the
// top bar, in the banner where it is serious, and in the page's title.

import { byId, count, list, plural, setIcon, setText } from "./dom.js";
import { census, isStarting, lacksQuorum } from "./standing.js";
import { clock, duration } from "./time.js";

/**
 * The verdict. Pure, so that every state can be read off here.
 * @returns {{tone: "ok"|"warn"|"bad"|"unknown", words: string, hint?: string, banner?: {title: string, text: string}}}
 */
export function assess(picture, now = Date.now()) {
  const { standing, status } = picture;
  if (standing === "refused") return { tone: "bad", words: "Not allowed" };
  if (standing === "closed" || standing === "cut off") return cutOff(picture);
  if (standing === "silent") return silent(picture);
  if (standing === "moving") {
    const last = ofCluster(picture, now);
    const words = status.members.length > 1 ? "Moving to another server" : "Connecting again";
    // What was bad does not become better by a lost link.
    return last.tone === "bad" ? last : { tone: "unknown", words };
  }
  return ofCluster(picture, now);
}

/** The verdict on the cluster, as the server sees it that answered last. */
function ofCluster(picture, now) {
  const { status, noQuorum } = picture;
  if (!status) return noQuorum ? withoutQuorum() : { tone: "unknown", words: "Connecting" };
  const who = census(status);
  const { missing, blank, present, total, needed } = who;
  if (isStarting(status)) return starting(who);
  if (lacksQuorum(picture, now)) return withoutQuorum(who);
  if (status.leader === null) {
    return { tone: "warn", words: `Electing: ${present.length} of ${total}, no leader yet`, hint: "Changes and lookups wait until a leader is found." };
  }
  const words = `${present.length} of ${total}, server ${status.leader} leads`;
  if (missing.length + blank.length === 0) return { tone: "ok", words: `Healthy: ${words}` };
  const spare = present.length - needed;
  const rest = spare > 0 ? `${plural(spare, "more loss", "more losses")} can be borne.` : "No further loss can be borne.";
  return { tone: "warn", words: `Degraded: ${words}`, hint: [are(missing, "missing."), are(blank, "catching up."), rest].filter(Boolean).join(" ") };
}

/** Draws the verdict. */
export function showHealth(picture, people) {
  const verdict = assess(picture);
  document.body.dataset.health = verdict.tone;
  const health = byId("health");
  setIcon(health, verdict.tone);
  setText(health.querySelector("span"), verdict.words);
  health.title = verdict.hint ?? "";
  showPageState(picture);
  showBanner(verdict.banner, picture);
  const here = people > 0 ? `${count(people)} here · ` : "";
  document.title = verdict.banner ? `${verdict.banner.title} · Rollcall` : `${here}Rollcall`;
}

function cutOff({ standing, since, status }) {
  const words = "Unknown: this page is cut off";
  if (standing === "closed") {
    return { tone: "bad", words, banner: { title: "This page is closed", text: "Reload it to connect again." } };
  }
  if (!status) {
    const text = `Tried since ${clock(since)}. The page goes on by itself as soon as one does.`;
    return { tone: "bad", words: "No server answers", banner: { title: "No server answers", text } };
  }
  return { tone: "bad", words, banner: { title: "This page is cut off", text: `Since ${clock(since)}. You see the last picture it had.` } };
}

function silent({ asked, status }) {
  const title = `Server ${status.node} does not answer`;
  const text = `Since ${clock(asked)}. You see the last picture it gave. The page moves to another server once it gives this one up.`;
  return { tone: "bad", words: `Unknown: server ${status.node} is silent`, banner: { title, text } };
}

function starting({ missing, total }) {
  const words = `Starting: ${total - missing.length} of ${total}`;
  if (missing.length === 0) return { tone: "unknown", words };
  const text = "A new cluster begins once all of its servers have met. One that exists takes this server in as soon as it has a leader.";
  return { tone: "warn", words, banner: { title: `Waiting for ${named(missing)}`, text } };
}

/** `who` is left out if no server has said. */
function withoutQuorum(who) {
  const means = "nobody can join, leave or be looked up. The list is the last that was confirmed.";
  if (!who) return { tone: "bad", words: "No quorum", banner: { title: "No quorum", text: `Until a majority of the servers is together, ${means}` } };
  const { missing, blank, present, total, needed } = who;
  const text = [are(missing, "missing."), are(blank, "back without memory, with no vote until a majority takes them in.")].filter(Boolean);
  if (text.length === 0) text.push("Too few servers can reach each other.");
  // The others cannot take anybody in, even if none of them were missing.
  if (total - blank.length < needed && present.length > 0) text.push(`To begin anew with nobody registered, restart ${named(present)} as well.`);
  else text.push(`Until ${needed} of ${total} are together, ${means}`);
  return { tone: "bad", words: `No quorum: ${present.length} of ${total}`, banner: { title: "No quorum", text: text.join(" ") } };
}

function showPageState({ standing, status, welcome }) {
  const node = welcome?.node ?? status?.node;
  const words = {
    live: node === undefined ? "Live" : `Live, server ${node}`,
    silent: `No answer, server ${node}`,
    moving: "Connecting again",
    waiting: status?.leader === null ? "Waiting for a leader" : "Connecting again",
    "cut off": "Cut off",
    closed: "Closed",
  };
  setText(byId("page-state").querySelector("span"), words[standing] ?? "Connecting");
}

function showBanner(banner, { state, since, retryAt }) {
  const node = byId("banner");
  node.hidden = !banner;
  if (!banner) return;
  setText(byId("banner-title"), banner.title);
  setText(byId("banner-text"), banner.text);
  const now = Date.now();
  const remaining = retryAt ? Math.ceil((retryAt - now) / 1000) : 0;
  const next = remaining > 0 ? `next try in ${remaining} s` : "trying now";
  // Counts each second, so it stands outside what is read out.
  setText(byId("banner-count"), state === "disconnected" ? `${duration(now - since)}, ${next}` : "");
}

const named = (nodes) => `${nodes.length === 1 ? "server" : "servers"} ${list(nodes.map(String))}`;

/** "Servers 1 and 2 are missing."; nothing where there are none. */
function are(nodes, what) {
  if (nodes.length === 0) return "";
  const words = named(nodes);
  return `${words[0].toUpperCase()}${words.slice(1)} ${nodes.length === 1 ? "is" : "are"} ${what}`;
}
