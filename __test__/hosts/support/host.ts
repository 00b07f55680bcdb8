/**
 * A real host of plugins, from npm, in a home folder of its own: its command line, and its gateway.
 *
 *     const host = await Host.create(t, hosts["openclaw-2026.9.6"], { registry });
 *     await host.run(["plugins", "install", "team-memory"]);
 *     const gateway = await host.startGateway();
 *     await gateway.tool("team_memory_search", { query: "tea" });
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Child, type ChildExit } from "../../support/child.ts";
import { exchange } from "../../support/exchange.ts";
import type { Lifetime } from "../../support/lifetime.ts";
import { type NodeMajor, nodeBinary } from "../../support/nodes.ts";
import { TempHome } from "../../support/temp-home.ts";

interface HostProgram {
  name: "clawdbot" | "openclaw";
  /** What its command runs. */
  script: string;
  node: NodeMajor;
  /** Where it is installed. @default its id, in __test__/hosts */
  folder?: string;
  /** The package in npm. @default its name */
  package?: string;
}

export type HostId =
  | "clawdbot-2026.1.24"
  | "openclaw-2026.1.29"
  | "openclaw-cn-2026.1.31"
  | "openclaw-2026.4.15"
  | "openclaw-2026.6.11"
  | "openclaw-2026.9.6";

/** By the folder of their package.json in __test__/hosts. */
export const hosts: Record<HostId, HostProgram> = {
  "clawdbot-2026.1.24": { name: "clawdbot", script: "dist/entry.js", node: 22 },
  "openclaw-2026.1.29": { name: "openclaw", script: "openclaw.mjs", node: 22 },
  "openclaw-cn-2026.1.31": { name: "openclaw", package: "openclaw-cn", script: "dist/entry.js", node: 22 },
  "openclaw-2026.4.15": { name: "openclaw", script: "openclaw.mjs", node: 22 },
  "openclaw-2026.6.11": { name: "openclaw", script: "openclaw.mjs", node: 22 },
  "openclaw-2026.9.6": { name: "openclaw", script: "openclaw.mjs", node: 24 },
};

/** Another openclaw, wherever it is installed. */
export function addHost(id: string, folder: string, node: NodeMajor): HostId {
  hosts[id as HostId] ??= { name: "openclaw", script: "openclaw.mjs", node, folder };
  return id as HostId;
}

const token = "test-token";

export interface Finished extends ChildExit {
  stdout: string;
  stderr: string;
}

export class Host {
  readonly id: HostId;
  readonly home: TempHome;
  readonly stateDir: string;
  readonly port: number;
  /** More of the environment of its processes. */
  readonly environment: Record<string, string> = {};
  readonly #lifetime: Lifetime;
  readonly #registry: string;

  static async create(lifetime: Lifetime, id: HostId, registry: string): Promise<Host> {
    return new Host(lifetime, id, registry, await freePort());
  }

  private constructor(lifetime: Lifetime, id: HostId, registry: string, port: number) {
    this.id = id;
    this.port = port;
    this.#lifetime = lifetime;
    this.#registry = registry;
    this.home = TempHome.create(lifetime);
    this.stateDir = join(this.home.path, `.${this.name}`);
    mkdirSync(this.stateDir);
    this.configure({
      gateway: { mode: "local", port, bind: "loopback", auth: { mode: "token", token } },
      plugins: { slots: { memory: "none" } },
    });
  }

  get name(): "clawdbot" | "openclaw" {
    return hosts[this.id].name;
  }

  /** What its environment variables begin with. */
  get prefix(): string {
    return this.name.toUpperCase();
  }

  /** What says yes to the questions of a plugin's installation, where the host asks any. */
  get consent(): string[] {
    return this.id === "openclaw-2026.9.6" ? ["--force", "--accept-capabilities"] : [];
  }

  get configPath(): string {
    return join(this.stateDir, `${this.name}.json`);
  }

  /** Merges into the host's configuration file. */
  configure(members: object): void {
    const before = existsSync(this.configPath) ? (JSON.parse(readFileSync(this.configPath, "utf8")) as object) : {};
    writeFileSync(this.configPath, JSON.stringify(merged(before, members), null, 2));
  }

  /** Starts a command of the host, in a process of its own. */
  start(args: string[]): Child {
    return this.#start(this.#script, args);
  }

  /** The same, on a terminal of its own. */
  startOnTerminal(args: string[]): Child {
    return this.#start("terminal.mjs", [nodeBinary(hosts[this.id].node), this.#script, ...args]);
  }

  /** Runs a command of the host to its end. */
  async run(args: string[]): Promise<Finished> {
    const child = this.start(args);
    child.endInput();
    const exit = await child.exit;
    return { ...exit, stdout: child.stdout, stderr: child.stderr };
  }

  /** The same; fails with what it has written unless it exits with 0. */
  async succeed(args: string[]): Promise<Finished> {
    const finished = await this.run(args);
    if (finished.code !== 0) {
      throw new Error(`${this.id} ${args.join(" ")}: ${JSON.stringify(finished, null, 2)}`);
    }
    return finished;
  }

  /** A method of the running gateway, called by the host's own command. */
  async gatewayCall(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const { stdout } = await this.succeed(["gateway", "call", method, "--params", JSON.stringify(params), "--json"]);
    return JSON.parse(stdout.slice(stdout.indexOf("{"))) as Record<string, unknown>;
  }

  async startGateway(): Promise<Gateway> {
    const gateway = new Gateway(this, this.start(["gateway", "run"]));
    await gateway.ready();
    return gateway;
  }

  #start(script: string, args: string[]): Child {
    const { node } = hosts[this.id];
    const { prefix } = this;
    const quiet = ["CHANNELS", "CRON", "BROWSER_CONTROL_SERVER", "CANVAS_HOST"].map((what) => [
      `${prefix}_SKIP_${what}`,
      "1",
    ]);
    return Child.start(this.#lifetime, script, {
      node,
      args,
      cwd: this.home.path,
      env: this.home.env({
        PATH: `${dirname(nodeBinary(node))}${delimiter}${process.env.PATH ?? ""}`,
        NO_COLOR: "1",
        npm_config_registry: this.#registry,
        npm_config_audit: "false",
        npm_config_update_notifier: "false",
        [`${prefix}_DISABLE_BONJOUR`]: "1",
        ...Object.fromEntries(quiet),
        ...this.environment,
      }),
    });
  }

  get #script(): string {
    const program = hosts[this.id];
    const { name, script, folder = fileURLToPath(new URL(`../${this.id}`, import.meta.url)) } = program;
    return join(folder, "node_modules", program.package ?? name, script);
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
      body: JSON.stringify({ tool, args, ...more }),
    });
    return { status, text };
  }

  get output(): string {
    return `${this.child.stdout}\n${this.child.stderr}`;
  }

  async stop(): Promise<void> {
    this.child.signal("SIGTERM");
    await this.child.exit;
  }
}

/** Below those that systems hand out by themselves: a gateway takes half a minute on a busy machine until it listens. */
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
