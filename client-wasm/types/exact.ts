// Owns how a type is asserted: two types are the same or they are not, assignable is not enough.

/** Whether two types are the same: also in what is optional or read-only, and never by way of `any`. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;

/** Takes only what holds. */
export type Holds<Claim extends true> = Claim;

/** `exactly<Expected>()(value)`: takes only a value of exactly that type. */
export declare function exactly<Expected>(): <Found>(
  found: Found,
  ...same: Equal<Found, Expected> extends true ? [] : [never]
) => void;
