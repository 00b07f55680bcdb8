/**
 * The documented answers of public providers (fixtures/provider-shapes.json), and an authorization server that replays
 * them step by step.
 */
import { readFileSync } from "node:fs";
import type { Lifetime } from "./lifetime.ts";
import { type StubAnswer, StubServer } from "./stub-server.ts";

export interface ProviderShape {
  provider: string;
  /** The request that is answered and its result, such as "token.pending" or "refresh.ok". */
  step: string;
  /** Null where the source does not state it. */
  status: number | null;
  headers: Record<string, string> | null;
  /** Members of JSON, or the raw text. */
  body: Record<string, unknown> | string;
  source: string;
  basis: string;
  note?: string;
}

/** All shapes, or those of one provider. */
export function providerShapes(provider?: string): ProviderShape[] {
  const path = new URL("../fixtures/provider-shapes.json", import.meta.url);
  const shapes = JSON.parse(readFileSync(path, "utf8")) as ProviderShape[];
  return shapes.filter((shape) => provider === undefined || shape.provider === provider);
}

/** The one shape of this provider and step. */
export function providerShape(provider: string, step: string): ProviderShape {
  const shape = providerShapes(provider).find((candidate) => candidate.step === step);
  if (shape === undefined) {
    throw new Error(`No shape ${step} of ${provider}`);
  }
  return shape;
}

/** The shape as an answer; `status` where the source does not state one. */
export function shapeAnswer(shape: ProviderShape, status = 400): StubAnswer {
  const { headers, body } = shape;
  return { status: shape.status ?? status, headers: headers ?? contentType(body), body };
}

function contentType(body: ProviderShape["body"]): Record<string, string> {
  if (typeof body !== "string") {
    return { "content-type": "application/json; charset=utf-8" };
  }
  if (body === "") {
    return {};
  }
  const type = body.startsWith("<") ? "application/xml" : "application/x-www-form-urlencoded";
  return { "content-type": `${type}; charset=utf-8` };
}

export interface ProviderScript {
  deviceAuthorization?: StubAnswer;
  /** Answers to the polls, in turn; the last one stays. */
  polls?: StubAnswer[];
  /** Answers to the refreshes, in turn; the last one stays. */
  refreshes?: StubAnswer[];
  revocation?: StubAnswer;
}

/** Endpoints at /device, /token and /revoke, and their metadata. */
export class ProviderStub {
  readonly server: StubServer;

  static async start(lifetime: Lifetime, script: ProviderScript): Promise<ProviderStub> {
    const stub = new ProviderStub(await StubServer.start(lifetime));
    stub.play(script);
    return stub;
  }

  private constructor(server: StubServer) {
    this.server = server;
    server.describe();
  }

  get issuer(): string {
    return this.server.origin;
  }

  /** Answers by this script from now on. */
  play({
    deviceAuthorization = quickDevice,
    polls = [],
    refreshes = [],
    revocation = { status: 200 },
  }: ProviderScript) {
    this.server.route("/device", deviceAuthorization);
    this.server.route("/revoke", revocation);
    const played = { polls: 0, refreshes: 0 };
    this.server.route("/token", ({ form }) => {
      const which = form.get("grant_type") === "refresh_token" ? "refreshes" : "polls";
      const answers = which === "refreshes" ? refreshes : polls;
      const answer = answers[played[which]] ?? answers.at(-1);
      played[which] += 1;
      return answer ?? { status: 599, body: `no answer in the script for ${which}` };
    });
  }
}

/** A plain device authorization answer that is polled each second. */
export const quickDevice: StubAnswer = {
  status: 200,
  body: {
    device_code: "DEVICE-CODE",
    user_code: "ABCD-EFGH",
    verification_uri: "https://example.com/device",
    verification_uri_complete: "https://example.com/device?user_code=ABCD-EFGH",
    expires_in: 600,
    interval: 1,
  },
};
