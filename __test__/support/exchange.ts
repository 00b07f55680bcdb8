/** One HTTP request and its whole answer, over http or https, with a certificate authority of our own where needed. */
import http from "node:http";
import https from "node:https";

export interface ExchangeRequest {
  method?: string;
  headers?: Record<string, string>;
  /** Parameters are sent as a form, text as it is. */
  body?: URLSearchParams | string;
  /** PEM of the certificate authority. */
  ca?: string;
}

export interface ExchangeAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

/** Follows no redirects, keeps no cookies, keeps no connection. */
export function exchange(url: string | URL, request: ExchangeRequest = {}): Promise<ExchangeAnswer> {
  const { body, ca, headers = {}, method = body === undefined ? "GET" : "POST" } = request;
  const form = body instanceof URLSearchParams ? { "content-type": "application/x-www-form-urlencoded" } : {};
  const options = { method, headers: { ...form, ...headers }, agent: false as const, ...(ca !== undefined && { ca }) };
  const target = new URL(url);
  return new Promise((resolve, reject) => {
    (target.protocol === "https:" ? https : http)
      .request(target, options, (response) => {
        let text = "";
        response
          .setEncoding("utf8")
          .on("data", (chunk: string) => {
            text += chunk;
          })
          .on("error", reject)
          .on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      })
      .on("error", reject)
      .end(body?.toString());
  });
}
