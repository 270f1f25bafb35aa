// A BroadcastChannel that behaves like a bad network: to this page messages come late, so out of order, or never.
// A real application has WebRTC, UDP or several relays here; the rest of the example would be the same.

export class Network {
  /** The longest a message travels, in milliseconds; each takes a random part of it. */
  delay = 1500;
  /** How many of a hundred are lost. */
  loss = 0;
  /** Lose the next chat message whatever `loss` says. */
  loseNext = false;

  #channel;

  /** `receive` gets what comes, `lost` what does not: only a show like this one can know. */
  constructor(name, receive, lost) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => {
      if (this.loses(data)) lost(data);
      else setTimeout(() => receive(data), this.travels(data));
    };
  }

  send(message) {
    this.#channel.postMessage(message);
  }

  loses(message) {
    const chosen = this.loseNext && message.text !== undefined;
    if (chosen) this.loseNext = false;
    return chosen || Math.random() * 100 < this.loss;
  }

  travels() {
    return Math.random() * this.delay;
  }
}
