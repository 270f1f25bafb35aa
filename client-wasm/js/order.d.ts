/// <reference lib="es2018.asynciterable" />

/** What a message says of itself; it may have more to say. */
export interface Tagged {
  /** Its number, from `getSequenceNumber`. */
  number: number;
  /** One life of one sender: who forgot the own last number takes another name. By default "". */
  from?: string | undefined;
  /** The number of the sender's message before it; 0 for its first. By default `number - 1`: every number counts. */
  previous?: number | undefined;
}

export interface OrderOptions {
  /** The first number that counts. By default the smallest of those that come within the patience of the first. */
  begin?: number | undefined;
  /** How long to wait for what is missing and for senders that say nothing, in milliseconds. Default 1000. */
  patience?: number | undefined;
  /** How many messages may wait. Where there are more, the oldest gaps are given up early. Default 1024. */
  capacity?: number | undefined;
  /** The present in milliseconds, of a clock that never goes back. Default `performance.now()`. */
  now?: (() => number) | undefined;
}

/** Numbers that one sender's lost messages have: `last` for certain, and maybe more from `first` on. */
export interface Gap {
  from: string;
  first: number;
  last: number;
}

/** The next message; messages that are waited for no more; a message that comes too late for its place. */
export type OrderEvent<Message> =
  | { type: "Message"; message: Message }
  | { type: "Missing"; from: string; first: number; last: number }
  | { type: "Late"; message: Message };

/** A receiver that puts messages in order. Read it with `for await`. */
export class Order<Message extends Tagged = Tagged> {
  constructor(options?: OrderOptions);
  /** A message came. Copies, and what is from before the beginning, are ignored. */
  push(message: Message): void;
  /** A sender says, or somebody says of it, that it has sent `previous` and after it nothing up to `number`. */
  note(note: Tagged): void;
  /** Somebody may send from now on: messages wait until it has passed their number, too. */
  join(from: string): void;
  /** Somebody will send no more. */
  leave(from: string): void;
  /** No message will come any more: what waits is given at once, and then the iteration is done. */
  end(): void;
  /** What comes next, if anything does now; for those who do not iterate. */
  poll(): OrderEvent<Message> | undefined;
  /** What is known to have been sent, has not come, and is waited for. */
  readonly missing: Gap[];
  /** The next event. */
  next(): Promise<IteratorResult<OrderEvent<Message>, undefined>>;
  /** Drops what waits, as leaving a `for await` loop does. */
  return(): Promise<IteratorResult<OrderEvent<Message>, undefined>>;
  [Symbol.asyncIterator](): Order<Message>;
}
