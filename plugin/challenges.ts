/**
 * The challenge of a service to a request without a token, or with one that is not good enough (RFC 9110 section
 * 11.6.1).
 */
export interface Challenge {
  /** In lower case. */
  scheme: string;
  /** By their names in lower case. */
  parameters: Map<string, string>;
}

/** Reads the challenges of an answer. Unreadable ones are left out. */
export function challengesOf(answer: Response): Challenge[] {
  const found: Challenge[] = [];
  // A scheme, or a parameter with the scheme before it where it is the first one.
  const item =
    /(?:^|,)\s*(?:(?<scheme>[\w!#$%&'*+.^`|~-]+)(?=\s*(?:,|$)|\s+[^\s=,]))?(?:\s*(?<name>[\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"(?<quoted>(?:[^"\\]|\\.)*)"|(?<value>[^\s,"]*)))?/g;
  for (const { groups = {} } of (answer.headers?.get("www-authenticate") ?? "").matchAll(item)) {
    const { scheme, name, quoted, value } = groups;
    if (scheme !== undefined) {
      found.push({ scheme: scheme.toLowerCase(), parameters: new Map() });
    }
    if (name !== undefined) {
      found.at(-1)?.parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? value ?? "");
    }
  }
  return found;
}
