/** An error of a store: its code is what the caller reads, as `STORE_IO … failed (CODE)`. */
export class StoreError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "StoreError";
    this.code = code;
  }
}
