/**
 * A person at a browser: follows the verification page of the authorization server, logs in, and approves or denies.
 * Works as a browser does: keeps cookies by their path, follows redirects, submits the forms that the pages hold.
 */
import { exchange } from "./exchange.ts";

export interface PersonOptions {
  /** The person who logs in. @default "ada" */
  name?: string;
  /** PEM of the certificate authority, for a server that speaks https. */
  ca?: string;
}

interface Page {
  url: URL;
  status: number;
  text: string;
}

export class Person {
  readonly name: string;
  readonly #ca: string | undefined;
  readonly #cookies = new Map<string, { name: string; value: string; path: string }>();

  constructor({ name = "ada", ca }: PersonOptions = {}) {
    this.name = name;
    this.#ca = ca;
  }

  /** Opens `verification_uri_complete`, confirms the code, logs in where asked to, and consents. */
  async approve(verificationUriComplete: string): Promise<void> {
    const page = await this.#decide(await this.#confirm(verificationUriComplete, {}));
    if (page.status !== 200 || !page.text.includes("Sign-in Success")) {
      throw new Error(`The approval ended at ${page.url} with ${page.status}:\n${page.text}`);
    }
  }

  /** Opens `verification_uri_complete` and says no to the code. */
  async deny(verificationUriComplete: string): Promise<void> {
    const page = await this.#confirm(verificationUriComplete, { abort: "yes" });
    if (!page.text.includes("The Sign-in request was interrupted")) {
      throw new Error(`The denial ended at ${page.url} with ${page.status}:\n${page.text}`);
    }
  }

  /** Confirms the code, logs in, and then refuses to give the client what it asks for. */
  async refuseConsent(verificationUriComplete: string): Promise<void> {
    let page = await this.#confirm(verificationUriComplete, {});
    if (page.text.includes('name="login"')) {
      page = await this.#submit(page, { login: this.name, password: "x" });
    }
    page = await this.#request("GET", new URL(`${page.url.pathname}/abort`, page.url));
    if (!page.text.includes("The Sign-in request was interrupted")) {
      throw new Error(`The refusal ended at ${page.url} with ${page.status}:\n${page.text}`);
    }
  }

  /** Opens the page of an authorization request, logs in and consents: where the server then sends the browser. */
  async authorize(authorizationUrl: string): Promise<URL> {
    return this.#sentAway(await this.#decide(await this.#request("GET", new URL(authorizationUrl))));
  }

  /** Opens the page of an authorization request and says no. */
  async refuseAuthorization(authorizationUrl: string): Promise<URL> {
    const page = await this.#request("GET", new URL(authorizationUrl));
    return this.#sentAway(await this.#request("GET", new URL(`${page.url.pathname}/abort`, page.url)));
  }

  // Login and consent, each where the server still wants it.
  async #decide(page: Page): Promise<Page> {
    while (page.text !== "" && new URL(page.url).pathname.includes("/interaction/")) {
      page = await this.#submit(page, page.text.includes('name="login"') ? { login: this.name, password: "x" } : {});
    }
    return page;
  }

  #sentAway(page: Page): URL {
    if (page.text !== "") {
      throw new Error(`The browser was not sent back but is at ${page.url} with ${page.status}:\n${page.text}`);
    }
    return page.url;
  }

  // The first page submits itself in a browser (user code and xsrf token); the next asks for confirmation.
  async #confirm(verificationUriComplete: string, answer: Record<string, string>): Promise<Page> {
    const opened = await this.#request("GET", new URL(verificationUriComplete));
    const confirmation = await this.#submit(opened, {});
    return this.#submit(confirmation, answer);
  }

  /** Submits the form of the page: its hidden and given fields, and those that the person fills in. */
  async #submit(page: Page, fields: Record<string, string>): Promise<Page> {
    const form = /<form[^>]*\baction="(?<action>[^"]*)"/.exec(page.text)?.groups?.action;
    if (form === undefined) {
      throw new Error(`No form at ${page.url} (${page.status}):\n${page.text}`);
    }
    const body = new URLSearchParams();
    for (const [input] of page.text.matchAll(/<input[^>]*type="hidden"[^>]*>/g)) {
      const name = /\bname="([^"]*)"/.exec(input)?.[1];
      const value = /\bvalue="([^"]*)"/.exec(input)?.[1];
      if (name !== undefined) {
        body.set(name, unescaped(value ?? ""));
      }
    }
    for (const [name, value] of Object.entries(fields)) {
      body.set(name, value);
    }
    return this.#request("POST", new URL(unescaped(form), page.url), body);
  }

  async #request(method: string, url: URL, body?: URLSearchParams): Promise<Page> {
    const cookie = this.#cookieHeader(url);
    const { status, headers, text } = await exchange(url, {
      method,
      ...(cookie !== "" && { headers: { cookie } }),
      ...(body !== undefined && { body }),
      ...(this.#ca !== undefined && { ca: this.#ca }),
    });
    const { location, "set-cookie": cookies = [] } = headers;
    for (const cookie of cookies) {
      this.#keep(cookie);
    }
    if (status >= 301 && status <= 303 && location !== undefined) {
      const next = new URL(location, url);
      // A redirect to another server, which the test may follow.
      return next.origin === url.origin ? this.#request("GET", next) : { url: next, status, text: "" };
    }
    return { url, status, text };
  }

  #keep(setCookie: string): void {
    const [pair = "", ...attributes] = setCookie.split(";").map((part) => part.trim());
    const [name = "", value = ""] = pair.split(/=(.*)/s);
    const attribute = (wanted: string) =>
      attributes.find((text) => text.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1);
    const path = attribute("path") ?? "/";
    const key = `${name};${path}`;
    const expires = attribute("expires");
    if (value === "" || (expires !== undefined && new Date(expires) <= new Date())) {
      this.#cookies.delete(key);
    } else {
      this.#cookies.set(key, { name, value, path });
    }
  }

  #cookieHeader({ pathname }: URL): string {
    return [...this.#cookies.values()]
      .filter(({ path }) => pathname === path || pathname.startsWith(path.endsWith("/") ? path : `${path}/`))
      .map(({ name, value }) => `${name}=${value}`)
      .join("; ");
  }
}

function unescaped(html: string): string {
  const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", "#x27": "'" };
  return html.replace(/&(amp|lt|gt|quot|#39|#x27);/g, (_entity, name: string) => entities[name] ?? "");
}
