/** A host, as a plugin sees it: the `api` object, which keeps what is registered. */
import type { GatewayMethod, PluginApi, PluginCommand, PluginService, ToolContext } from "../../plugin/index.ts";

export interface FakeHostOptions {
  id?: string;
  name?: string;
  config?: unknown;
  pluginConfig?: Record<string, unknown>;
  /** Where the host keeps its state. Without it, `api.runtime` throws, as in openclaw's `cli-metadata` mode. */
  stateDir?: string;
}

type Action = (flags: Record<string, unknown>) => Promise<void>;

export class FakeHost {
  readonly api: PluginApi;
  readonly methods = new Map<string, GatewayMethod>();
  readonly services: PluginService[] = [];
  /** Actions by their command line: "my-memory login". */
  readonly actions = new Map<string, Action>();
  readonly log: string[] = [];
  /** How often the plugin asked for `api.runtime`. */
  runtimeReads = 0;

  constructor({ id = "my-memory", name = "My Memory", config, pluginConfig, stateDir }: FakeHostOptions = {}) {
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
        return { state: { resolveStateDir: () => stateDir } };
      },
      logger: { info: (text) => void this.log.push(text), warn: (text) => void this.log.push(`warning: ${text}`) },
      registerTool: () => {},
      registerCli: (registrar) => registrar({ program: this.#command("") }),
      registerGatewayMethod: (method, handler) => void this.methods.set(method, handler),
      registerService: (service) => void this.services.push(service),
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
