// A program of Node.js, Deno or Bun that uses the npm package; its arguments are the servers of a cluster. It says what
// it saw, then which server serves it; when that is gone it goes on with another one, and ends by itself.

import process from "node:process";
import { Rollcall } from "rollcall-client";
import { work } from "./work.js";

const servers = process.argv.slice(2);
console.log(JSON.stringify(await work(servers)));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rollcall = await Rollcall.connect({ servers, timeout: 15_000 });
const before = await rollcall.getSequenceNumber();
await pause(1000); // servers are measured at first, and the nearest is taken
const { node } = rollcall.welcome;
console.log(JSON.stringify({ node }));
while (rollcall.welcome.node === node) await pause(20);
const after = await rollcall.getSequenceNumber();
console.log(JSON.stringify({ moved: true, grew: after > before }));
rollcall.close();
