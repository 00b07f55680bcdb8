/**
 * The ways in which a network fails, as a {@link Wire} can be made to. In none of them does the server get the
 * request.
 */
import type { Wire } from "./proxy.ts";

export interface NetworkFault {
  name: string;
  /** How it shows, at any step: the code, and whether the same call may succeed later. */
  code: "NETWORK" | "TIMEOUT" | "SERVER_ERROR" | "INVALID_RESPONSE";
  retryable: boolean;
  retryAfterMs?: number;
  /** How many connections a refresh makes before the caller hears of it; any of these. */
  attempts: number[];
  begin(wire: Wire): void | Promise<void>;
}

/** Makes the wire faithful again, from the next connection on. */
export async function mend(wire: Wire): Promise<void> {
  wire.misbehave();
  await wire.accept();
}

const json = "Content-Type: application/json\r\n";
const html = "Content-Type: text/html\r\n";

/** A whole answer. */
function answer(status: string, headers: string, body: string): string {
  return `HTTP/1.1 ${status}\r\n${headers}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
}

function fault(
  name: string,
  [code, ...attempts]: [NetworkFault["code"], ...number[]],
  wireFault: Parameters<Wire["misbehave"]>[0],
  retryAfterMs?: number,
): NetworkFault {
  return {
    name,
    code,
    attempts,
    retryable: code !== "INVALID_RESPONSE",
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    begin: (wire) => wire.misbehave(wireFault),
  };
}

const close = "close" as const;
// The server's clock is hours behind: its Retry-After counts from its own Date.
const serverDates = "Date: Fri, 20 Nov 2020 20:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2020 20:02:00 GMT\r\n";

export const networkFaults: NetworkFault[] = [
  {
    name: "connection refused",
    code: "NETWORK",
    retryable: true,
    attempts: [0],
    begin: (wire) => wire.refuse(),
  },
  // Whether a part of the request had left depends on the moment.
  fault("reset before the request was sent", ["NETWORK", 2, 3, 4], { atRequestByte: 0 }),
  fault("reset after the request was sent", ["NETWORK", 2], { instead: "" }),
  fault("closed after the request was sent", ["NETWORK", 2], { instead: "", ending: close }),
  fault("headers that never end", ["TIMEOUT", 1], { instead: "HTTP/1.1 200 OK\r\nContent-Ty", ending: "stall" }),
  fault("a body that never ends", ["TIMEOUT", 1], {
    instead: `HTTP/1.1 200 OK\r\n${json}Content-Length: 900\r\n\r\n{"access`,
    ending: "stall",
  }),
  fault("reset within the body", ["NETWORK", 2], {
    instead: `HTTP/1.1 200 OK\r\n${json}Content-Length: 900\r\n\r\n{"access`,
  }),
  fault("HTTP 500", ["SERVER_ERROR", 2], { instead: answer("500 Oops", html, "<html>Oops"), ending: close }),
  fault("HTTP 502, in JSON", ["SERVER_ERROR", 2], { instead: answer("502 Bad Gateway", json, "{}"), ending: close }),
  fault("HTTP 503 without a body", ["SERVER_ERROR", 2], { instead: answer("503 Busy", "", ""), ending: close }),
  fault(
    "HTTP 429 with Retry-After in seconds",
    ["SERVER_ERROR", 1],
    { instead: answer("429 Slow Down", "Retry-After: 120\r\n", ""), ending: close },
    120_000,
  ),
  fault(
    "HTTP 429 with Retry-After as a date",
    ["SERVER_ERROR", 1],
    { instead: answer("429 Slow Down", serverDates, ""), ending: close },
    120_000,
  ),
  fault(
    "HTTP 503 with a Retry-After of a day",
    ["SERVER_ERROR", 1],
    { instead: answer("503 Busy", "Retry-After: 86400\r\n", ""), ending: close },
    86_400_000,
  ),
  fault("a captive portal's page with 200", ["INVALID_RESPONSE", 2], {
    instead: answer("200 OK", html, "<html><title>Welcome to the hotel</title>"),
    ending: close,
  }),
  fault("JSON that is cut off", ["INVALID_RESPONSE", 2], {
    instead: answer("200 OK", json, '{"issuer":"http://127.0.0.1","access_token":"canary'),
    ending: close,
  }),
];
