/** Two tools that keep and find memories in the author's own service, for the person who is logged in there. */
import { type PluginApi, pluginAuth } from "clawdbot-plugin-auth/plugin";

export default {
  id: "team-memory",
  name: "Team Memory",
  description: "Memories that your team's own service keeps",

  register(api: PluginApi) {
    const { serviceUrl = "https://memory.example.com" } = (api.pluginConfig ?? {}) as { serviceUrl?: string };
    const auth = pluginAuth(api, {
      issuer: "https://auth.example.com",
      scopes: ["memory", "offline_access"],
      // Users may log in from a private chat, from a page of the gateway, and be led there by the model.
      chat: true,
      callbackRoute: true,
    });
    api.registerTool(auth.loginTool(), { name: "team_memory_login" });

    api.registerTool({
      name: "team_memory_store",
      label: "Store a memory",
      description: "Store a fact so that it can be found again later.",
      parameters: {
        type: "object",
        properties: { text: { type: "string", description: "The fact, in one sentence." } },
        required: ["text"],
      },
      async execute(_callId: string, { text }: { text: string }, signal?: AbortSignal) {
        const headers = { "content-type": "application/json" };
        const body = JSON.stringify({ text });
        return answer(
          await auth.fetch(new URL("/memories", serviceUrl), { method: "POST", headers, body, signal: signal ?? null }),
        );
      },
    });

    api.registerTool({
      name: "team_memory_search",
      label: "Search memories",
      description: "Find facts that were stored earlier.",
      parameters: {
        type: "object",
        properties: { query: { type: "string", description: "Words that the fact holds." } },
        required: ["query"],
      },
      async execute(_callId: string, { query }: { query: string }, signal?: AbortSignal) {
        const url = new URL("/memories", serviceUrl);
        url.searchParams.set("query", query);
        return answer(await auth.fetch(url, { signal: signal ?? null }));
      },
    });
  },
};

async function answer(response: Response) {
  if (!response.ok) throw new Error(`The memory service answered ${response.status}.`);
  return { content: [{ type: "text", text: await response.text() }], details: {} };
}
