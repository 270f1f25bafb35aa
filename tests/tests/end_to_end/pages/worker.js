// Runs everything in a module worker, and tells the page what was seen.

import { run } from "./api.js";

try {
  postMessage({ seen: await run() });
} catch (error) {
  postMessage({ failure: `${error.code ?? ""} ${error.stack ?? error}` });
}
