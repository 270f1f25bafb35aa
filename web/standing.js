// Owns how things stand, read off what is known: how this page stands to the cluster (`standing`), and how the
// servers of a cluster stand to each other (`census`). Pure: time comes with the question.

/** A link that is lost for less is only being moved: nothing worth an alarm. */
export const MOVING_MS = 1000;
/** A server that is linked and owes an answer for longer is silent. */
const SILENT_MS = 3000;
/** Finding a leader takes a fraction of this; one that is not found for longer is not about to be. */
const ELECTION_MS = 5000;

/**
 * How this page stands:
 * - "connecting": it has not reached any server yet;
 * - "live": a server has welcomed it;
 * - "silent": one has, and does not answer any more;
 * - "moving": its link was lost a moment ago, or it is linked anew and nothing was heard of the server yet;
 * - "waiting": servers answer, and none of them can welcome it;
 * - "cut off": no server answers;
 * - "refused", "closed": for good.
 * @returns {"connecting"|"live"|"silent"|"moving"|"waiting"|"cut off"|"refused"|"closed"}
 */
export function standing(picture, now) {
  const { refused, state, since, status, statusAt, asked, tries } = picture;
  if (refused) return "refused";
  if (state === "closed") return "closed";
  if (state === "connected") {
    if (!status) return "live";
    if (asked !== null && now - asked > SILENT_MS) return "silent";
    // What the server before said is not true of this one.
    return statusAt < since ? "moving" : "live";
  }
  // Each try is one of all servers. One may end a link to say that it has no quorum, and answer at the next.
  const triedAll = status && tries > 2;
  // A server without a quorum closes its links, and is there nevertheless.
  if (status && !triedAll && (statusAt > since || lacksQuorum(picture, now))) return "waiting";
  if (!status && state === "connecting") return "connecting";
  return status && now - since < MOVING_MS ? "moving" : "cut off";
}

/** Whether a member is heard from, as the answering server sees it. */
export const isUp = ({ state }) => state !== "down";

/**
 * Who of the cluster counts, as the answering server sees it: `missing` are not heard from, `blank` are, and hold
 * nothing yet and have no vote; `present` are the others. `needed` of `total` are a majority.
 */
export function census({ members }) {
  const those = (what) => members.filter(what).map(({ node }) => node);
  const missing = those((member) => !isUp(member));
  const blank = those((member) => isUp(member) && member.role === "blank");
  const present = those(({ node }) => !missing.includes(node) && !blank.includes(node));
  return { missing, blank, present, total: members.length, needed: Math.floor(members.length / 2) + 1 };
}

/** Whether more is missing than a leader that is about to be found. */
export function lacksQuorum({ status, noQuorum, unledSince }, now) {
  if (noQuorum) return true;
  if (!status || status.leader !== null) return false;
  const { present, total } = census(status);
  return 2 * present.length < total || now - unledSince > ELECTION_MS;
}

/** Whether the cluster has yet to begin: nobody that is here holds anything. */
export const isStarting = ({ cluster, members }) => cluster === "" && members.every((member) => !isUp(member) || member.role === "blank");
