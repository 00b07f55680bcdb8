/** The host, as far as the kit touches it, and how a person calls it on the command line. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { basename } from "node:path";

/**
 * The `api` object of `register(api)`, as far as the kit uses it, and `registerTool`, which a plugin calls itself. All
 * of it exists on every host unless it is optional here. The hosts' own types fit as well.
 */
export interface PluginApi {
  id: string;
  name?: string;
  /** Where the plugin is installed. openclaw 2026.9 runs a copy of it. */
  rootDir?: string;
  /** The host's whole configuration. */
  config?: unknown;
  /** `plugins.entries.<id>.config`. */
  pluginConfig?: Record<string, unknown> | undefined;
  /**
   * Throws in openclaw's `cli-metadata` mode, so it is read inside of actions only. Of no type here: a plugin that
   * describes other members of it by hand would not compile.
   */
  readonly runtime?: unknown;
  logger: { info(message: string): void; warn(message: string): void };
  // biome-ignore lint/suspicious/noExplicitAny: the hosts' own types of tools differ
  registerTool(tool: any, options?: any): void;
  registerCli?: (
    // biome-ignore lint/suspicious/noExplicitAny: the hosts' types differ, and some are commander's
    registrar: (context: any) => void,
    // biome-ignore lint/suspicious/noExplicitAny: as above
    options?: any,
  ) => void;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  registerGatewayMethod?: (method: string, handler: (request: any) => any, options?: any) => void;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  registerService?: (service: any) => void;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  registerCommand?: (command: any) => void;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  registerHttpRoute?: (route: any) => void;
}

/** The context that a tool factory gets: `api.registerTool((context) => tool)`. */
export interface ToolContext {
  agentId?: string | undefined;
  sessionKey?: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: every host has more members, of its own
  [member: string]: any;
}

/** A command of commander, as far as it is used. */
export interface PluginCommand {
  /** The word of the command, and its parent command; these show how the kit was called. */
  name?(): string;
  readonly parent?: PluginCommand | null | undefined;
  command(name: string): PluginCommand;
  description(text: string): PluginCommand;
  option(flags: string, description: string): PluginCommand;
  // biome-ignore lint/suspicious/noExplicitAny: the arguments of an action depend on the command
  action(run: (...args: any[]) => void | Promise<void>): PluginCommand;
}

/** A request to a gateway method. */
export interface GatewayRequest {
  params?: Record<string, unknown> | undefined;
  respond(ok: boolean, payload?: unknown, error?: { code: string; message: string; retryable?: boolean }): void;
}

export type GatewayMethod = (request: GatewayRequest) => Promise<void>;

/** A page on the gateway's port, without the gateway's token. */
export interface HttpRoute {
  path: string;
  auth: "plugin";
  match: "exact";
  handler(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
}

/** A service of the gateway. */
export interface PluginService {
  id: string;
  start(context?: unknown): void | Promise<void>;
  stop?(context?: unknown): void | Promise<void>;
}

const names = ["clawdbot", "moltbot", "openclaw", "openclaw-cn"] as const;
export type HostName = (typeof names)[number];

/** The prefix of a host's environment variables. */
const prefixes = { clawdbot: "CLAWDBOT", moltbot: "MOLTBOT", openclaw: "OPENCLAW", "openclaw-cn": "OPENCLAW" } as const;

/** Hosts that answer "unknown command" to every command of a plugin: clawdbot 2026.1.24-3 and openclaw-cn 2026.1.31. */
const withoutPluginCommands: readonly HostName[] = ["clawdbot", "openclaw-cn"];

/** Hosts by the program that starts them. */
const programs: Record<string, HostName | undefined> = {
  ...Object.fromEntries(names.map((name) => [name, name])),
  "clawdbot-cn": "openclaw-cn",
};

/**
 * Finds out which host this process is, because `api` does not say. Every host names its process after itself, and
 * after the command as well ("clawdbot-gateway"); where an application embeds the host, the path of the script is what
 * remains. openclaw-cn alone names its process "clawdbot-gateway" too, so there the script decides.
 */
export function hostName(
  title: string = process.title,
  script: string = process.argv[1] ?? "",
  env: NodeJS.ProcessEnv = process.env,
): HostName {
  const started = names.find((name) => programs[basename(script).replace(/\.[cm]?js$/, "")] === name);
  // The innermost folder decides: a host may be installed inside of another's.
  const folders = script.split(/[\\/]/).reverse();
  const installed = folders.find((folder): folder is HostName => (names as readonly string[]).includes(folder));
  if ((started ?? installed) === "openclaw-cn") {
    return "openclaw-cn";
  }
  const titled = names.find((name) => title === name || title.startsWith(`${name}-`));
  const configured = (["openclaw", "moltbot", "clawdbot"] as const).find(
    (name) => env[`${name.toUpperCase()}_STATE_DIR`],
  );
  return titled ?? started ?? installed ?? configured ?? "openclaw";
}

/**
 * The start of a command line of this host, the host's own profile (`~/.openclaw-<profile>`) included. Started with
 * `--profile`, a host sets both variables. The variable of the profile alone moves no state folder, but `--profile`
 * does: then naming it would lead a person to another login.
 */
function program(host: HostName, env: NodeJS.ProcessEnv): string {
  const profile = env[`${prefixes[host]}_PROFILE`]?.trim() ?? "";
  const isNamed = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(profile) && profile.toLowerCase() !== "default";
  const isInUse = basename(env[`${prefixes[host]}_STATE_DIR`] ?? "").endsWith(`-${profile}`);
  return isNamed && isInUse ? `${host} --profile ${profile}` : host;
}

/** The plugin that owns the logins, and the names of its commands. */
export interface CommandLine {
  /** The plugin's command; none when it registers no commands of its own. */
  command: string | undefined;
  /** The prefix of the gateway methods. */
  id: string;
  /** The account, where it is not the one that is meant without being named. */
  account: string | undefined;
  /** The text that the plugin wants printed instead. */
  own?: string | ((account: string | undefined) => string) | undefined;
}

/** The exact command that logs in, on this host. */
export function loginCommand(
  { command, id, account, own }: CommandLine,
  host: HostName = hostName(),
  env: NodeJS.ProcessEnv = process.env,
): string {
  if (typeof own === "function") {
    return own(account);
  }
  const flag = account === undefined ? "" : ` --account ${quoted(account)}`;
  if (own !== undefined && !withoutPluginCommands.includes(host)) {
    return own.replaceAll("{host}", program(host, env)) + flag;
  }
  if (withoutPluginCommands.includes(host) || command === undefined) {
    const params = account === undefined ? "" : ` --params ${quoted(JSON.stringify({ account }))}`;
    return `${program(host, env)} gateway call ${quoted(`${id}.login`)}${params}`;
  }
  // Not --profile: from openclaw 2026.3.28 on the host takes that for its own, at any place in the line.
  return `${program(host, env)} ${command} login${flag}`;
}

/**
 * The instruction for a person in a terminal. docs/hosts.md 8: on openclaw 2026.5 and 2026.6 a command line whose
 * first call was one of the host's own may not call a plugin's method, and none of the host's commands allows it.
 */
export function inTerminal(command: string): string {
  const advice = /^openclaw (--profile \S+ )?gateway call /.test(command)
    ? " (if it answers `pairing required`: rename the folder `identity` in the host's state folder, and run it again)"
    : "";
  return `run \`${command}\` in a terminal${advice}`;
}

/** The exact command that prints the word with which a person may log in from a chat. */
export function allowCommand(
  { command, id }: Pick<CommandLine, "command" | "id">,
  host: HostName = hostName(),
  env: NodeJS.ProcessEnv = process.env,
): string {
  return withoutPluginCommands.includes(host) || command === undefined
    ? `${program(host, env)} gateway call ${quoted(`${id}.chat.allow`)}`
    : `${program(host, env)} ${command} chat allow`;
}

/** The value of a `--profile` behind a plugin's command, where it gets that far. From openclaw 2026.3.28 on the host
 * takes it out of the arguments and moves its state folder; openclaw 2026.2.26 and 2026.3.13 leave it there and
 * ignore it. */
export function strayProfile(argv: readonly string[] = process.argv): string | undefined {
  const words = argv.slice(2);
  const command = words.findIndex((word) => !word.startsWith("-"));
  const at = words.findIndex((word) => /^--profile(=|$)/.test(word));
  // Before the command it belongs to the host, which respects it there.
  return command === -1 || at < command ? undefined : (words[at]?.split(/=(.*)/s)[1] ?? words[at + 1] ?? "");
}

function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

/** The agent that is meant when nobody names one. */
export function defaultAgent(config: unknown): string {
  const agents = (config as { agents?: { list?: { id?: unknown; default?: unknown }[] } } | undefined)?.agents?.list;
  const list = Array.isArray(agents) ? agents : [];
  const id = (list.find((agent) => agent?.default === true) ?? list[0])?.id;
  return typeof id === "string" && id.trim() !== "" ? id.trim().toLowerCase() : "main";
}

/** Where the gateway listens, and under which names this machine reaches it. */
export function gatewayPort(config: unknown, env: NodeJS.ProcessEnv = process.env): { port: number; hosts: string[] } {
  const variables = [env.OPENCLAW_GATEWAY_PORT, env.CLAWDBOT_GATEWAY_PORT].map(Number);
  const configured = (config as { gateway?: { port?: unknown } } | undefined)?.gateway?.port;
  const port =
    [...variables, configured].find((port): port is number => Number.isInteger(port) && Number(port) > 0) ?? 18_789;
  return { port, hosts: ["127.0.0.1", "localhost", "[::1]"].map((host) => `${host}:${port}`) };
}
