// Uses the package in a worker, and tells the page what was seen.

import { work } from "./work.js";

onmessage = async ({ data: servers }) => {
  try {
    postMessage({ seen: await work(servers) });
  } catch (error) {
    postMessage({ failure: `${error.code ?? ""} ${error.stack ?? error}` });
  }
};
