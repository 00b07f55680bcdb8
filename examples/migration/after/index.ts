/** The same plugin, with its login by clawdbot-plugin-auth. docs/guide/migration.md describes the steps. */
import { type PluginApi, pluginAuth } from "clawdbot-plugin-auth/plugin";

interface TeaConfig {
  authServer?: string;
  oauthClient?: string;
  apiUrl?: string;
}

export default {
  id: "tea-shop",
  name: "Tea Shop",
  register(api: PluginApi) {
    const config = (api.pluginConfig ?? {}) as TeaConfig;
    const { authServer = "https://auth.tea.example.com", apiUrl = "https://api.tea.example.com" } = config;

    const auth = pluginAuth(api, {
      issuer: authServer,
      clientId: config.oauthClient ?? "tea-shop-plugin",
      scopes: ["menu", "offline_access"],
      command: "tea",
      adopt: "~/.openclaw/tea-shop/auth.json",
    });

    let menu: string | undefined;
    auth.onChange(() => {
      menu = undefined;
    });

    api.registerTool({
      name: "tea_menu",
      description: "What there is to drink.",
      parameters: { type: "object", properties: {} },
      async execute() {
        await auth.getValidAccessToken();
        menu ??= await textOf(await auth.fetch(`${apiUrl}/menu`, { signal: AbortSignal.timeout(10_000) }));
        return { content: [{ type: "text", text: menu }] };
      },
    });
  },
};

async function textOf(answer: Response): Promise<string> {
  if (!answer.ok) throw new Error(`The tea shop answered ${answer.status}.`);
  return answer.text();
}
