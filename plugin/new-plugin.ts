/** The files of a new plugin that logs in: `npx clawdbot-plugin-auth init <id>`. */
import { configSchema, uiHints } from "./config-schema.ts";

/** A new plugin: its name, and where its users log in. */
export interface NewPlugin {
  /** Letters, digits and hyphens. */
  id: string;
  /** The service's name for its users: "My Memory". */
  name: string;
  issuer: string;
  /** The address of its service. */
  service: string;
  /** The version range of this package in its package.json. */
  dependency: string;
}

/** The files, by their names. */
export function newPlugin(plugin: NewPlugin): Record<string, string> {
  const { id, name, issuer } = plugin;
  const tool = `${id.replaceAll("-", "_")}_search`;
  const description = `Tools of ${name}, for people who are logged in there`;
  const manifest = { id, name, description, configSchema, uiHints };
  return {
    "package.json": json({
      name: id,
      version: "0.1.0",
      description,
      type: "module",
      main: "dist/index.js",
      files: ["dist", "!dist/*.test.*", "clawdbot.plugin.json", "openclaw.plugin.json"],
      scripts: { build: "tsc", test: "tsc && node --test dist/*.test.js", prepack: "tsc" },
      // One package for all hosts: clawdbot and openclaw-cn read the first, openclaw the second.
      clawdbot: { extensions: ["./dist/index.js"] },
      openclaw: { extensions: ["./dist/index.js"], compat: { pluginApi: ">=2026.1.29" } },
      dependencies: { "clawdbot-plugin-auth": plugin.dependency },
      devDependencies: { "@types/node": "^20.0.0", typescript: ">=5.6.0" },
    }),
    "clawdbot.plugin.json": json(manifest),
    "openclaw.plugin.json": json({
      ...manifest,
      activation: { onStartup: true },
      // openclaw registers no tool that is not named here, and shows no command.
      contracts: { tools: [tool] },
      cliCommands: [{ name: id, description: `Log in to ${name}`, hasSubcommands: true }],
    }),
    "tsconfig.json": json({
      compilerOptions: {
        target: "es2022",
        lib: ["es2023"],
        module: "nodenext",
        types: ["node"],
        rootDir: "src",
        outDir: "dist",
        strict: true,
        skipLibCheck: true,
      },
      include: ["src"],
    }),
    ".gitignore": "node_modules\ndist\n",
    "src/index.ts": source(plugin, tool),
    "src/index.test.ts": test(plugin, tool),
    "README.md": `# ${name}

| To | Run |
|---|---|
| install what it needs | \`npm install\` |
| test it | \`npm test\` |
| try it in a host | \`npm pack\`, then \`openclaw plugins install ./${id}-0.1.0.tgz\` |
| log in | \`openclaw ${id} login\` |

\`src/index.ts\` is the plugin. It logs in at ${issuer}: change that, and the address of the service, to your own.
A new tool is named in \`openclaw.plugin.json\` too, under \`contracts.tools\`.
`,
  };
}

const source = (
  { id, name, issuer, service }: NewPlugin,
  tool: string,
) => `import { type PluginApi, pluginAuth } from "clawdbot-plugin-auth/plugin";

const service = ${JSON.stringify(folder(service))};

export default {
  id: ${JSON.stringify(id)},
  name: ${JSON.stringify(name)},
  register(api: PluginApi) {
    const auth = pluginAuth(api, {
      issuer: ${JSON.stringify(issuer)},
      // Most servers give a login that lasts only with offline_access.
      scopes: ["offline_access"],
    });
    api.registerTool({
      name: ${JSON.stringify(tool)},
      label: ${JSON.stringify(`Search ${name}`)},
      description: ${JSON.stringify(`Find something in ${name}.`)},
      parameters: { type: "object", properties: { query: { type: "string" } }, required: ["query"] },
      async execute(_callId: string, { query }: { query: string }, signal?: AbortSignal) {
        const url = new URL("search", service);
        url.searchParams.set("query", query);
        const answer = await auth.fetch(url, { signal: signal ?? null });
        if (!answer.ok) throw new Error(\`The service answered \${answer.status}.\`);
        return { content: [{ type: "text", text: await answer.text() }], details: {} };
      },
    });
  },
};
`;

const test = ({ id, name, service }: NewPlugin, tool: string) => `import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeHost, startAuthorizationServer } from "clawdbot-plugin-auth/testing";
import plugin from "./index.js";

test("the tool asks for a login, and works after it", async (t) => {
  const server = await startAuthorizationServer();
  const host = fakeHost({ pluginConfig: { issuer: server.issuer } });
  t.after(() => Promise.all([host.close(), server.close()]));
  // The service, as the tool meets it. Logging in does not go through fetch.
  t.mock.method(globalThis, "fetch", async (request: Request | URL | string, init?: RequestInit) => {
    const { url, headers } = new Request(request, init);
    assert.equal(url, ${JSON.stringify(new URL("search?query=tea", folder(service)).href)});
    return new Response("Earl Grey", { status: server.accepts(headers.get("authorization")) ? 200 : 401 });
  });
  host.register(plugin);

  await assert.rejects(host.execute(${JSON.stringify(tool)}, { query: "tea" }), /${name.replace(/[/\\^$*+?.()|[\]{}]/g, "\\$&")} needs a login/);

  server.approve();
  const { exitCode, output } = await host.run("${id} login");
  assert.equal(exitCode, 0, output);

  const { content } = await host.execute(${JSON.stringify(tool)}, { query: "tea" });
  assert.equal(content[0].text, "Earl Grey");
});
`;

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** An address that others are below: a path ends with a slash. */
function folder(address: string): string {
  return new URL(address).pathname.endsWith("/") ? address : `${address}/`;
}
