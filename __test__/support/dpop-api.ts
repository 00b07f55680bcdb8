/**
 * An API that requires bound tokens and a proof for each request: GET and POST on any path answer with the owner of
 * the token.
 */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { decodeJwt } from "jose";
import { type AuthorizationServer, clients } from "./authorization-server.ts";
import { DpopProofs } from "./dpop-proof.ts";
import { exchange } from "./exchange.ts";
import type { Lifetime } from "./lifetime.ts";

export interface DpopApiRequest {
  /** Such as "GET /". */
  line: string;
  status: number;
  /** Why it was refused. */
  error?: string;
  /** The `nonce` of the proof. */
  nonce?: string;
  body: string;
}

export class DpopApi {
  readonly requests: DpopApiRequest[] = [];
  readonly origin: string;
  /** The nonce that every proof must hold; changing it makes the clients' nonces outdated. */
  nonce: string | undefined;
  /** Comes with answers that are no refusal, for the next request. */
  nextNonce: string | undefined;
  /** Redirects by path, for authorized requests: the status and the target. */
  readonly redirects: Record<string, [status: number, location: string]> = {};
  readonly #server: AuthorizationServer;
  readonly #proofs = new DpopProofs();

  static async start(lifetime: Lifetime, server: AuthorizationServer): Promise<DpopApi> {
    const listener = http.createServer();
    await new Promise<void>((resolve) => void listener.listen(0, "127.0.0.1", resolve));
    lifetime.after(() => {
      listener.closeAllConnections();
      listener.close();
    });
    return new DpopApi(listener, server);
  }

  private constructor(listener: http.Server, server: AuthorizationServer) {
    this.#server = server;
    this.origin = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
    listener.on("request", (request: http.IncomingMessage, response: http.ServerResponse) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    const logged: DpopApiRequest = {
      line: `${request.method} ${request.url}`,
      status: 200,
      body: Buffer.concat(chunks).toString(),
    };
    this.requests.push(logged);
    try {
      const subject = await this.#subject(request, logged);
      if (this.nextNonce !== undefined) {
        this.nonce = this.nextNonce;
        response.setHeader("dpop-nonce", this.nextNonce);
      }
      const [status, location] = this.redirects[request.url ?? ""] ?? [];
      if (status !== undefined) {
        logged.status = status;
        response.writeHead(status, { location }).end();
        return;
      }
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ subject }));
    } catch (error) {
      logged.status = 401;
      logged.error = String((error as Error).message);
      const code = /^[a-z_]+/.exec(logged.error)?.[0] ?? "invalid_dpop_proof";
      if (code === "use_dpop_nonce") {
        response.setHeader("dpop-nonce", this.nonce ?? "");
      }
      response.writeHead(401, { "www-authenticate": `DPoP error="${code}", algs="ES256"` }).end();
    }
  }

  async #subject({ headers, method, url }: http.IncomingMessage, logged: DpopApiRequest): Promise<string> {
    if (typeof headers.dpop === "string") {
      const { nonce } = decodeJwt(headers.dpop);
      if (typeof nonce === "string") {
        logged.nonce = nonce;
      }
    }
    const proven = await this.#proofs.verify({ headers, method, url: `${this.origin}${url}` }, this.nonce);
    return this.#owner(proven.token, proven.thumbprint);
  }

  /** The owner of the token; it must be bound to the key of the proof (RFC 9449 section 6.2). */
  async #owner(token: string, thumbprint: string): Promise<string> {
    const { clientId, clientSecret } = clients.api;
    const credentials = Buffer.from(`${clientId}:${clientSecret}`).toString("base64");
    const { text } = await exchange(`${this.#server.issuer}/token/introspection`, {
      headers: { authorization: `Basic ${credentials}` },
      body: new URLSearchParams({ token }),
    });
    const answer = JSON.parse(text) as { active: boolean; sub?: string; token_type?: string; cnf?: { jkt?: string } };
    if (!answer.active) {
      throw new Error("invalid_token: not active");
    }
    if (answer.token_type !== "DPoP" || answer.cnf?.jkt !== thumbprint) {
      throw new Error("invalid_token: not bound to this key");
    }
    return answer.sub ?? "";
  }
}
