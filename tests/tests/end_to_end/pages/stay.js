// A page that holds a registration and says no goodbye when it is reloaded.

import { Rollcall } from "http://127.0.0.1:7101/client/rollcall.js";

const rollcall = await Rollcall.connect({ servers: ["ws://127.0.0.1:7101/ws"] });
const { revision } = await rollcall.connectUser("rita", { ip: "203.0.113.9", port: 4711 });
const impatient = await Rollcall.connect({ servers: ["ws://127.0.0.1:7101/ws"], timeout: 700 });

/** What a call comes to while the server is silent. */
window.ask = () => impatient.getSequenceNumber().then(String, (error) => error.code);
window.held = { revision, client: rollcall.welcome.client };
