import { unencrypted } from "../lib/unencrypted.js";
import { invalidConfig } from "./invalid-config.ts";

/**
 * The origins that get the token: `origins`, else those of `resource` and `otherResources`, else that of the first
 * request.
 */
export class Origins {
  /** The origins that are known by now. */
  readonly list: string[];
  readonly #matches: ((url: URL) => boolean)[];
  /** The origins on other machines to which a token may travel without TLS. */
  readonly unencrypted: string[];

  readonly #others: URL[];
  /** Origins that were taken: nothing but the origin decides. */
  readonly #taken = new Set<string>();

  constructor(
    origins: string[] | undefined,
    resource: string[] = [],
    allowHttp: string[] = [],
    otherResources: string[] = [],
  ) {
    this.unencrypted = unencrypted({ allowHttp });
    const urls = (texts: string[]) =>
      texts.flatMap((text) => parsed(text) ?? []).filter(({ protocol }) => /^https?:$/.test(protocol));
    // The longest first: it may be below another.
    this.#others = urls(otherResources).sort((one, other) => other.href.length - one.href.length);
    this.list = [...(origins ?? new Set([...urls(resource), ...this.#others].map(({ origin }) => origin)))];
    this.#matches = this.list.map(matcher);
  }

  /** Whether the token may go there; decides it where nothing else does. */
  take(url: URL): boolean {
    const { origin } = url;
    // A blob has the origin of who made it.
    if (url.protocol !== "blob:" && this.#taken.has(origin)) {
      return true;
    }
    const isFirst = this.#matches.length === 0;
    if (!isFirst && !this.#matches.some((matches) => matches(url))) {
      return false;
    }
    // A token is a secret: it travels encrypted, or does not leave the machine.
    const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
    const isSafe = url.protocol === "https:" || (url.protocol === "http:" && isLoopback);
    if (!isSafe && !this.isUnencrypted(url.href)) {
      throw invalidConfig(
        `An access token goes to https URLs only (http on loopback), not to ${origin}. On a network of your own, name it: allowHttp: [${JSON.stringify(origin)}].`,
      );
    }
    if (isFirst) {
      this.#matches.push(matcher(origin));
      this.list.push(origin);
    }
    // Subdomains may be many.
    if (this.#taken.size < 64) {
      this.#taken.add(origin);
    }
    return true;
  }

  /** The one of `otherResources` that this URL is below. */
  otherResource(url: string): string | undefined {
    const to = this.#others.length === 0 ? undefined : parsed(url);
    const isBelow = ({ origin, pathname }: URL) =>
      to?.origin === origin && `${to.pathname}/`.startsWith(pathname.replace(/\/?$/, "/"));
    return this.#others.find(isBelow)?.href;
  }

  /** Whether that URL is of an origin that `allowHttp` names. */
  isUnencrypted(url: string): boolean {
    return this.unencrypted.length > 0 && this.unencrypted.includes(parsed(url)?.origin ?? "");
  }
}

/** `https://api.example.com`, `api.example.com`, or `*.example.com` for its subdomains. */
function matcher(text: string): (url: URL) => boolean {
  const [, scheme = "https://", wildcard, host = ""] = /^(https?:\/\/)?(\*\.)?([^/*\s]+)\/?$/i.exec(text) ?? [];
  const url = parsed(scheme + host);
  if (url === undefined || (wildcard !== undefined && !host.includes("."))) {
    const given = JSON.stringify(text);
    throw invalidConfig(`\`origins\` holds ${given}: give https://api.example.com, or *.example.com for subdomains.`);
  }
  const { protocol, host: name, origin } = url;
  return wildcard === undefined
    ? (to) => to.origin === origin
    : (to) => to.protocol === protocol && to.host.endsWith(`.${name}`);
}

function parsed(text: string): URL | undefined {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}
