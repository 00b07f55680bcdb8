/**
 * A token endpoint in front of the real one, with a grace window: a refresh token that is sent again gets the answer
 * that it was spent for. Many providers have one; without it, if a process dies with an answer, the login is lost
 * with any client.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Lifetime } from "./lifetime.ts";

export class GraceWindow {
  readonly endpoint: string;
  /** The refresh tokens that were sent, each as often as it was. */
  readonly spent: string[] = [];
  /** Before an answer to a refresh goes out. */
  beforeAnswer: () => Promise<void> = async () => {};

  static async start(lifetime: Lifetime, tokenEndpoint: string): Promise<GraceWindow> {
    const answers = new Map<string, Promise<{ status: number; body: string }>>();
    const window: { current?: GraceWindow } = {};
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      const ask = async () => {
        const headers = { "content-type": "application/x-www-form-urlencoded" };
        const answer = await fetch(tokenEndpoint, { method: "POST", headers, body });
        return { status: answer.status, body: await answer.text() };
      };
      const refresh = new URLSearchParams(body).get("refresh_token");
      let answer = refresh === null ? ask() : answers.get(refresh);
      if (answer === undefined) {
        answer = ask();
        answers.set(refresh ?? "", answer);
      }
      if (refresh !== null) window.current?.spent.push(refresh);
      const { status, body: text } = await answer;
      if (refresh !== null) await window.current?.beforeAnswer();
      response.writeHead(status, { "content-type": "application/json" }).end(text);
    });
    lifetime.after(() => {
      server.closeAllConnections();
      server.close();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    window.current = new GraceWindow(`http://127.0.0.1:${port}/token`);
    return window.current;
  }

  private constructor(endpoint: string) {
    this.endpoint = endpoint;
  }

  /** The different refresh tokens that were sent. */
  get distinct(): number {
    return new Set(this.spent).size;
  }
}
