import type { ChatOptions } from "./chat-command.ts";
import { invalidConfig } from "./invalid-config.ts";
import type { MessageName } from "./messages.ts";

/** The kit's own options, checked when the plugin registers: the rest is checked where it is used, by the package. */
export type Kind = [what: string, is: (value: unknown) => boolean];

const isText = (value: unknown): value is string => typeof value === "string";
const isFunction = (value: unknown) => typeof value === "function";
const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const text: Kind = ["a text", isText];
export const flag: Kind = ["true or false", (value) => typeof value === "boolean"];
export const number: Kind = ["a number", (value) => typeof value === "number"];
export const object: Kind = ["an object", isObject];
const texts: Kind = ["a list of texts", (value) => Array.isArray(value) && value.every(isText)];
const textOrFunction: Kind = ["a text or a function", (value) => isText(value) || isFunction(value)];

const kinds: Record<string, Kind> = {
  pluginId: text,
  title: text,
  command: ["a text, or false", (value) => isText(value) || value === false],
  loginCommand: textOrFunction,
  messages: ["an object or a function", (value) => isObject(value) || isFunction(value)],
  profile: textOrFunction,
  perAgent: ["true, false or a function", (value) => typeof value === "boolean" || isFunction(value)],
  keepFresh: flag,
  origins: texts,
  resource: texts,
  otherResources: texts,
  isRejected: ["a function", isFunction],
  chat: ["true, false or an object", (value) => typeof value === "boolean" || isObject(value)],
  callbackRoute: flag,
};

/** The members of options that are objects of the kit. */
const members: Record<string, Record<string, Kind>> = {
  chat: {
    name: text,
    who: ['"listed", "owners" or a function', (value) => value === "listed" || value === "owners" || isFunction(value)],
  } satisfies Record<keyof ChatOptions, Kind>,
  messages: { loginNeeded: text, loggedIn: text, loggedOut: text, notLoggedIn: text } satisfies Record<
    MessageName,
    Kind
  >,
};

/**
 * Throws a TypeError, with the code `INVALID_CONFIG`, where an option of the kit has another type, or a name that is
 * nearly one of the kit's.
 */
export function checkOptions(options: object): void {
  for (const [name, value] of Object.entries(options)) {
    const [what, is] = own(kinds, name) ?? [];
    if (value !== undefined && is?.(value) === false) {
      throw invalidConfig(`pluginAuth: \`${name}\` must be ${what}.`);
    }
    const meant = what === undefined ? nearest(name, Object.keys(kinds)) : undefined;
    if (meant !== undefined) {
      throw invalidConfig(`pluginAuth knows no option \`${name}\`: did you mean \`${meant}\`?`);
    }
    const known = own(members, name);
    if (known !== undefined && isObject(value)) {
      checkMembers("pluginAuth", name, value, known);
    }
  }
}

/** Every object has more, such as `constructor`. */
function own<T>(of: Record<string, T>, name: string): T | undefined {
  return Object.hasOwn(of, name) ? of[name] : undefined;
}

/** Throws the same error for any name that the object does not know, and for a wrong type. */
export function checkMembers(caller: string, option: string, given: object, known: Record<string, Kind>): void {
  for (const [name, value] of Object.entries(given)) {
    const [what, is] = own(known, name) ?? [];
    if (what === undefined) {
      const names = Object.keys(known);
      const meant = nearest(name, names);
      const hint = meant === undefined ? `known are ${names.join(", ")}.` : `did you mean \`${meant}\`?`;
      throw invalidConfig(`${caller}: \`${option}\` has no member \`${name}\`: ${hint}`);
    }
    if (value !== undefined && is?.(value) === false) {
      throw invalidConfig(`${caller}: \`${option}.${name}\` must be ${what}.`);
    }
  }
}

/** The known name that a typo may have been meant as: one edit away, or two where the name is long. */
function nearest(given: string, known: readonly string[]): string | undefined {
  const away = (name: string) => edits(given.toLowerCase().replace(/[_-]/g, ""), name.toLowerCase());
  return known
    .filter((name) => away(name) <= (name.length < 8 ? 1 : 2))
    .sort((one, other) => away(one) - away(other))[0];
}

/** The letters to insert, remove, replace or swap with the next that make one text of the other. */
function edits(one: string, other: string): number {
  const rows: number[][] = [];
  const at = (row: number, column: number) => rows[row]?.[column] ?? 0;
  for (let row = 0; row <= one.length; row += 1) {
    rows.push([row]);
    for (let column = 1; column <= other.length; column += 1) {
      const isSame = one[row - 1] === other[column - 1];
      const isSwap = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      rows[row]?.push(
        row === 0
          ? column
          : Math.min(
              at(row - 1, column) + 1,
              at(row, column - 1) + 1,
              at(row - 1, column - 1) + (isSame ? 0 : 1),
              row > 1 && column > 1 && isSwap ? at(row - 2, column - 2) + 1 : Number.POSITIVE_INFINITY,
            ),
      );
    }
  }
  return at(one.length, other.length);
}
