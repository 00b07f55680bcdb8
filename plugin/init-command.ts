import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { newPlugin } from "./new-plugin.ts";

/** The options on the command line. */
export interface InitFlags {
  name?: string | undefined;
  issuer?: string | undefined;
  service?: string | undefined;
}

/** Writes a plugin into a new folder, or into an empty one; never over a file. Gives back what to print. */
export function init(id: string, flags: InitFlags): string {
  if (!/^[a-z][a-z0-9-]{0,60}$/.test(id)) {
    throw new TypeError(
      `A plugin's id begins with a small letter and has small letters, digits and hyphens, such as my-memory; it got "${id}"`,
    );
  }
  const named = id.split("-").map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  const { name = named.join(" "), issuer = "https://auth.example.com", service = "https://api.example.com" } = flags;
  for (const [option, url] of Object.entries({ issuer, service })) {
    if (!URL.canParse(url) || !/^(https:|http:\/\/(localhost|127\.|\[::1\]))/.test(url)) {
      throw new TypeError(
        `--${option} takes an https URL (http on loopback), such as https://auth.example.com; it got "${url}"`,
      );
    }
  }
  // This file runs from dist/, beside its own package.json.
  const { version } = require("../package.json") as { version: string };
  const files = newPlugin({ id, name, issuer, service, dependency: `^${version}` });
  const folder = resolve(id);
  const present = Object.keys(files).filter((file) => existsSync(join(folder, file)));
  if (present.length > 0) {
    throw new TypeError(`Nothing was written: ${folder} has ${present.join(", ")} already`);
  }
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text, { flag: "wx" });
  }
  const todo =
    flags.issuer === undefined ? `\nThen put your own authorization server into ${join(id, "src", "index.ts")}.` : "";
  return `Wrote a plugin into ${id}. Try it:\n\n  cd ${id}\n  npm install\n  npm test\n${todo}`;
}
