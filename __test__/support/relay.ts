/**
 * A way to a server of this machine that can stop carrying anything, as a network that drops packets does: nothing
 * breaks.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Lifetime } from "./lifetime.ts";

export class Relay {
  readonly port: number;
  readonly #sockets: Set<Socket>;
  readonly #state: { carries: boolean };

  static async start(lifetime: Lifetime, to: number): Promise<Relay> {
    const sockets = new Set<Socket>();
    const state = { carries: true };
    const server = createServer((near) => {
      const far = connect(to, "127.0.0.1");
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(one);
        one.on("data", (bytes) => state.carries && other.write(bytes));
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
          if (state.carries) other.destroy();
        });
      }
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    lifetime.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return new Relay((server.address() as AddressInfo).port, sockets, state);
  }

  private constructor(port: number, sockets: Set<Socket>, state: { carries: boolean }) {
    this.port = port;
    this.#sockets = sockets;
    this.#state = state;
  }

  /** From now on nothing arrives, in either direction. */
  swallow(): void {
    this.#state.carries = false;
  }

  /** Carries again. Swallowed data is lost, and so are its connections. */
  carryAgain(): void {
    this.#state.carries = true;
    for (const socket of this.#sockets) socket.destroy();
  }
}
