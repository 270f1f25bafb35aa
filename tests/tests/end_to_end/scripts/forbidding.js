// A WebSocket whose servers forbid to subscribe, whatever they say. Runs before the page's own scripts.

const forbid = (text) => {
  const { type, origin, id } = JSON.parse(text);
  if (type !== "Subscribed") return text;
  return JSON.stringify({ type: "Error", origin, id, payload: { code: "forbidden", message: "not for you", retry: false } });
};

window.WebSocket = class extends WebSocket {
  addEventListener(type, listener, ...more) {
    if (type !== "message") return super.addEventListener(type, listener, ...more);
    const call = typeof listener === "function" ? listener : (event) => listener.handleEvent(event);
    super.addEventListener(type, ({ data }) => call.call(this, new MessageEvent("message", { data: forbid(data) })), ...more);
  }
  set onmessage(listener) {
    this.addEventListener("message", listener);
  }
};
