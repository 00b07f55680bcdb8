/** Checks a proof as a service with bound tokens does (RFC 9449 section 4.3), with npm's jose. */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { calculateJwkThumbprint, EmbeddedJWK, type JWK, jwtVerify } from "jose";

export interface ProvenRequest {
  headers: IncomingHttpHeaders;
  method: string | undefined;
  /** The whole URL, as the caller sees it. */
  url: string;
}

/** The proofs of one service, which remembers those that it has seen. */
export class DpopProofs {
  readonly #seen = new Set<string>();

  /**
   * The token, and the thumbprint of the key that it must be bound to; rejects with the error code of RFC 9449 and the
   * reason.
   */
  async verify({ headers, method, url }: ProvenRequest, nonce?: string) {
    const token = /^DPoP (?<token>\S+)$/.exec(headers.authorization ?? "")?.groups?.token;
    if (token === undefined) {
      throw new Error("invalid_token: RFC 9449 section 7.2 wants a bound token refused as a bearer token");
    }
    if (typeof headers.dpop !== "string" || headers.dpop.includes(",")) {
      throw new Error("invalid_dpop_proof: not one proof");
    }
    const options = { typ: "dpop+jwt", algorithms: ["ES256"], maxTokenAge: 60, clockTolerance: 5 };
    const verified = await jwtVerify(headers.dpop, EmbeddedJWK, options).catch((error: Error) => {
      throw new Error(`invalid_dpop_proof: ${error.message}`);
    });
    const { payload, protectedHeader } = verified;
    const expected = {
      htm: method,
      htu: url.split("?")[0],
      ath: createHash("sha256").update(token).digest("base64url"),
    };
    for (const [claim, value] of Object.entries(expected)) {
      if (payload[claim] !== value) {
        throw new Error(`invalid_dpop_proof: ${claim} is ${payload[claim]}, not ${value}`);
      }
    }
    if (nonce !== undefined && payload.nonce !== nonce) {
      throw new Error(`use_dpop_nonce: it is ${payload.nonce}`);
    }
    if (payload.jti === undefined || this.#seen.has(payload.jti)) {
      throw new Error("invalid_dpop_proof: jti is missing or was seen before");
    }
    this.#seen.add(payload.jti);
    return { token, thumbprint: await calculateJwkThumbprint(protectedHeader.jwk as JWK) };
  }
}
