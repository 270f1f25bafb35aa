// Owns the answer to "is it healthy?": one verdict in words from the picture of the link and the cluster, shown in the
// top bar, in the banner where it is serious, and in the page's title.

import { byId, count, list, plural, setIcon, setText } from "./dom.js";
import { isUp } from "./live.js";
import { clock, duration } from "./time.js";

/**
 * The verdict. Pure, so that every state can be read off here.
 * @returns {{tone: "ok"|"warn"|"bad"|"unknown", words: string, hint?: string, banner?: {title: string, text: string}}}
 */
export function assess({ state, since, status, refused, noQuorum }) {
  if (refused) return { tone: "bad", words: "Not allowed" };
  if (state === "disconnected" || state === "closed") return cutOff(state, since, status);
  if (!status) return noQuorum ? withoutQuorum([], 0, 0) : { tone: "unknown", words: "Connecting" };
  const members = status.members ?? [];
  const missing = members.filter((member) => !isUp(member)).map((member) => member.node);
  const total = members.length;
  const present = total - missing.length;
  const majority = Math.floor(total / 2) + 1;
  if (noQuorum || present < majority) return withoutQuorum(missing, present, total);
  if (status.leader === null || status.leader === undefined) {
    return { tone: "warn", words: `Electing: ${present} of ${total}, no leader yet`, hint: "Changes and lookups wait until a leader is found." };
  }
  if (missing.length === 0) return { tone: "ok", words: `Healthy: ${present} of ${total}, server ${status.leader} leads` };
  const spare = present - majority;
  const rest = spare > 0 ? `${plural(spare, "more loss", "more losses")} can be borne.` : "No further loss can be borne.";
  return { tone: "warn", words: `Working: ${present} of ${total}, server ${status.leader} leads`, hint: `${named(missing)} ${are(missing)} missing. ${rest}` };
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

function cutOff(state, since, status) {
  const words = "Unknown: this page is cut off";
  if (state === "closed") {
    return { tone: "bad", words, banner: { title: "This page is closed", text: "Reload it to connect again." } };
  }
  if (!status) {
    const text = `Tried since ${clock(since)}. The page goes on by itself as soon as one does.`;
    return { tone: "bad", words: "No server answers", banner: { title: "No server answers", text } };
  }
  return { tone: "bad", words, banner: { title: "This page is cut off", text: `Since ${clock(since)}. You see the last picture it had.` } };
}

function withoutQuorum(missing, present, total) {
  const words = total > 0 ? `No quorum: ${present} of ${total}` : "No quorum";
  const who = missing.length > 0 ? `${named(missing)} ${are(missing)} missing. ` : "Too few servers can reach each other. ";
  const needed = total > 0 ? `Until ${Math.floor(total / 2) + 1} of ${total} are together` : "Until a majority is together";
  const text = `${who}${needed}, nobody can join, leave or be looked up. Nothing that was confirmed is lost; the list is the last confirmed one.`;
  return { tone: "bad", words, banner: { title: "No quorum", text } };
}

function showPageState({ state, status, welcome }) {
  const node = welcome?.node ?? status?.node;
  const words = {
    connecting: "Connecting",
    connected: node === undefined ? "Live" : `Live, server ${node}`,
    disconnected: "Cut off",
    closed: "Closed",
  };
  setText(byId("page-state").querySelector("span"), words[state] ?? state);
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

const named = (nodes) => `${nodes.length === 1 ? "Server" : "Servers"} ${list(nodes.map(String))}`;
const are = (nodes) => (nodes.length === 1 ? "is" : "are");
