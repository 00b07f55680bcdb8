/** A host, as a plugin sees it: the `api` object, which keeps what is registered. */
import type {
  ChatCommand,
  ChatContext,
  GatewayMethod,
  HttpRoute,
  PluginApi,
  PluginCommand,
  PluginService,
  ToolContext,
} from "../../plugin/index.ts";

export interface FakeHostOptions {
  id?: string;
  name?: string;
  config?: unknown;
  pluginConfig?: Record<string, unknown>;
  /** Where the host keeps its state. Without it, `api.runtime` throws, as in openclaw's `cli-metadata` mode. */
  stateDir?: string;
  /** `api.runtime.channel`. */
  channel?: unknown;
}

type Action = (flags: Record<string, unknown>) => Promise<void>;

export class FakeHost {
  readonly api: PluginApi;
  readonly methods = new Map<string, GatewayMethod>();
  readonly services: PluginService[] = [];
  readonly routes: HttpRoute[] = [];
  readonly commands: ChatCommand[] = [];
  /** Actions by their command line: "my-memory login". */
  readonly actions = new Map<string, Action>();
  readonly log: string[] = [];
  /** How often the plugin asked for `api.runtime`. */
  runtimeReads = 0;

  constructor({ id = "my-memory", name = "My Memory", config, pluginConfig, stateDir, channel }: FakeHostOptions = {}) {
    const host = this;
    this.api = {
      id,
      name,
      config,
      pluginConfig,
      get runtime() {
        host.runtimeReads += 1;
        if (stateDir === undefined) {
          throw new Error("Plugin runtime is not available in cli-metadata mode");
        }
        return { state: { resolveStateDir: () => stateDir }, channel };
      },
      logger: { info: (text) => void this.log.push(text), warn: (text) => void this.log.push(`warning: ${text}`) },
      registerTool: () => {},
      registerCli: (registrar) => registrar({ program: this.#command("") }),
      registerGatewayMethod: (method, handler) => void this.methods.set(method, handler),
      registerService: (service) => void this.services.push(service),
      registerCommand: (command) => void this.commands.push(command),
      registerHttpRoute: (route) => void this.routes.push(route),
    };
  }

  /** Calls a gateway method; resolves to its payload, rejects with its error. */
  async call(method: string, params?: Record<string, unknown>): Promise<Record<string, unknown>> {
    const handler = this.methods.get(method);
    if (handler === undefined) {
      throw new Error(`No method ${method}`);
    }
    return new Promise((resolve, reject) => {
      handler({
        params,
        respond: (ok, payload, error) => (ok ? resolve(payload as Record<string, unknown>) : reject(error)),
      }).catch(reject);
    });
  }

  /** What is answered to a chat message, by the command that was registered last. */
  async say(args: string, context: ChatContext): Promise<string> {
    const command = this.commands.at(-1);
    if (command === undefined) {
      throw new Error("No command in chats");
    }
    return (await command.handler({ isAuthorizedSender: true, ...context, args })).text;
  }

  #command(path: string): PluginCommand {
    const command: PluginCommand = {
      command: (name) => this.#command(path === "" ? name : `${path} ${name}`),
      description: () => command,
      option: () => command,
      action: (run) => {
        this.actions.set(path, async (flags) => run(flags));
        return command;
      },
    };
    return command;
  }
}

export type { ToolContext };
