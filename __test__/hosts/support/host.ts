/**
 * A real host of plugins, from npm, in a home folder of its own: its command line, and its gateway.
 *
 *     const host = await Host.create(t, "openclaw-2026.9.6", { registry });
 *     await host.run(["plugins", "install", "team-memory"]);
 *     const gateway = await host.startGateway();
 *     await gateway.tool("team_memory_search", { query: "tea" });
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type HostVersion, hosts as table } from "../../../scripts/hosts.mjs";
import { Child, type ChildExit } from "../../support/child.ts";
import { exchange } from "../../support/exchange.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { nodeBinary } from "../../support/nodes.ts";
import { TempHome } from "../../support/temp-home.ts";

/** "openclaw-2026.9.6": a row of versions.json, or one that was added. */
export type HostId = string;

/** The hosts that scripts/test-hosts.mjs has chosen; else the table. */
export const hosts: HostVersion[] = JSON.parse(process.env.PLUGIN_AUTH_HOSTS ?? "null") ?? table;

/** The last host of the table; a new row makes another one the newest. */
export const newest: HostId = table.at(-1)?.id ?? assert.fail("The table is empty");

const token = "test-token";

/** The hosts wait 10 s for an answer by themselves, which is short where the machine is busy. */
const patience = ["--timeout", "60000"];

/** What a client says whose connection was closed without a reason: docs/hosts.md 9. */
const handshakeTooSlow = /gateway closed \(1000 normal closure\): no close reason/;

/** The environment of a host and of what it starts names its home so; other processes of a test have the home alone. */
const mark = "PLUGIN_AUTH_HOST_OF";

/**
 * Hosts keep what they have compiled where temporary files are, by name and content, so that it holds for all homes.
 * Without it the first start takes minutes of a busy machine: older hosts compile all of themselves for the plugins of
 * their own.
 */
const compiled = fileURLToPath(new URL("../../../target/hosts/compiled", import.meta.url));

export interface Finished extends ChildExit {
  stdout: string;
  stderr: string;
}

export class Host {
  readonly id: HostId;
  readonly row: HostVersion;
  readonly home: TempHome;
  readonly stateDir: string;
  readonly port: number;
  /** More of the environment of its processes. */
  readonly environment: Record<string, string> = {};
  /** The program that starts its processes; empty to start them as usual. */
  launcher: string[] = [];
  /** The agent that its tools are called for, where there are several. */
  agentId: string | undefined;
  readonly #lifetime: Lifetime;
  readonly #registry: string;

  static async create(lifetime: Lifetime, id: HostId, registry: string): Promise<Host> {
    return new Host(lifetime, id, registry, await freePort());
  }

  private constructor(lifetime: Lifetime, id: HostId, registry: string, port: number) {
    this.id = id;
    this.row = hosts.findLast((row) => row.id === id) ?? assert.fail(`${id} is not chosen`);
    this.port = port;
    this.#lifetime = lifetime;
    this.#registry = registry;
    // Before the home goes.
    lifetime.after(() => this.endAll("SIGKILL"));
    this.home = TempHome.create(lifetime);
    for (const kept of ["jiti", "node-compile-cache"]) {
      mkdirSync(join(compiled, kept), { recursive: true });
      symlinkSync(join(compiled, kept), join(this.home.path, "tmp", kept));
    }
    this.stateDir = join(this.home.path, `.${this.family}`);
    mkdirSync(this.stateDir);
    this.configure({
      gateway: { mode: "local", port, bind: "loopback", auth: { mode: "token", token } },
      plugins: { slots: { memory: "none" } },
    });
  }

  /** The name of its command, as messages use it. */
  get name(): HostVersion["host"] {
    return this.row.host;
  }

  /** The name in its files and variables. */
  get family(): "clawdbot" | "openclaw" {
    return this.name === "clawdbot" ? "clawdbot" : "openclaw";
  }

  /** The prefix of its environment variables. */
  get prefix(): string {
    return this.family.toUpperCase();
  }

  /** The arguments that answer the questions of a plugin's installation, where the host asks any. */
  async consent(): Promise<string[]> {
    const { consent, folder } = this.row;
    if (consent !== undefined || folder === undefined) {
      return consent ?? [];
    }
    // One that is not in the table says so itself.
    const { stdout } = await this.run(["plugins", "install", "--help"]);
    this.row.consent = stdout.includes("--accept-capabilities") ? ["--force", "--accept-capabilities"] : [];
    return this.row.consent;
  }

  /** Does its command line know those of plugins? */
  get hasCommands(): boolean {
    return this.name === "openclaw";
  }

  get configPath(): string {
    return join(this.stateDir, `${this.family}.json`);
  }

  /** Merges into the host's configuration file. */
  configure(members: object): void {
    writeFileSync(this.configPath, JSON.stringify(merged(this.configuration, members), null, 2));
  }

  /** The contents of that file. */
  get configuration(): Record<string, unknown> {
    return existsSync(this.configPath) ? JSON.parse(readFileSync(this.configPath, "utf8")) : {};
  }

  /** Starts a command of the host, in a process of its own. */
  start(args: string[]): Child {
    return this.#start(this.#script, args);
  }

  /** Starts a command on a terminal of its own. */
  startOnTerminal(args: string[]): Child {
    return this.#start("terminal.mjs", [nodeBinary(this.row.node), this.#script, ...args]);
  }

  /** Runs a command of the host to its end. */
  async run(args: string[]): Promise<Finished> {
    const child = this.start(args);
    child.endInput();
    const exit = await child.exit;
    return { ...exit, stdout: child.stdout, stderr: child.stderr };
  }

  /** Runs a command; fails with its output unless it exits with 0. */
  async succeed(args: string[]): Promise<Finished> {
    return this.#succeeded(args, await this.run(args));
  }

  #succeeded(args: string[], finished: Finished): Finished {
    if (finished.code !== 0) {
      throw new Error(`${this.id} ${args.join(" ")}: ${JSON.stringify(finished, null, 2)}`);
    }
    return finished;
  }

  /**
   * A method of the running gateway, called by the host's own command. openclaw 2026.3.13 closes a connection whose
   * handshake takes longer than 3 s, before the method is heard, so on a busy machine it is called again.
   */
  async gatewayCall(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const args = ["gateway", "call", method, "--params", JSON.stringify(params), "--json", ...patience];
    let called = await this.run(args);
    for (let again = 0; again < 5 && called.code !== 0 && handshakeTooSlow.test(called.stderr); again++) {
      called = await this.run(args);
    }
    const { stdout } = this.#succeeded(args, called);
    return JSON.parse(stdout.slice(stdout.indexOf("{"))) as Record<string, unknown>;
  }

  async startGateway(): Promise<Gateway> {
    const gateway = new Gateway(this, this.start(["gateway", "run"]));
    await gateway.ready();
    return gateway;
  }

  /**
   * Ends all of its processes, and waits for that. openclaw 2026.4 starts itself again after a change of its
   * configuration: detached, and the child of nobody.
   */
  async endAll(signal: NodeJS.Signals): Promise<void> {
    // A gateway that is starting itself again may come while the others end.
    const signalled = new Set<number>();
    for (let alive = processesOf(this.home); alive.length > 0; alive = processesOf(this.home)) {
      for (const pid of alive.filter((pid) => !signalled.has(pid))) {
        signalled.add(pid);
        try {
          process.kill(pid, signal);
        } catch {}
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Whether any of its processes runs. */
  get isAlive(): boolean {
    return processesOf(this.home).length > 0;
  }

  #start(script: string, args: string[]): Child {
    const { node } = this.row;
    const { prefix } = this;
    const quiet = ["CHANNELS", "CRON", "BROWSER_CONTROL_SERVER", "CANVAS_HOST"].map((what) => [
      `${prefix}_SKIP_${what}`,
      "1",
    ]);
    return Child.start(this.#lifetime, script, {
      node,
      args,
      cwd: this.home.path,
      launcher: this.launcher,
      env: this.home.env({
        PATH: `${dirname(nodeBinary(node))}${delimiter}${process.env.PATH ?? ""}`,
        NO_COLOR: "1",
        [mark]: this.home.path,
        npm_config_registry: this.#registry,
        npm_config_audit: "false",
        npm_config_update_notifier: "false",
        // openclaw 2026.4.15 asks ClawHub first, and npm only where that answers that it has no such package.
        OPENCLAW_CLAWHUB_URL: `${this.#registry}clawhub`,
        [`${prefix}_DISABLE_BONJOUR`]: "1",
        ...Object.fromEntries(quiet),
        ...this.environment,
      }),
    });
  }

  /** The script of its command. In a workspace, npm puts one version of a package into the root for all. */
  get #script(): string {
    const { host, id, version, folder } = this.row;
    const versions = fileURLToPath(new URL("../versions", import.meta.url));
    for (const place of folder === undefined ? [join(versions, id), dirname(versions)] : [folder]) {
      const installed = join(place, "node_modules", host);
      const manifest = existsSync(installed) && JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
      if (manifest.version === version) {
        return join(installed, manifest.bin[host]);
      }
    }
    throw new Error(`${id} is not installed: npm run test:hosts -- ${id}`);
  }
}

export interface ToolAnswer {
  status: number;
  text: string;
}

export class Gateway {
  readonly child: Child;
  readonly #host: Host;

  constructor(host: Host, child: Child) {
    this.#host = host;
    this.child = child;
  }

  /** Until it answers: 404 to a tool that nobody has. */
  async ready(): Promise<void> {
    let ended: ChildExit | undefined;
    this.child.exit.then((exit) => {
      ended = exit;
    });
    for (;;) {
      const answer = await this.tool("no_such_tool", {}).catch(() => undefined);
      if (answer?.status === 404) {
        return;
      }
      if (ended !== undefined) {
        throw new Error(`The gateway has ended (${JSON.stringify(ended)}):\n${this.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async tool(tool: string, args: object, more: object = {}): Promise<ToolAnswer> {
    const { status, text } = await exchange(`http://127.0.0.1:${this.#host.port}/tools/invoke`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ tool, args, agentId: this.#host.agentId, ...more }),
    });
    return { status, text };
  }

  /**
   * Calls a tool that fails for this reason. openclaw 2026.2.26 and later hide it from HTTP callers; the log and the
   * model get it.
   */
  async failingTool(tool: string, args: object, reason: string): Promise<void> {
    const before = this.child.mark;
    const { status, text } = await this.tool(tool, args);
    if (status === 500) {
      await this.child.written(new RegExp(reason.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")), before);
    } else {
      assert.equal(status, 400, text);
      assert.equal(JSON.parse(text).error.message, reason);
    }
  }

  get output(): string {
    return `${this.child.stdout}\n${this.child.stderr}`;
  }

  async stop(): Promise<void> {
    await this.#host.endAll("SIGTERM");
    await this.child.exit;
  }

  /** Kills it as the system does when memory is short. */
  async kill(): Promise<void> {
    await this.#host.endAll("SIGKILL");
    await this.child.exit;
  }
}

/** Finds processes by their environment: a host's own title says nothing. On Linux alone. */
function processesOf({ path }: TempHome): number[] {
  const isOfHome = (pid: string) => {
    try {
      return `\0${readFileSync(`/proc/${pid}/environ`, "utf8")}`.includes(`\0${mark}=${path}\0`);
    } catch {
      return false;
    }
  };
  return existsSync("/proc")
    ? readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name) && isOfHome(name))
        .map(Number)
    : [];
}

/**
 * Below those that systems hand out by themselves: a gateway takes half a minute on a busy machine until it listens.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (isFree) {
      await new Promise((resolve) => server.close(resolve));
      return port;
    }
  }
}

function merged(before: object, members: object): object {
  const result: Record<string, unknown> = { ...before };
  for (const [name, value] of Object.entries(members)) {
    const old = result[name];
    const isObject = (it: unknown) => typeof it === "object" && it !== null && !Array.isArray(it);
    result[name] = isObject(old) && isObject(value) ? merged(old as object, value as object) : value;
  }
  return result;
}
