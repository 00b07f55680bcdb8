/** The sentences that tools, commands and chats show, as the plugin words them. */

/**
 * `loginNeeded`: a tool or a command needs a login; `loggedIn`, `loggedOut`: that is done; `notLoggedIn`: there was
 * nobody to log out.
 */
export type MessageName = "loginNeeded" | "loggedIn" | "loggedOut" | "notLoggedIn";

/** The values of a sentence; a text refers to each as `{title}`, `{account}` … */
export interface MessageFacts {
  /** The sentence of the kit. */
  text: string;
  /** The plugin. */
  title: string;
  /** The account; "default" where there is but one. */
  account: string;
  /** In `loginNeeded`, the next step: "run `openclaw my-memory login` in a terminal". */
  advice: string;
  /** In `loginNeeded`, the reason. */
  reason: string;
}

/** Texts, or a function that gives one. Where it gives none, the sentence is the kit's. */
export type Messages =
  | { readonly [Name in MessageName]?: string | undefined }
  | ((name: MessageName, facts: MessageFacts) => string | undefined);

/** The sentence to show. */
export type Say = (name: MessageName, facts: Partial<MessageFacts> & Pick<MessageFacts, "text">) => string;

export const plainly: Say = (_name, { text }) => text;

export function wording(messages: Messages | undefined, title: string): Say {
  if (messages === undefined) {
    return plainly;
  }
  return (name, given) => {
    const facts: MessageFacts = { title, account: "default", advice: "", reason: "", ...given };
    if (typeof messages !== "function") {
      return (
        messages[name]?.replace(/\{(\w+)\}/g, (whole, fact) => facts[fact as keyof MessageFacts] ?? whole) ?? facts.text
      );
    }
    try {
      return messages(name, facts) ?? facts.text;
    } catch {
      // A failing text must not hide that a login is needed.
      return facts.text;
    }
  };
}
