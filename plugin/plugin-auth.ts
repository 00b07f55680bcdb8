/** Everything a plugin needs for a login of its own, from one call in `register(api)`. */
import { type AuthConfig, listProfiles, type OutsideToken, status } from "../index.js";
import { loadFrom } from "../lib/images.js";
import { type Account, account } from "./account.ts";
import { plainName } from "./accounts.ts";
import { AllowedSenders } from "./allowed-senders.ts";
import { Changes, type LoginChange } from "./changes.ts";
import { type ChatCommandContext, type ChatOptions, chatCommand } from "./chat-command.ts";
import { addCommands } from "./commands.ts";
import { type ChatContext, conversation } from "./conversation.ts";
import { gatewayMethods } from "./gateway-methods.ts";
import {
  allowCommand,
  defaultAgent,
  gatewayPort,
  inTerminal,
  loginCommand,
  type PluginApi,
  type PluginCommand,
  type ToolContext,
} from "./host.ts";
import { invalidConfig } from "./invalid-config.ts";
import { keepFresh } from "./keep-fresh.ts";
import { loginRoutes, pageOf } from "./login-page.ts";
import { type LoginTool, type LoginToolOptions, loginTool } from "./login-tool.ts";
import { type Messages, wording } from "./messages.ts";
import { checkOptions } from "./option-types.ts";
import { Origins } from "./origins.ts";

/**
 * Where to authenticate, as the package's `AuthConfig` says, and how the plugin is called. `issuer`, `clientId` and
 * `clientSecret` of the user's `plugins.entries.<id>.config` go before those that are given here.
 */
export interface PluginAuthOptions extends Omit<AuthConfig, "pluginId" | "profile" | "token"> {
  /** @default api.id */
  pluginId?: string | undefined;
  /** The plugin, as its users call it. @default api.name */
  title?: string | undefined;
  /**
   * The command that `login`, `logout`, `status` and `accounts` belong to; false registers none. Gateway methods are
   * called after it as well. @default api.id
   */
  command?: string | false | undefined;
  /**
   * The command that messages name for a login, where it is your own: "{host} memory auth login" (`{host}` is the
   * program of the host), with `--account` added for an account; or a function that returns the whole text.
   * @default the `login` of `command`, or of the command given to `addCommands`
   */
  loginCommand?: string | ((account: string | undefined) => string) | undefined;
  /** The sentences that tools, commands and chats show, as texts or by a function. @default those of the kit */
  messages?: Messages | undefined;
  /**
   * As in `AuthConfig`; `config` names a member of the user's `plugins.entries.<id>.config` that holds the token,
   * after `env`.
   */
  token?: (OutsideToken & { config?: string | undefined }) | undefined;
  /** The account, or how a tool's context decides on it. @default by `order`, else the stored order, else "default" */
  profile?: string | ((context: ToolContext) => string | undefined) | undefined;
  /**
   * Every agent of the host has a login of its own, named by its id; or a function that decides that from the user's
   * `plugins.entries.<id>.config`, at each call. @default false
   */
  perAgent?: boolean | ((pluginConfig: Record<string, unknown>) => boolean) | undefined;
  /** Renew tokens ahead of need in the gateway, and warn when a login is needed. @default true */
  keepFresh?: boolean | undefined;
  /**
   * `/<command> login | logout | status | accounts` in private chats, answered without a model. @default false
   */
  chat?: boolean | ChatOptions | undefined;
  /**
   * The gateway serves the end of a login through the browser, and a page that shows the code, on its own port: at
   * `redirectUri`, or on this machine at `http://127.0.0.1:<port>/plugins/<id>/callback`. Behind a proxy give
   * `redirectUri` with the address that the server knows. @default false
   */
  callbackRoute?: boolean | undefined;
  /**
   * Where `fetch` takes the token; `*.example.com` for subdomains. @default those of `resource`, else the first
   * request's
   */
  origins?: string[] | undefined;
  /** Whether an answer other than a 401 rejects the token. It may read the answer, a copy; an error means no. */
  isRejected?: ((answer: Response) => boolean | Promise<boolean>) | undefined;
}

/** The login of a plugin. Its own methods are those of the account that is meant when none is named. */
export interface PluginAuth extends Account {
  /** The config for the package's own functions: for the given account, else the one in use. */
  config(account?: string): AuthConfig;
  /** The account of a tool's context, `api.registerTool((context) => …)`, or the one of this name. */
  account(context: ToolContext | string): Account;
  /**
   * Calls the listener when somebody logs in or out, when tokens are renewed, and when a login is needed: for changes
   * in this process at once, for those of other processes at the next call or within two seconds. So data fetched for
   * one person is not shown to another. The returned function ends it. The same events go to the channel
   * `clawdbot-plugin-auth:login` of `node:diagnostics_channel`.
   */
  onChange(listener: (change: LoginChange) => void): () => void;
  /** Adds the subcommands to a command of your own; with `command: false`. */
  addCommands(parent: PluginCommand): void;
  /**
   * A tool by which the model begins a login, for `api.registerTool(auth.loginTool(), { name: "my_memory_login" })`;
   * the manifest's `contracts.tools` has to name it. It refuses where the host does not say that the owner asks in a
   * private chat.
   */
  loginTool(options?: LoginToolOptions): LoginTool;
}

/** The part of the host that `pluginAuth` itself needs. */
export type RegisteringApi = Omit<PluginApi, "registerTool">;

interface HostRuntime {
  config?: { current?: () => unknown };
  state?: { resolveStateDir?: () => string };
  channel?: { routing?: { resolveAgentRoute?: (of: object) => { agentId?: string } | undefined } };
}

/**
 * Registers the commands, gateway methods and the service of a login, and answers with the login itself. Does nothing
 * but register: no file is read and no thread started until a token is asked for.
 */
export function pluginAuth(api: RegisteringApi, options: PluginAuthOptions): PluginAuth {
  if (typeof api?.id !== "string" || api.id === "") {
    throw invalidConfig("pluginAuth takes the `api` that the host gives to `register(api)`; what it got has no `id`.");
  }
  if (typeof options !== "object" || options === null) {
    throw invalidConfig(
      'pluginAuth takes options as its second argument, such as { issuer: "https://auth.example.com" }.',
    );
  }
  checkOptions(options);
  const { pluginId = api.id, title = api.name ?? api.id, command = api.id, profile, perAgent, ...rest } = options;
  if (typeof title !== "string" || title.trim() === "") {
    throw invalidConfig("pluginAuth: `title` must be the name of the plugin, as its users call it.");
  }
  const {
    keepFresh: isKeptFresh = true,
    origins: named,
    isRejected,
    chat = false,
    callbackRoute = false,
    loginCommand: ownCommand,
    messages,
    token,
    ...auth
  } = rest;
  const say = wording(messages, title);
  const origins = new Origins(named, auth.resource, auth.allowHttp, auth.otherResources);
  loadFrom(api.rootDir);
  if (perAgent && profile !== undefined) {
    throw invalidConfig("pluginAuth takes either profile or perAgent: an agent's id is the name of its account.");
  }

  const pluginConfig = currentPluginConfig(api);
  const isPerAgent = () => (typeof perAgent === "function" ? perAgent(pluginConfig()) : perAgent) === true;
  /** Nothing: the order decides, or it is "default". */
  const profileOf = (context: ToolContext): string | undefined => {
    if (isPerAgent()) {
      return context.agentId || defaultAgent(currentConfig(api) ?? api.config);
    }
    return (typeof profile === "function" ? profile(context) : profile) || undefined;
  };
  const defaultProfile = () => profileOf({});

  const configs = new Map<string | undefined, AuthConfig>();
  let configured: Record<string, unknown> | undefined;
  const config = (name: string | undefined): AuthConfig => {
    const user = pluginConfig();
    if (user !== configured) {
      configs.clear();
      configured = user;
    }
    const known = configs.get(name);
    if (known !== undefined) {
      return known;
    }
    const stateDir = auth.stateDir ?? stateDirOf(api);
    const made = {
      ...auth,
      ...userConfig(user),
      pluginId,
      ...(name !== undefined && accountIn(auth, pluginId, name)),
      clientName: auth.clientName ?? title,
      ...(stateDir !== undefined && { stateDir }),
      // An earlier login and a token from outside are those of one account.
      ...(name === defaultProfile() ? outsideToken(token, user) : { adopt: undefined }),
    } as AuthConfig;
    configs.set(name, made);
    return made;
  };

  /** Where the subcommands are. */
  let commandPath = command === false ? undefined : command;
  const methodsId = command === false ? api.id : command;
  const login = (name: string | undefined) =>
    loginCommand({
      command: commandPath,
      id: methodsId,
      account: name === defaultProfile() ? undefined : name,
      own: ownCommand,
    });
  const nameOf = (name: string | undefined) => plainName(name ?? auth.order?.[0] ?? "default", pluginId);
  const chatOptions: ChatOptions | undefined = chat === true ? {} : chat || undefined;
  const chatName = `/${(chatOptions?.name ?? (command || api.id)).toLowerCase()}`;
  /** Where a person logs in who is in a chat, or who knows where. */
  const loginAdvice = (name: string | undefined, place: "chat" | "unknown") => {
    const terminal = inTerminal(login(name));
    const account = name === undefined || name === defaultProfile() ? "" : ` ${name}`;
    const inChat = `send \`${chatName} login${account}\``;
    return chatOptions === undefined
      ? terminal
      : place === "chat"
        ? inChat
        : `${inChat} in a private chat, or ${terminal}`;
  };
  const changes = new Changes({
    pluginId,
    async statuses() {
      const meant = config(defaultProfile());
      const [all, one] = await Promise.all([listProfiles(meant), status(meant)]);
      return [...all.filter(({ profile }) => profile !== one.profile), one];
    },
  });
  const accounts = { chat: new Map<string | undefined, Account>(), unknown: new Map<string | undefined, Account>() };
  const accountOf = (name: string | undefined, place: keyof typeof accounts = "unknown"): Account => {
    const known = accounts[place].get(name);
    if (known !== undefined) {
      return known;
    }
    const calls = { config: () => config(name), loginAdvice: () => loginAdvice(name, place), say, changes };
    const made = account({ profile: nameOf(name), title, origins, isRejected, ...calls });
    accounts[place].set(name, made);
    return made;
  };

  const senders = new AllowedSenders(() => ({ pluginId, stateDir: auth.stateDir ?? stateDirOf(api) }));
  const inviteCommand = allowCommand({ command: command === false ? undefined : command, id: methodsId });
  const invite = async () => {
    const word = await senders.invite();
    const message = `Send this to the bot in a private chat within ten minutes:\n\n  ${chatName} allow ${word}\n\nWhoever sends it first may log in to ${title} from there.`;
    return { word, message };
  };
  const { port, hosts } = gatewayPort(api.config);
  const pages = callbackRoute
    ? {
        pluginId,
        title,
        redirectUri: auth.redirectUri ?? `http://127.0.0.1:${port}/plugins/${encodeURIComponent(api.id)}/callback`,
        localHosts: hosts,
      }
    : undefined;
  const redirectUri = auth.flow === "authorization_code" ? pages?.redirectUri : undefined;

  const commands = { title, defaultProfile, config, loginCommand: login, origins, say };
  const chatContext: ChatCommandContext = {
    ...commands,
    pluginId,
    logger: api.logger,
    chatCommand: chatName,
    allowCommand: inviteCommand,
    who: chatOptions?.who ?? "listed",
    senders,
    redirectUri,
    runtime: () => runtimeOf(api),
    profileOf: (context) => profileOf({ ...context, agentId: agentOf(context, api) }),
  };
  const commandLine = { ...commands, ...(chatOptions !== undefined && { chat: { senders, invite } }) };
  if (command !== false) {
    api.registerCli?.(
      ({ program }: { program: PluginCommand }) => {
        addCommands(program.command(command).description(`Log in to ${title}`), commandLine);
      },
      cliOptions(command, title),
    );
  }
  const methods = gatewayMethods({
    ...commands,
    id: methodsId,
    logger: api.logger,
    redirectUri,
    pageOf: pages && ((pending) => pageOf(pages, pending)),
    invite,
  });
  api.registerGatewayMethod?.(`${methodsId}.login`, methods.login, { scope: "operator.admin" });
  if (auth.flow !== "device_code") {
    api.registerGatewayMethod?.(`${methodsId}.login.paste`, methods.paste, { scope: "operator.admin" });
  }
  api.registerGatewayMethod?.(`${methodsId}.logout`, methods.logout, { scope: "operator.admin" });
  api.registerGatewayMethod?.(`${methodsId}.doctor`, methods.doctor, { scope: "operator.admin" });
  api.registerGatewayMethod?.(`${methodsId}.status`, methods.status, { scope: "operator.read" });
  if (chatOptions !== undefined) {
    api.registerGatewayMethod?.(`${methodsId}.chat.allow`, methods.chatAllow, { scope: "operator.admin" });
    api.registerCommand?.(chatCommand(chatContext));
  }
  for (const route of pages === undefined ? [] : loginRoutes(pages)) {
    api.registerHttpRoute?.(route);
  }
  const stopped = () => changes.stop();
  const service = {
    ...commands,
    id: `${api.id}-login`,
    pluginId,
    logger: api.logger,
    get isExpected() {
      return typeof profile !== "function" && !isPerAgent();
    },
    isKeptFresh,
    stopped,
  };
  api.registerService?.(keepFresh(service));

  return {
    get profile() {
      return nameOf(defaultProfile());
    },
    getValidAccessToken: (tokenOptions) => accountOf(defaultProfile()).getValidAccessToken(tokenOptions),
    getToken: (tokenOptions) => accountOf(defaultProfile()).getToken(tokenOptions),
    reject: (token) => accountOf(defaultProfile()).reject(token),
    authorizationHeaders: (request, tokenOptions) =>
      accountOf(defaultProfile()).authorizationHeaders(request, tokenOptions),
    fetch: (input, init, target) => accountOf(defaultProfile()).fetch(input, init, target),
    status: () => accountOf(defaultProfile()).status(),
    config: (name) => config(name ?? defaultProfile()),
    login: (loginOptions) => accountOf(defaultProfile()).login(loginOptions),
    logout: (logoutOptions) => accountOf(defaultProfile()).logout(logoutOptions),
    onChange: (listener) => changes.on(listener),
    account: (context) =>
      typeof context === "string"
        ? accountOf(context)
        : // In JavaScript a host of old may give no context.
          accountOf(profileOf(context ?? {}), context?.messageChannel ? "chat" : "unknown"),
    addCommands: (parent) => {
      commandPath = pathOf(parent) ?? commandPath;
      addCommands(parent, commandLine);
    },
    loginTool: (toolOptions) => loginTool({ ...chatContext, id: api.id }, toolOptions),
  };
}

/** Deeper than any command tree. */
const deepest = 8;

/** The words behind the host's name that call a command; nothing where it does not know them. */
function pathOf(command: PluginCommand): string | undefined {
  const words: string[] = [];
  // The one above all others is the host.
  for (let at: PluginCommand | null | undefined = command; at?.parent; at = at.parent) {
    const word = at.name?.();
    // A stand-in for a command need not know its words.
    if (typeof word !== "string" || words.length === deepest) {
      return undefined;
    }
    words.unshift(word);
  }
  return words.length === 0 ? undefined : words.join(" ");
}

/** In the form that the package takes. */
function outsideToken(token: PluginAuthOptions["token"], userConfig: Record<string, unknown> = {}) {
  if (typeof token !== "object" || token === null) {
    return token === undefined ? undefined : { token };
  }
  const { config: member, ...given } = token;
  const configured = member === undefined ? undefined : userConfig[member];
  return { token: configured === undefined || configured === "" ? given : { ...given, value: configured } };
}

/** The options that name an account: in the host's file by the host's id, whichever provider it is of. */
function accountIn({ credentialsFormat, profileId }: Partial<AuthConfig>, pluginId: string, name: string) {
  if (credentialsFormat !== "auth-profiles") {
    return { profile: name };
  }
  const [provider] = (profileId ?? pluginId).split(":");
  return { profileId: name.includes(":") ? name : `${provider}:${name}` };
}

function cliOptions(command: string, title: string) {
  // openclaw lists the command from the descriptor, without loading the plugin; clawdbot reads the name only.
  return {
    commands: [command],
    descriptors: [{ name: command, description: `Log in to ${title}`, hasSubcommands: true }],
  };
}

/** Where the host keeps its state; nothing where it does not say, so that the package's own rule applies. */
function stateDirOf(api: RegisteringApi): string | undefined {
  return unlessItFails(() => runtimeOf(api)?.state?.resolveStateDir?.());
}

function runtimeOf(api: RegisteringApi): HostRuntime | undefined {
  return unlessItFails(() => api.runtime as HostRuntime | undefined);
}

/** The host's whole configuration as it is now, where the host keeps that in memory; older hosts start again after a change. */
function currentConfig(api: RegisteringApi): unknown {
  return unlessItFails(() => runtimeOf(api)?.config?.current?.());
}

/** What the host says, or nothing. */
function unlessItFails<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}

/**
 * `plugins.entries.<id>.config` as it is now, in the same object while it is the same. openclaw 2026.6.11 registers a
 * plugin again with that of before a reload: docs/hosts.md 10.
 */
function currentPluginConfig(api: RegisteringApi): () => Record<string, unknown> {
  const given = api.pluginConfig ?? {};
  const before = configOf(api.config, api.id);
  let last = before;
  let merged = given;
  return () => {
    const now = unlessItFails(() => configOf(currentConfig(api), api.id));
    if (now !== undefined && now !== last) {
      // What the user did not write are defaults of the plugin's schema.
      const defaults = Object.entries(given).filter(([name]) => before?.[name] === undefined);
      merged = { ...Object.fromEntries(defaults), ...now };
      last = now;
    }
    return merged;
  };
}

const nothingSet: Record<string, unknown> = Object.freeze({});

/** Nothing where the host does not say; an empty one where the user has taken everything out of it. */
function configOf(config: unknown, id: string): Record<string, unknown> | undefined {
  const { plugins } = (config ?? {}) as {
    plugins?: { entries?: Record<string, { config?: Record<string, unknown> } | null> };
  };
  const entry = plugins?.entries?.[id];
  return entry ? (entry.config ?? nothingSet) : undefined;
}

/** The agent that a message is for; older hosts do not say, but know. */
function agentOf(context: ChatContext, api: RegisteringApi): string | undefined {
  const { agentId, channel, accountId, senderId: id } = conversation(context);
  if (agentId !== undefined) {
    return agentId;
  }
  try {
    const route = { cfg: context.config, channel, accountId, peer: { kind: "dm", id } };
    return runtimeOf(api)?.channel?.routing?.resolveAgentRoute?.(route)?.agentId;
  } catch {
    return undefined;
  }
}

/** The options that the plugin's user has configured. A wrong type is passed on: the error names the option. */
function userConfig(config: Record<string, unknown> = {}): Partial<AuthConfig> {
  const members = ["issuer", "clientId", "clientSecret"] as const;
  return Object.fromEntries(
    members.flatMap((name) => (config[name] === undefined || config[name] === "" ? [] : [[name, config[name]]])),
  );
}
