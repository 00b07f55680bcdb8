// The recipes of docs/guide/sdks.md, each as code that can be run: `connect` answers with one call of the SDK.

import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { CodeCatalystClient, ListSpacesCommand } from "@aws-sdk/client-codecatalyst";
import { createDefaultHttpClient, createEmptyPipeline, createPipelineRequest } from "@azure/core-rest-pipeline";
import { drive, auth as google } from "@googleapis/drive";
import { createClient, createConfig } from "@hey-api/client-fetch";
import { LinearSdk } from "@linear/sdk";
import { Client as GraphClient } from "@microsoft/microsoft-graph-client";
import { Client as McpClient, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as McpClient1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as McpTransport1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Client as Notion } from "@notionhq/client";
import { Octokit } from "@octokit/core";
import { WebClient } from "@slack/web-api";
import { SpotifyApi } from "@spotify/web-api-ts-sdk";
import { createClient as createSupabase } from "@supabase/supabase-js";
import { generateText } from "ai";
import axios from "axios";
import { EventSource } from "eventsource";
import { Gaxios } from "gaxios";
import got from "got";
import { GraphQLClient } from "graphql-request";
import ky from "ky";
import nodeFetch from "node-fetch";
import { Octokit as OctokitWithPlugins } from "octokit";
import { createFetch } from "ofetch";
import OpenAI from "openai";
import createOpenApi from "openapi-fetch";
import Stripe from "stripe";
import { Agent, request as undiciRequest } from "undici";

const messages = [{ role: "user", content: "who?" }];

export const recipes = [
  {
    name: "@modelcontextprotocol/sdk 1.x",
    async connect(auth, origin) {
      return async () => {
        const client = new McpClient1({ name: "lab", version: "1" });
        await client.connect(new McpTransport1(new URL(`${origin}/mcp`), { fetch: auth.fetch }));
        const { content } = await client.callTool({ name: "who", arguments: {} });
        await client.close();
        return content;
      };
    },
  },
  {
    name: "@modelcontextprotocol/client 2.x",
    async connect(auth, origin) {
      return async () => {
        const client = new McpClient({ name: "lab", version: "1" });
        await client.connect(new StreamableHTTPClientTransport(new URL(`${origin}/mcp`), { fetch: auth.fetch }));
        const { content } = await client.callTool({ name: "who", arguments: {} });
        await client.close();
        return content;
      };
    },
  },
  {
    name: "openai",
    async connect(auth, origin) {
      const client = new OpenAI({ apiKey: "unused", baseURL: `${origin}/v1`, fetch: auth.fetch });
      return () => client.chat.completions.create({ model: "m", messages });
    },
  },
  {
    name: "@anthropic-ai/sdk",
    async connect(auth, origin) {
      const client = new Anthropic({ authToken: "unused", apiKey: null, baseURL: origin, fetch: auth.fetch });
      return () => client.messages.create({ model: "m", max_tokens: 9, messages });
    },
  },
  {
    name: "stripe",
    async connect(auth, origin) {
      const { hostname, port } = new URL(origin);
      const httpClient = Stripe.createFetchHttpClient(auth.fetch);
      const stripe = new Stripe("unused", { httpClient, host: hostname, port, protocol: "http" });
      return () => stripe.customers.create({ name: "ada" });
    },
  },
  {
    name: "@slack/web-api",
    async connect(auth, origin) {
      const retryConfig = { retries: 2 };
      const slack = new WebClient(undefined, { fetch: auth.fetch, retryConfig, slackApiUrl: `${origin}/api/` });
      return async () => {
        await auth.getValidAccessToken();
        return slack.chat.postMessage({ channel: "c", text: "ada" });
      };
    },
  },
  {
    name: "@octokit/core",
    async connect(auth, baseUrl) {
      const octokit = new Octokit({ baseUrl, request: { fetch: auth.fetch } });
      return () => octokit.request("GET /user");
    },
  },
  {
    name: "octokit",
    async connect(auth, baseUrl) {
      const octokit = new OctokitWithPlugins({ baseUrl, request: { fetch: auth.fetch } });
      return async () => {
        await auth.getValidAccessToken();
        return octokit.rest.users.getAuthenticated();
      };
    },
  },
  {
    name: "@notionhq/client",
    async connect(auth, baseUrl) {
      const notion = new Notion({ baseUrl, fetch: auth.fetch });
      return () => notion.users.me({});
    },
  },
  {
    name: "graphql-request",
    async connect(auth, origin) {
      const client = new GraphQLClient(`${origin}/graphql`, { fetch: auth.fetch });
      return () => client.request("{ me }");
    },
  },
  {
    name: "@linear/sdk",
    async connect(auth, origin) {
      const graphql = new GraphQLClient(`${origin}/graphql`, { fetch: auth.fetch });
      const linear = new LinearSdk((document, variables) => graphql.request(document, variables));
      return () => linear.viewer;
    },
  },
  {
    name: "gaxios",
    async connect(auth, origin) {
      const gaxios = new Gaxios({ fetchImplementation: auth.fetch });
      return () => gaxios.request({ url: `${origin}/me`, method: "POST", data: { name: "ada" } });
    },
  },
  {
    name: "@googleapis/drive",
    async connect(auth, origin) {
      const files = drive({ version: "v3", fetchImplementation: auth.fetch, rootUrl: `${origin}/` });
      return () => files.files.list();
    },
  },
  {
    name: "axios with the fetch adapter",
    async connect(auth, baseURL) {
      const client = axios.create({ baseURL, adapter: "fetch", env: { fetch: auth.fetch } });
      return () => client.post("/me", { name: "ada" });
    },
  },
  {
    name: "axios with interceptors",
    async connect(auth, baseURL) {
      const client = axios.create({ baseURL });
      client.interceptors.request.use(async (config) => {
        config.headers.set("authorization", `Bearer ${await auth.getValidAccessToken()}`);
        return config;
      });
      client.interceptors.response.use(undefined, async (error) => {
        const { config, response } = error;
        if (response?.status !== 401 || config.isSecond) throw error;
        await auth.reject(config.headers.get("authorization").slice("Bearer ".length));
        return client.request({ ...config, isSecond: true });
      });
      return () => client.post("/me", { name: "ada" });
    },
  },
  {
    name: "got",
    async connect(auth, prefixUrl) {
      const authorize = async (options) => {
        options.headers.authorization = `Bearer ${await auth.getValidAccessToken()}`;
      };
      const client = got.extend({
        prefixUrl,
        hooks: {
          beforeRequest: [authorize],
          afterResponse: [
            async (response, again) => {
              if (response.statusCode !== 401) return response;
              await auth.reject(response.request.options.headers.authorization.slice("Bearer ".length));
              return again({});
            },
          ],
        },
      });
      return () => client.post("me", { json: { name: "ada" } }).json();
    },
  },
  {
    name: "ky",
    async connect(auth, origin) {
      const client = ky.create({ fetch: auth.fetch });
      return () => client.post(`${origin}/me`, { json: { name: "ada" } }).json();
    },
  },
  {
    name: "openapi-fetch",
    async connect(auth, baseUrl) {
      const client = createOpenApi({ baseUrl, fetch: auth.fetch });
      return async () => (await client.POST("/me", { body: { name: "ada" } })).data ?? assertData();
    },
  },
  {
    name: "@hey-api/client-fetch",
    async connect(auth, baseUrl) {
      const client = createClient(createConfig({ baseUrl, fetch: auth.fetch, throwOnError: true }));
      const headers = { "content-type": "application/json" };
      return () => client.post({ url: "/me", body: { name: "ada" }, headers });
    },
  },
  {
    name: "ai with @ai-sdk/openai",
    async connect(auth, origin) {
      const openai = createOpenAI({ apiKey: "unused", baseURL: `${origin}/v1`, fetch: auth.fetch });
      return () => generateText({ model: openai.chat("m"), prompt: "who?" });
    },
  },
  {
    name: "@supabase/supabase-js",
    async connect(auth, origin) {
      const supabase = createSupabase(origin, "unused", { global: { fetch: auth.fetch } });
      return async () => {
        await auth.getValidAccessToken();
        const { data, error } = await supabase.from("notes").select();
        if (error) throw error;
        return data;
      };
    },
  },
  {
    name: "ofetch",
    async connect(auth, baseURL) {
      const api = createFetch({ fetch: auth.fetch, Headers, AbortController }).create({ baseURL });
      return () => api("/me", { method: "POST", body: { name: "ada" } });
    },
  },
  {
    name: "eventsource",
    async connect(auth, origin) {
      return () =>
        new Promise((resolve, reject) => {
          let failure;
          const send = (url, init) =>
            auth.fetch(url, init).catch((error) => {
              failure = error;
              throw error;
            });
          const events = new EventSource(`${origin}/events`, { fetch: send });
          events.onmessage = ({ data }) => {
            events.close();
            resolve(data);
          };
          events.onerror = (event) => {
            events.close();
            reject(failure ?? new Error(event.message));
          };
        });
    },
  },
  {
    name: "@spotify/web-api-ts-sdk",
    async connect(auth, origin) {
      // Its server is fixed; here its requests go to the server of this test.
      const fetch = (url, init) => auth.fetch(String(url).replace("https://api.spotify.com", origin), init);
      const token = { access_token: "unused", token_type: "Bearer", expires_in: 3600, refresh_token: "" };
      const strategy = {
        setConfiguration() {},
        getOrCreateAccessToken: async () => token,
        getAccessToken: async () => token,
        removeAccessToken() {},
      };
      const spotify = new SpotifyApi(strategy, { fetch });
      return () => spotify.currentUser.profile();
    },
  },
  {
    name: "@microsoft/microsoft-graph-client",
    async connect(auth, origin) {
      const execute = async (context) => {
        context.response = await auth.fetch(context.request, context.options);
      };
      const graph = GraphClient.initWithMiddleware({ middleware: { execute }, baseUrl: `${origin}/` });
      return () => graph.api("/me").post({ name: "ada" });
    },
  },
  {
    name: "@azure/core-rest-pipeline",
    async connect(auth, origin) {
      const policy = {
        name: "auth",
        async sendRequest(request, next) {
          const send = async () => {
            const { token } = await auth.getToken();
            request.headers.set("authorization", `Bearer ${token}`);
            return { token, response: await next(request) };
          };
          const first = await send();
          if (first.response.status !== 401) return first.response;
          await auth.reject(first.token);
          return (await send()).response;
        },
      };
      const pipeline = createEmptyPipeline();
      pipeline.addPolicy(policy);
      const client = createDefaultHttpClient();
      const url = `${origin}/me`;
      return async () => {
        const request = createPipelineRequest({ url, method: "POST", body: "ada", allowInsecureConnection: true });
        const { status } = await pipeline.sendRequest(client, request);
        if (status !== 200) throw new Error(String(status));
      };
    },
  },
  {
    name: "AWS (bearer)",
    async connect(auth, endpoint) {
      const client = new CodeCatalystClient({ endpoint, region: "r", token: async () => ({ token: "unused" }) });
      client.middlewareStack.add(
        (next) => async (args) => {
          const send = async () => {
            const { token } = await auth.getToken();
            args.request.headers.authorization = `Bearer ${token}`;
            return { token, answer: next(args) };
          };
          const { token, answer } = await send();
          return answer.catch(async (error) => {
            if (error.$metadata?.httpStatusCode !== 401) throw error;
            await auth.reject(token);
            return (await send()).answer;
          });
        },
        { step: "finalizeRequest", priority: "low", name: "auth" },
      );
      return () => client.send(new ListSpacesCommand({}));
    },
  },
  {
    name: "undici request",
    async connect(auth, origin) {
      const dispatcher = new Agent();
      return async () => {
        const send = async () => {
          const { token } = await auth.getToken();
          const headers = { authorization: `Bearer ${token}`, "content-type": "text/plain" };
          return {
            token,
            ...(await undiciRequest(`${origin}/me`, { method: "POST", body: "ada", headers, dispatcher })),
          };
        };
        let answer = await send();
        if (answer.statusCode === 401) {
          await answer.body.dump();
          await auth.reject(answer.token);
          answer = await send();
        }
        return answer.body.json();
      };
    },
  },
  {
    name: "node-fetch as the global fetch",
    isShown: false,
    async connect(auth, origin, t) {
      const { fetch } = globalThis;
      globalThis.fetch = nodeFetch;
      t.after(() => {
        globalThis.fetch = fetch;
      });
      return async () => (await auth.fetch(`${origin}/me`, { method: "POST", body: "ada" })).json();
    },
  },
];

function assertData() {
  throw new Error("no data");
}

/** Recipes with a token provider: the SDK asks for a token, and keeps it until it is refused. */
export const providers = [
  {
    name: "@googleapis/drive by a refresh handler",
    async connect(auth, origin) {
      const client = new google.OAuth2({ forceRefreshOnFailure: true });
      client.refreshHandler = async () => {
        const { access_token: refused } = client.credentials;
        if (refused) await auth.reject(refused);
        const { token, expiresAt } = await auth.getToken();
        return { access_token: token, expiry_date: expiresAt };
      };
      const files = drive({ version: "v3", auth: client, rootUrl: `${origin}/` });
      return () => files.files.list();
    },
  },
  {
    name: "@octokit/core by an authentication strategy",
    async connect(auth, baseUrl) {
      const authStrategy = () => ({
        async hook(request, options) {
          const send = async ({ token }) => {
            options.headers.authorization = `Bearer ${token}`;
            return request(options);
          };
          const given = await auth.getToken();
          return send(given).catch(async (error) => {
            if (error.status !== 401) throw error;
            await auth.reject(given.token);
            return send(await auth.getToken());
          });
        },
      });
      const octokit = new Octokit({ baseUrl, authStrategy });
      return () => octokit.request("GET /user");
    },
  },
  {
    name: "@modelcontextprotocol/client 2.x by a provider",
    async connect(auth, origin) {
      let given;
      const authProvider = {
        token: async () => {
          given = await auth.getValidAccessToken();
          return given;
        },
        onUnauthorized: () => auth.reject(given),
      };
      return async () => {
        const client = new McpClient({ name: "lab", version: "1" });
        await client.connect(new StreamableHTTPClientTransport(new URL(`${origin}/mcp`), { authProvider }));
        const { content } = await client.callTool({ name: "who", arguments: {} });
        await client.close();
        return content;
      };
    },
  },
];
