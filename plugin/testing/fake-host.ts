import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChatCommand } from "../chat-command.ts";
import type { ChatContext } from "../conversation.ts";
import type { GatewayMethod, HttpRoute, PluginApi, PluginCommand, PluginService, ToolContext } from "../host.ts";
import { checkMembers, type Kind, object, text } from "../option-types.ts";
import { runOn, Terminal } from "./terminal.ts";

/** The plugin, and what its user has configured. */
export interface FakeHostOptions {
  /** @default "my-memory" */
  id?: string | undefined;
  /** @default "My Memory" */
  name?: string | undefined;
  /** The host's whole configuration. */
  config?: unknown;
  /** `plugins.entries.<id>.config`. */
  pluginConfig?: Record<string, unknown> | undefined;
  /**
   * Where logins are stored; null: `api.runtime` throws, as in openclaw's `cli-metadata` mode. @default a temporary
   * folder
   */
  stateDir?: string | null | undefined;
  /** `api.runtime.channel`. @default one that keeps what is sent, for {@link FakeHost.received} */
  channel?: unknown;
}

const anything: Kind = ["anything", () => true];
const kinds: Record<keyof FakeHostOptions, Kind> = {
  id: text,
  name: text,
  config: anything,
  pluginConfig: object,
  stateDir: ["a text or null", (value) => typeof value === "string" || value === null],
  channel: anything,
};

/** A plugin's export. */
export type Plugin = ((api: PluginApi) => unknown) | { id?: string; name?: string; register(api: PluginApi): unknown };

/** The output of a command, and its exit code. */
export interface CommandResult {
  output: string;
  exitCode: number;
}

// biome-ignore lint/suspicious/noExplicitAny: a plugin types its own tools
type Tool = any;
/** Runs a command with its arguments and options. */
// biome-ignore lint/suspicious/noExplicitAny: the arguments of an action depend on the command
export type CommandAction = (...args: any[]) => Promise<void>;
// biome-ignore lint/suspicious/noExplicitAny: a gateway method answers what it wants to
type Answer = any;

/** A host for tests: its `api` keeps what a plugin registers, and its methods use that. */
export class FakeHost {
  /** For `register(api)`. */
  readonly api: PluginApi;
  /** Where logins are stored. */
  readonly stateDir: string | undefined;
  readonly methods = new Map<string, GatewayMethod>();
  readonly services: PluginService[] = [];
  readonly routes: HttpRoute[] = [];
  /** Commands in chats. */
  readonly commands: ChatCommand[] = [];
  /** Tools, or functions that make one for a context, as they were registered. */
  readonly tools: Tool[] = [];
  /** Actions by their command line: "my-memory login". */
  readonly actions = new Map<string, CommandAction>();
  /** The log: "My Memory: logged in.", "warning: …". */
  readonly log: string[] = [];
  /** How often the plugin asked for `api.runtime`. */
  runtimeReads = 0;
  readonly #commands: Command[] = [];
  #terminal = new Terminal();
  readonly #chat = new Terminal();
  readonly #channel = {
    outbound: {
      loadAdapter: async () => ({ sendText: async ({ text }: { text: string }) => this.#chat.print(`${text}\n`) }),
    },
  };
  readonly #temporary: string | undefined;

  constructor(options: FakeHostOptions = {}) {
    checkMembers("fakeHost", "options", options, kinds);
    const { id = "my-memory", name = "My Memory", config, pluginConfig, stateDir, channel } = options;
    this.#temporary = stateDir === undefined ? mkdtempSync(join(tmpdir(), "fake-host-")) : undefined;
    this.stateDir = stateDir ?? this.#temporary;
    const host = this;
    this.api = {
      id,
      name,
      config,
      pluginConfig,
      get runtime() {
        host.runtimeReads += 1;
        if (host.stateDir === undefined) {
          throw new Error("Plugin runtime is not available in cli-metadata mode");
        }
        return { state: { resolveStateDir: () => host.stateDir }, channel: channel ?? host.#channel };
      },
      logger: { info: (text) => void this.log.push(text), warn: (text) => void this.log.push(`warning: ${text}`) },
      registerTool: (tool) => void this.tools.push(tool),
      registerCli: (registrar) => registrar({ program: this.#program(), logger: this.api.logger, config }),
      registerGatewayMethod: (method, handler) => void this.methods.set(method, handler),
      registerService: (service) => void this.services.push(service),
      registerCommand: (command) => void this.commands.push(command),
      registerHttpRoute: (route) => void this.routes.push(route),
    };
  }

  /** Loads a plugin, as a host does, and gives back what its `register` answers. */
  register(plugin: Plugin | { default: Plugin }): unknown {
    const exported = "default" in plugin ? plugin.default : plugin;
    if (typeof exported === "function") {
      return exported(this.api);
    }
    this.api.id = exported.id ?? this.api.id;
    this.api.name = exported.name ?? this.api.id;
    return exported.register(this.api);
  }

  /**
   * Runs a command line, without the host's name: `host.run("my-memory login --account work")`. Its output is kept,
   * not shown. Words are separated by spaces.
   */
  async run(line: string): Promise<CommandResult> {
    const words = line.trim().split(/\s+/);
    const command = this.#commands
      .filter(({ path }) => path.every((word, at) => word === words[at]))
      .sort((one, other) => other.path.length - one.path.length)[0];
    const action = command && this.actions.get(command.name);
    if (command === undefined || action === undefined) {
      throw new Error(`No command "${line}". There are: ${[...this.actions.keys()].join(", ") || "none"}.`);
    }
    const args = argumentsOf(command, words.slice(command.path.length));
    const terminal = new Terminal();
    this.#terminal = terminal;
    const before = process.exitCode;
    process.exitCode = 0;
    try {
      await runOn(terminal, () => action(...args));
      return { output: terminal.text, exitCode: Number(process.exitCode ?? 0) };
    } finally {
      process.exitCode = before;
    }
  }

  /** The first match in what the command that runs prints: now, or when that has happened. */
  shown(pattern: RegExp): Promise<string> {
    return this.#terminal.shown(pattern);
  }

  /** The tool of that name, made for that context. */
  tool(name: string, context: ToolContext = {}): Tool {
    const made = this.tools.flatMap((tool) => (typeof tool === "function" ? (tool(context) ?? []) : tool));
    const found = made.find((tool) => tool.name === name);
    if (found === undefined) {
      throw new Error(`No tool "${name}". There are: ${made.map((tool) => tool.name).join(", ") || "none"}.`);
    }
    return found;
  }

  /** Lets the model use a tool. */
  async execute(
    name: string,
    parameters: object = {},
    context: ToolContext = {},
    signal?: AbortSignal,
  ): Promise<Answer> {
    return this.tool(name, context).execute("call-1", parameters, signal);
  }

  /** Calls a gateway method; resolves to its payload, rejects with its error. */
  async call(method: string, params?: Record<string, unknown>): Promise<Answer> {
    const handler = this.methods.get(method);
    if (handler === undefined) {
      throw new Error(`No method "${method}". There are: ${[...this.methods.keys()].join(", ") || "none"}.`);
    }
    return new Promise((resolve, reject) => {
      handler({ params, respond: (ok, payload, error) => (ok ? resolve(payload) : reject(error)) }).catch(reject);
    });
  }

  /** The answer to a chat message: "/my-memory status", or what follows the last command that was registered. */
  async say(text: string, context: ChatContext = {}): Promise<string> {
    const [, name, rest = ""] = /^\/(\S+)\s*([\s\S]*)$/.exec(text) ?? [];
    const command = name === undefined ? this.commands.at(-1) : this.commands.find((known) => known.name === name);
    if (command === undefined) {
      throw new Error(`No command in chats for "${text}".`);
    }
    const args = name === undefined ? text : rest;
    return (await command.handler({ isAuthorizedSender: true, ...context, args })).text;
  }

  /**
   * The first match in what the plugin writes to a chat by itself, "Logged in to …": now, or when that has happened.
   */
  received(pattern: RegExp): Promise<string> {
    return this.#chat.shown(pattern);
  }

  /** Starts the services, as the gateway does. */
  async start(): Promise<void> {
    for (const service of this.services) {
      await service.start(this.#serviceContext());
    }
  }

  /** Stops them, and deletes the temporary folder. */
  async close(): Promise<void> {
    for (const service of this.services) {
      await service.stop?.(this.#serviceContext());
    }
    if (this.#temporary !== undefined) {
      rmSync(this.#temporary, { recursive: true, force: true });
    }
  }

  #serviceContext(): object {
    return { config: this.api.config, stateDir: this.stateDir, logger: this.api.logger };
  }

  #program(parent?: Command): PluginCommand {
    const host = this;
    const known: Record<string, (...args: never[]) => unknown> = {
      command(text: string) {
        const [word = "", ...args] = text.split(" ");
        const name = parent === undefined ? text : `${parent.name} ${text}`;
        const command: Command = { name, path: [...(parent?.path ?? []), word], args, options: [] };
        host.#commands.push(command);
        return host.#program(command);
      },
      option: (flags: string) => void parent?.options.push(flags),
      argument: (text: string) => void parent?.args.push(text),
      action: (run: CommandAction) => void (parent && host.actions.set(parent.name, async (...args) => run(...args))),
    };
    // The other methods of commander's commands change nothing here.
    const command: PluginCommand = new Proxy({} as PluginCommand, {
      get:
        (_target, name) =>
        (...args: never[]) =>
          known[String(name)]?.(...args) ?? command,
    });
    return command;
  }
}

/** A command of the plugin, as it was described to commander. */
interface Command {
  name: string;
  path: string[];
  args: string[];
  options: string[];
}

/** The arguments of an action, as commander gives them: an argument each, then the options. */
function argumentsOf({ name, args, options }: Command, words: string[]): unknown[] {
  const flags: Record<string, unknown> = {};
  const rest: string[] = [];
  const left = [...words];
  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    if (!word.startsWith("-")) {
      rest.push(word);
      continue;
    }
    const [flag = "", value] = word.split(/=(.*)/s);
    const option = options.find((option) => option.split(/[ ,]+/).includes(flag));
    if (option === undefined) {
      throw new Error(`"${name}" has no option ${flag}.`);
    }
    const long = /--(?:no-)?([\w-]+)/.exec(option)?.[1] ?? flag.replace(/^-+/, "");
    const member = long.replace(/-(\w)/g, (_dash, letter: string) => letter.toUpperCase());
    flags[member] = /[<[]/.test(option) ? (value ?? left.shift()) : !flag.startsWith("--no-");
  }
  const given = args.map((arg, at) => (arg.includes("...") ? rest.slice(at) : rest[at]));
  return [...given, flags];
}

/**
 * A host for tests.
 *
 * @example
 * ```ts
 * import { fakeHost } from "clawdbot-plugin-auth/testing";
 *
 * const host = fakeHost();
 * host.register({ id: "my-memory", register: (api) => api.registerTool({ name: "echo", execute: async () => "hello" }) });
 * console.log(await host.execute("echo"));
 * await host.close();
 * ```
 */
export function fakeHost(options?: FakeHostOptions): FakeHost {
  return new FakeHost(options);
}
