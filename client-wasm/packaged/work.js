// What an application does with the npm package, once: it only reports what it saw; what is right is the tests' to say.

import { Rollcall } from "rollcall-client";
import { Order } from "rollcall-client/order.js";

export async function work(servers) {
  const rollcall = await Rollcall.connect({ servers, timeout: 15_000 });
  const name = `packaged-${crypto.randomUUID()}`;
  const watch = await rollcall.subscribe({ usernames: [name] });
  const nobody = watch.users.length;
  const { revision } = await rollcall.connectUser(name, { ip: "203.0.113.7", port: 4711, meta: { from: "a package" } });
  const { value: change } = await watch.next();
  const { users, unknown } = await rollcall.getUserAddress([name, `${name}-2`]);
  const first = await rollcall.getSequenceNumber(5);
  const later = await rollcall.getSequenceNumber();
  const refused = await rollcall.getSequenceNumber(0).catch((error) => [error instanceof Error, error.code, error.field]);
  const order = new Order({ begin: first });
  for (const number of [first + 1, first]) order.push({ number });
  const ordered = [order.poll(), order.poll()].map((event) => event.message.number - first);
  const { done } = await watch.return();
  rollcall.close();
  return {
    nobody,
    change: [change.type, change.username === name, change.revision === revision],
    users: users.map(({ username, addresses }) => [username === name, addresses[0].ip, addresses[0].port, addresses[0].meta]),
    unknown: unknown.length,
    numbers: Number.isSafeInteger(first) && later > first + 4,
    refused,
    ordered,
    done,
  };
}
