/** The kit's own options, checked when the plugin registers: the rest is checked where it is used, by the package. */
type Kind = [what: string, is: (value: unknown) => boolean];

const isText = (value: unknown): value is string => typeof value === "string";
const isFunction = (value: unknown) => typeof value === "function";
const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

const text: Kind = ["a text", isText];
const flag: Kind = ["true or false", (value) => typeof value === "boolean"];
const texts: Kind = ["a list of texts", (value) => Array.isArray(value) && value.every(isText)];
const textOrFunction: Kind = ["a text or a function", (value) => isText(value) || isFunction(value)];

const kinds: Record<string, Kind> = {
  pluginId: text,
  title: text,
  command: ["a text, or false", (value) => isText(value) || value === false],
  loginCommand: textOrFunction,
  messages: ["an object or a function", (value) => isObject(value) || isFunction(value)],
  profile: textOrFunction,
  perAgent: flag,
  keepFresh: flag,
  origins: texts,
  resource: texts,
  otherResources: texts,
  isRejected: ["a function", isFunction],
  chat: ["true, false or an object", (value) => typeof value === "boolean" || isObject(value)],
  callbackRoute: flag,
};

/** Throws where an option of the kit has another type, or is misspelt by one letter at its end or in the case of letters. */
export function checkOptions(options: object): void {
  for (const [name, value] of Object.entries(options)) {
    const [what, is] = kinds[name] ?? [];
    if (value !== undefined && is?.(value) === false) {
      throw new TypeError(`pluginAuth: \`${name}\` must be ${what}.`);
    }
    const meant = what === undefined ? Object.keys(kinds).find((known) => isNearly(name, known)) : undefined;
    if (meant !== undefined) {
      throw new TypeError(`pluginAuth knows no option \`${name}\`: did you mean \`${meant}\`?`);
    }
  }
}

function isNearly(given: string, known: string): boolean {
  const [one, other] = [given.toLowerCase(), known.toLowerCase()];
  return one === other || one.slice(0, -1) === other || one === other.slice(0, -1);
}
