// @ts-self-types="./rollcall.d.ts"
// Entry of the browser client. It loads the WebAssembly module at the first `Rollcall.connect`, so
// that importing this file neither waits nor fails: what goes wrong while loading rejects `connect`.

import init, { Rollcall } from "./rollcall_bindings.js";

const connect = Rollcall.connect;
let loading;
let blocked;

Rollcall.connect = async function (options) {
  loading ??= load();
  try {
    await loading;
  } catch (error) {
    loading = undefined; // the next call tries again
    throw error;
  }
  blocked = undefined;
  try {
    return await connect.call(Rollcall, options);
  } catch (error) {
    if (error.code === "unreachable" && globalThis.WebSocket) error.message += `: ${reason(options.servers)}`;
    throw error;
  }
};

// Nothing else tells that the page's policy forbade a socket.
globalThis.addEventListener?.("securitypolicyviolation", ({ blockedURI, disposition }) => {
  if (/^ws/.test(blockedURI) && disposition !== "report") blocked = blockedURI;
});

// Why no server was reached, as far as a browser tells.
function reason(servers) {
  if (blocked) return `the page's Content-Security-Policy lacks ${blocked} in connect-src`;
  const insecure = globalThis.location?.protocol === "https:" && servers.find((url) => url.startsWith("ws:"));
  try {
    // Addresses of this machine are allowed.
    if (insecure) new WebSocket(insecure).close();
  } catch {
    return `a page at https:// may not open ${insecure}; use wss://`;
  }
  return "nothing runs there, its certificate is refused, or something between blocks it";
}

async function load() {
  const url = new URL("./rollcall_bg.wasm", import.meta.url);
  let response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw failure("unreachable", `could not fetch ${url} (${cause.message})`, cause);
  }
  if (!response.ok) {
    throw failure("unreachable", `could not fetch ${url} (HTTP ${response.status})`);
  }
  try {
    await init({ module_or_path: response });
  } catch (cause) {
    const blocked = /content.security.policy|\bCSP\b|unsafe-eval/i.test(cause.message);
    const hint = blocked
      ? "; the page's Content-Security-Policy needs 'wasm-unsafe-eval' in script-src"
      : "";
    throw failure("internal", `could not start ${url} (${cause.message})${hint}`, cause);
  }
}

function failure(code, message, cause) {
  return Object.assign(new Error(`rollcall: ${message}`, { cause }), { code });
}

export * from "./rollcall_bindings.js";
