/**
 * A network of a test's own: a network namespace with nothing but its loopback, whose addresses the test chooses.
 * Linux, root and iproute2; elsewhere tests say why they are skipped.
 *
 *     const network = await PrivateNetwork.create(t);
 *     network.removeIpv6();
 *     const plugin = await PluginProcess.start(t, { env, launcher: network.launcher });
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { Lifetime } from "./lifetime.ts";

export class PrivateNetwork {
  readonly #keeper: ChildProcess;

  /** Why there can be none here; false where there can. */
  static unavailable(): string | false {
    if (process.platform !== "linux") {
      return "network namespaces are for Linux";
    }
    if (process.getuid?.() !== 0) {
      return "only root may make network namespaces";
    }
    const { status, stderr, error } = spawnSync("unshare", ["-n", "ip", "link", "set", "lo", "up"]);
    return status === 0 ? false : `no network namespaces here: ${error?.message ?? stderr.toString().trim()}`;
  }

  static async create(lifetime: Lifetime): Promise<PrivateNetwork> {
    // Keeps the namespace alive until its input ends, with this process at the latest.
    const script = "ip link set lo up && echo ready && exec cat";
    const keeper = spawn("unshare", ["-n", "sh", "-c", script], { stdio: ["pipe", "pipe", "inherit"] });
    lifetime.after(async () => {
      const ended = once(keeper, "close");
      keeper.stdin.end();
      await ended;
    });
    await once(keeper.stdout, "data");
    return new PrivateNetwork(keeper);
  }

  private constructor(keeper: ChildProcess) {
    this.#keeper = keeper;
  }

  /** The command that starts a program inside. */
  get launcher(): string[] {
    return ["nsenter", "-t", `${this.#keeper.pid}`, "-n", "--"];
  }

  /** An address of this machine that is not loopback. */
  addAddress(address: string): void {
    this.#ip("address", "add", address.includes(":") ? `${address}/128` : `${address}/32`, "dev", "lo");
  }

  /** No IPv6 at all, as on machines where it is turned off. */
  removeIpv6(): void {
    this.#run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
  }

  /** IPv6 alone. */
  removeIpv4(): void {
    this.#ip("address", "del", "127.0.0.1/8", "dev", "lo");
  }

  #ip(...args: string[]): void {
    this.#run("ip", ...args);
  }

  #run(program: string, ...args: string[]): void {
    const [nsenter = "", ...options] = this.launcher;
    execFileSync(nsenter, [...options, program, ...args]);
  }
}
