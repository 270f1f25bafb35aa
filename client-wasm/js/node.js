// @ts-self-types="./rollcall.d.ts"
// Entry of the npm package on Node.js, whose `fetch` reads no files: the WebAssembly module beside
// this file is read and started at import.

import { readFileSync } from "node:fs";
import { initSync } from "./rollcall_bindings.js";

initSync({ module: readFileSync(new URL("./rollcall_bg.wasm", import.meta.url)) });

export * from "./rollcall_bindings.js";
