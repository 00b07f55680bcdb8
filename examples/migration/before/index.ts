/** A plugin with a login that it does itself, as many have it: three files, and what they leave out. */
import { login, refresh, type Server } from "./device-flow.ts";
import { clear, load } from "./store.ts";

interface Api {
  pluginConfig?: Record<string, unknown> | undefined;
  registerTool(tool: object): void;
  // biome-ignore lint/suspicious/noExplicitAny: commander's program
  registerCli?: (registrar: (context: { program: any }) => void, options: object) => void;
  registerService?: (service: object) => void;
}

interface TeaConfig {
  authServer?: string;
  oauthClient?: string;
  apiUrl?: string;
}

let menu: string | undefined;

export default {
  id: "tea-shop",
  name: "Tea Shop",
  register(api: Api) {
    const config = (api.pluginConfig ?? {}) as TeaConfig;
    const { authServer = "https://auth.tea.example.com", apiUrl = "https://api.tea.example.com" } = config;
    const server: Server = { issuer: authServer, clientId: config.oauthClient ?? "tea-shop-plugin" };

    const isAuthenticated = () => load() !== undefined;

    async function request(path: string): Promise<Response> {
      let tokens = load();
      if (tokens === undefined) {
        throw new Error("Not logged in. Run: openclaw tea login");
      }
      if (tokens.expires_at * 1000 < Date.now() + 60_000) {
        tokens = await refresh(server, tokens);
      }
      const send = (token: string) =>
        fetch(`${apiUrl}${path}`, {
          headers: { authorization: `Bearer ${token}` },
          signal: AbortSignal.timeout(10_000),
        });
      const answer = await send(tokens.access_token);
      return answer.status === 401 ? send((await refresh(server, tokens)).access_token) : answer;
    }

    api.registerTool({
      name: "tea_menu",
      description: "What there is to drink.",
      parameters: { type: "object", properties: {} },
      async execute() {
        menu ??= await textOf(await request("/menu"));
        return { content: [{ type: "text", text: menu }] };
      },
    });

    api.registerCli?.(
      ({ program }) => {
        const tea = program.command("tea").description("Tea Shop");
        tea.command("login").action(() => login(server, console.log));
        tea.command("logout").action(() => {
          clear();
          menu = undefined;
        });
        tea.command("status").action(() => console.log(isAuthenticated() ? "logged in" : "not logged in"));
      },
      { commands: ["tea"] },
    );

    let timer: NodeJS.Timeout;
    api.registerService?.({
      id: "tea-refresh",
      start() {
        timer = setInterval(
          () => {
            const tokens = load();
            if (tokens !== undefined) {
              refresh(server, tokens).catch(console.error);
            }
          },
          45 * 60 * 1000,
        );
      },
      stop: () => clearInterval(timer),
    });
  },
};

async function textOf(answer: Response): Promise<string> {
  if (!answer.ok) throw new Error(`The tea shop answered ${answer.status}.`);
  return answer.text();
}
