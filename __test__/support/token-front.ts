/**
 * A token endpoint with a grace window in front of the real one, which knows what was under way at once and what it
 * has given.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Lifetime } from "./lifetime.ts";

export class TokenFront {
  readonly endpoint: string;
  /** Access tokens. */
  readonly given: Set<string>;
  /** Different refresh tokens that were sent. */
  refreshes = 0;
  repeats = 0;
  atOnce = 0;
  overlaps = 0;
  /** Before an answer to a refresh goes out. */
  beforeAnswer: (form: URLSearchParams) => Promise<void> = async () => {};

  static async start(lifetime: Lifetime, tokenEndpoint: string): Promise<TokenFront> {
    const given = new Set<string>();
    const answers = new Map<string, Promise<{ status: number; body: string }>>();
    const front: { current?: TokenFront } = {};
    let underWay = 0;
    const ask = async (body: string) => {
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const answer = await fetch(tokenEndpoint, { method: "POST", headers, body });
      const text = await answer.text();
      const { access_token } = JSON.parse(text) as { access_token?: string };
      if (access_token !== undefined) given.add(access_token);
      return { status: answer.status, body: text };
    };
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      const form = new URLSearchParams(body);
      const refresh = form.get("refresh_token");
      const { current } = front;
      let answer = refresh === null ? ask(body) : answers.get(refresh);
      if (refresh !== null && current !== undefined) {
        underWay += 1;
        if (underWay > 1) current.overlaps += 1;
        current.atOnce = Math.max(current.atOnce, underWay);
        current[answer === undefined ? "refreshes" : "repeats"] += 1;
        // A client that is gone waits for no answer.
        response.once("close", () => {
          underWay -= 1;
        });
      }
      if (answer === undefined) {
        answer = ask(body);
        answers.set(refresh ?? "", answer);
      }
      const { status, body: text } = await answer;
      if (refresh !== null) await current?.beforeAnswer(form);
      response.writeHead(status, { "content-type": "application/json" }).end(text);
    });
    lifetime.after(() => {
      server.closeAllConnections();
      server.close();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    front.current = new TokenFront(`http://127.0.0.1:${port}/token`, given);
    return front.current;
  }

  private constructor(endpoint: string, given: Set<string>) {
    this.endpoint = endpoint;
    this.given = given;
  }
}
