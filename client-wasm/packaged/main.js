// Uses the package in the page, then in a worker, and leaves both for the test to read. The servers are in the address.

import { work } from "./work.js";

const servers = new URLSearchParams(location.search).getAll("server");

function inWorker() {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.failure ? reject(new Error(data.failure)) : resolve(data.seen));
    worker.onerror = (event) => reject(new Error(event.message ?? "the worker did not load"));
    worker.postMessage(servers);
  });
}

async function both() {
  try {
    return { page: await work(servers), worker: await inWorker() };
  } catch (error) {
    return { failure: `${error.code ?? ""} ${error.stack ?? error}` };
  }
}

both().then((seen) => {
  window.seen = seen;
});
