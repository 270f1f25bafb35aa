// Runs everything in the page, then once more in a module worker, and leaves both for the test to read.

import { run } from "./api.js";

async function inWorker() {
  const worker = new Worker("./worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.failure ? reject(new Error(data.failure)) : resolve(data.seen));
    worker.onerror = (event) => reject(new Error(event.message ?? "the worker did not load"));
  });
}

async function both() {
  try {
    return { page: await run(), worker: await inWorker() };
  } catch (error) {
    return { failure: `${error.code ?? ""} ${error.stack ?? error}` };
  }
}

window.seen = await both();
