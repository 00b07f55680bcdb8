#!/usr/bin/env node
/**
 * `npx clawdbot-plugin-auth status <plugin>`: the plugin's own `status` with its exit codes, for hosts whose command
 * line knows no commands of plugins. It needs no host, no gateway and no network.
 *
 * `npx clawdbot-plugin-auth init <plugin>`: a new plugin that logs in. `move <plugin>`: moves its logins between files
 * and a store.
 */
import { parseArgs } from "node:util";
import { AuthError, type CredentialStore, listProfiles, status } from "../index.js";
import { movedText, moveLogins } from "./move.ts";
import { exitCode, stateInWords, statusText, worst } from "./status-text.ts";

const usage = `Usage: clawdbot-plugin-auth status <plugin id> [--account <name>] [--all] [--json] [--check] [--state-dir <folder>]
         --check    exit with 0: usable; 1: a login is needed; 2: the login itself ends within 24 hours; 3: not known
       clawdbot-plugin-auth init <plugin id> [--name <name>] [--issuer <url>] [--service <url>]
         writes a plugin that logs in, with a tool and a test, into a folder of that name
       clawdbot-plugin-auth move <plugin id> --to postgres | redis | etcd [--options <JSON>] [--account <name>] [--state-dir <folder>]
         moves logins from files into a store; back with --from in place of --to
         --options  those of the store; without them the usual variables count: PGHOST, REDIS_URL, ETCDCTL_ENDPOINTS`;

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      account: { type: "string" },
      all: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      "state-dir": { type: "string" },
      name: { type: "string" },
      issuer: { type: "string" },
      service: { type: "string" },
      to: { type: "string" },
      from: { type: "string" },
      options: { type: "string", default: "{}" },
      help: { type: "boolean", short: "h", default: false },
      version: { type: "boolean", default: false },
    },
  });
  if (values.help || values.version) {
    // This file runs from dist/, beside its own package.json.
    console.log(values.help ? usage : (require("../package.json") as { version: string }).version);
    return 0;
  }
  const [command = "", pluginId, ...others] = positionals;
  if (!["status", "init", "move"].includes(command)) {
    throw new TypeError(command === "" ? "Say what to do" : `There is no command "${command}"`);
  }
  if (pluginId === undefined || others.length > 0) {
    throw new TypeError(pluginId === undefined ? "Name a plugin" : `One plugin at a time; what is "${others[0]}"?`);
  }
  if (command === "init") {
    const { init } = await import("./init-command.ts");
    console.log(init(pluginId, values));
    return 0;
  }
  const config = {
    pluginId,
    ...(values.account !== undefined && { profile: values.account }),
    ...(values["state-dir"] !== undefined && { stateDir: values["state-dir"] }),
  };
  if (command === "move") {
    const store = await storeOf(values.to ?? values.from, optionsIn(values.options));
    try {
      const to = values.to === undefined ? "file" : "store";
      console.log(movedText(await moveLogins({ ...config, store }, to, values.account)));
    } finally {
      await store.end();
    }
    return 0;
  }
  const all = values.all ? await listProfiles(config) : [];
  const found = all.length > 0 ? all : [await status(config)];
  if (values.json) {
    console.log(JSON.stringify(values.all ? found : found[0], null, 2));
  }
  for (const account of found) {
    if (!values.json) {
      console.log(statusText(account, pluginId));
    }
    if (values.check && exitCode(account) !== 0) {
      const who = account.profile === "default" ? pluginId : `${pluginId} (account ${account.profile})`;
      console.error(`${who}: ${stateInWords(account)}`);
    }
  }
  return values.check ? worst(found) : 0;
}

interface Stores {
  [name: string]: (options: object) => CredentialStore & { end(): Promise<void> };
}

function optionsIn(text: string): object {
  try {
    return JSON.parse(text) as object;
  } catch {
    throw new TypeError(`--options takes JSON, such as '{"url":"redis://127.0.0.1:6379"}'`);
  }
}

async function storeOf(engine: string | undefined, options: object) {
  if (engine !== "postgres" && engine !== "redis" && engine !== "etcd") {
    throw new TypeError("Name the store by --to or --from");
  }
  // Beside this file where it is built.
  const stores: Stores = await import(`./stores/${engine}.js`);
  const make = stores[`${engine}Store`] as Stores[string];
  return make(options);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: Error & { code?: string }) => {
    const isOurs = error instanceof AuthError;
    // Node goes on about arguments that begin with a hyphen; none of ours does.
    const [said] = error.code === "ERR_PARSE_ARGS_UNKNOWN_OPTION" ? error.message.split(". ") : [error.message];
    console.error(isOurs ? said : `${said}\n${usage}`);
    // Not 1, which means that a login is needed.
    process.exitCode = 3;
  },
);
