// Runs the browser's order on scenarios and returns what it says, in the form that `order.rs` has.

const { Order } = await import(`${location.origin}/client/order.js`);

function run({ options, steps }) {
  let time = 0;
  const order = new Order({ ...options, now: () => time });
  return steps.map(([at, kind, from, previous, number]) => {
    time = at;
    const said = [];
    try {
      if (kind === "push") order.push({ from, previous, number });
      if (kind === "note") order.note({ from, previous, number });
      if (kind === "join") order.join(from);
      if (kind === "leave") order.leave(from);
      if (kind === "end") order.end();
    } catch (error) {
      said.push([error.code, error.field ?? null]);
    }
    if (kind !== "quiet") {
      for (let event; (event = order.poll()); ) {
        const { type, message, from, first, last } = event;
        said.push(message ? [type, message.from, message.number, message.number] : [type, from, first, last]);
      }
    }
    return [said, order.missing.map(({ from, first, last }) => [from, first, last])];
  });
}

return SCENARIOS.map(run);
