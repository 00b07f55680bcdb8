/** A scripted model: an OpenAI-compatible server that calls one tool, and then repeats its result. */
import type { Lifetime } from "../../support/lifetime.ts";
import { type StubAnswer, StubServer } from "../../support/stub-server.ts";

interface Message {
  role: string;
  content?: unknown;
}

export class ModelServer {
  /** The results of tools, as far as the model has repeated them. */
  readonly toolResults: string[] = [];
  readonly url: string;
  #call: { name: string; arguments: string } | undefined;

  static async start(lifetime: Lifetime): Promise<ModelServer> {
    return new ModelServer(await StubServer.start(lifetime));
  }

  private constructor(server: StubServer) {
    this.url = `${server.origin}/v1`;
    server.route("/v1/chat/completions", ({ body }) => this.#answer(JSON.parse(body) as { messages: Message[] }));
  }

  /** `models.providers` and the rest of the host's configuration. */
  get configuration(): { models: object; agents: object; tools: object } {
    const model = { id: "obedient-1", name: "Obedient", reasoning: false, input: ["text"] };
    const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };
    const models = [{ ...model, cost, contextWindow: 128_000, maxTokens: 4096 }];
    return {
      models: { providers: { obedient: { baseUrl: this.url, apiKey: "none", api: "openai-completions", models } } },
      agents: { defaults: { model: { primary: "obedient/obedient-1" } } },
      tools: { toolSearch: false },
    };
  }

  /** The next turn calls this tool. */
  willCall(name: string, args: object): void {
    this.#call = { name, arguments: JSON.stringify(args) };
  }

  #answer({ messages }: { messages: Message[] }): StubAnswer {
    const call = this.#call;
    if (call !== undefined) {
      this.#call = undefined;
      return events({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: call }] }, "tool_calls");
    }
    // The host may have added messages of its own behind the result.
    const content = messages.filter(({ role }) => role === "tool").at(-1)?.content;
    const result = typeof content === "string" ? content : JSON.stringify(content);
    this.toolResults.push(result);
    return events({ content: `The tool said: ${result}` }, "stop");
  }
}

function events(delta: object, reason: string): StubAnswer {
  const head = { id: "1", object: "chat.completion.chunk", created: 0, model: "obedient-1" };
  const chunks = [
    { ...head, choices: [{ index: 0, delta: { role: "assistant", ...delta }, finish_reason: null }] },
    { ...head, choices: [{ index: 0, delta: {}, finish_reason: reason }] },
    { ...head, choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } },
  ];
  const body = [...chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`), "data: [DONE]\n\n"].join("");
  return { status: 200, headers: { "content-type": "text/event-stream" }, body };
}
