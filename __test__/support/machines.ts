/**
 * Machines of a soak: network namespaces with a wire each to this one. The ends of a wire can stop carrying or become
 * slow. Linux and root; run it in a namespace of its own (`unshare -n`). On each machine the ports of the
 * authorization server lead here past the wire, through a Unix socket: only the way to the engine breaks.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "./child.ts";
import type { Lifetime } from "./lifetime.ts";

/** The fault of a wire: nothing arrives there, nothing comes back, neither, or all of it seconds later (2 kbit/s). */
export type Trouble = "deaf" | "mute" | "dropped" | "slow";

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"] });
}

export class Machine {
  /** This machine's name for the one that all share. */
  readonly engineHost: string;
  readonly #nth: number;
  readonly #keeper: ChildProcess;

  /** `ports`: those of loopback here that are to be reached on its loopback. */
  static async create(lifetime: Lifetime, nth: number, ports: number[]): Promise<Machine> {
    const keeper = spawn("unshare", ["-n", "sh", "-c", "ip link set lo up && echo ready && exec cat"]);
    lifetime.after(async () => {
      const ended = once(keeper, "close");
      keeper.stdin.end();
      await ended;
    });
    await once(keeper.stdout, "data");
    const machine = new Machine(nth, keeper);
    const pid = `${keeper.pid}`;
    run("ip", "link", "add", `wire${nth}`, "type", "veth", "peer", "name", "wire", "netns", pid);
    run("ip", "address", "add", `10.77.${nth}.1/24`, "dev", `wire${nth}`);
    run("ip", "link", "set", `wire${nth}`, "up");
    machine.#inside("ip", "address", "add", `10.77.${nth}.2/24`, "dev", "wire");
    machine.#inside("ip", "link", "set", "wire", "up");
    const folder = mkdtempSync(join(tmpdir(), "plugin-auth-machine-"));
    for (const port of ports) {
      const path = join(folder, `${port}`);
      const server = createServer((near) => {
        const far = connect(port, "127.0.0.1");
        near.pipe(far).pipe(near);
        near.on("error", () => far.destroy());
        far.on("error", () => near.destroy());
      }).listen(path);
      lifetime.after(() => void server.close());
      const env = { PATH: process.env.PATH ?? "" };
      const relay = Child.start(lifetime, "port-relay.mjs", {
        env,
        args: [`${port}`, path],
        launcher: machine.launcher,
      });
      await relay.event("ready");
    }
    lifetime.after(() => rmSync(folder, { recursive: true, force: true }));
    return machine;
  }

  private constructor(nth: number, keeper: ChildProcess) {
    this.#nth = nth;
    this.#keeper = keeper;
    this.engineHost = `10.77.${nth}.1`;
  }

  /** The command that starts a program on it. */
  get launcher(): string[] {
    return ["nsenter", "-t", `${this.#keeper.pid}`, "-n", "--"];
  }

  begin(trouble: Trouble): void {
    const there = (...qdisc: string[]) => this.#inside("tc", "qdisc", "replace", "dev", "wire", "root", ...qdisc);
    const here = (...qdisc: string[]) => run("tc", "qdisc", "replace", "dev", `wire${this.#nth}`, "root", ...qdisc);
    if (trouble === "mute" || trouble === "dropped") there("blackhole");
    if (trouble === "deaf" || trouble === "dropped") here("blackhole");
    if (trouble === "slow") here("tbf", "rate", "2kbit", "burst", "1540", "limit", "100000");
  }

  heal(): void {
    for (const end of [
      () => this.#inside("tc", "qdisc", "del", "dev", "wire", "root"),
      () => run("tc", "qdisc", "del", "dev", `wire${this.#nth}`, "root"),
    ]) {
      try {
        end();
      } catch {
        // There was nothing on that end.
      }
    }
  }

  #inside(program: string, ...args: string[]): void {
    const [nsenter = "", ...options] = this.launcher;
    run(nsenter, ...options, program, ...args);
  }
}
