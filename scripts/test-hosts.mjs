// `npm run test:hosts`: the example plugin in real hosts, from `npm pack` to its update. The hosts are installed on
// the way, half a GB each.
//
//   npm run test:hosts                            the rows of the table that have `ci`; those with "brief" what differs alone; the whole of
//                                                 a login from a chat in those that have `chat`
//   npm run test:hosts -- --install               only installs what these need, so that it can be done meanwhile
//   npm run test:hosts -- --all                   every row of __test__/hosts/versions.json; writes the table of docs/hosts.md
//   npm run test:hosts -- 2026.9 clawdbot         those with this in their name; with --write into that table
//   npm run test:hosts -- 2026.4.21               any version that npm has, of openclaw where no other host is named
//                                                 (openclaw-cn-2026.1.31); one that is not in the table is installed by itself
//                                                 and removed after its run, unless --keep
//   npm run test:hosts -- --chat                  the whole of a login from a chat alone, in the rows that have `chat` or that are named;
//                                                 without names, and with --write, it writes the table of docs/guide/chat.md
//   npm run test:hosts -- --places                containers, services, and what hosts do to a login, as well; --all does
//   npm run test:hosts -- --newest                releases of npm beyond the table as well, as without names; they fail nothing
//   npm run test:hosts -- --lock                  after a change of the table: the lockfile follows
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, isBuilt } from "./build.mjs";
import { buildPlugin } from "./build-plugin.mjs";
import { run } from "./command.mjs";
import {
  compare,
  hosts,
  installElsewhere,
  installHosts,
  lockHosts,
  named,
  newerThanTable,
  removeElsewhere,
} from "./hosts.mjs";
import { root, setUp } from "./setup.mjs";

const tests = join(root, "__test__", "hosts");
/** Where gateways live, and what hosts do to them: minutes for each host, so not in `.ci/run`. */
const places = ["container.test.ts", "service.test.ts", "kept-login.test.ts", "pairing.test.ts"];
/** The results of the tests for each host: its life, and its chat. */
const results = join(root, "target", "hosts", "results.jsonl");
const chatResults = join(root, "target", "hosts", "chat.jsonl");

async function main() {
  const options = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
  const names = process.argv.slice(2).filter((argument) => !argument.startsWith("-"));
  const passedOn = options.filter((option) => option.startsWith("--test-"));
  if (options.includes("--lock")) {
    await lockHosts();
    return 0;
  }
  const isChat = options.includes("--chat");
  const isAll = options.includes("--all");
  const chosen =
    names.length > 0
      ? [...new Set(names.flatMap(named))]
      : hosts.filter(({ ci, chat }) => (isChat ? chat : ci || isAll));
  const rows = chosen.filter(({ folder }) => folder === undefined);
  if (options.includes("--install")) {
    // The packages of the checkout are not installed here: another script may be installing them.
    await installHosts(rows.map(({ id }) => id));
    return 0;
  }
  // In `.ci/run` alone.
  const isBrief = names.length === 0 && !isAll && !isChat;
  await setUp({ nodes: [...new Set([22, ...rows.map(({ node }) => node)])] });
  await installHosts(rows.map(({ id }) => id));
  const built = (isBuilt() ? 0 : await build()) || (await buildPlugin());
  if (built !== 0) {
    return built;
  }
  mkdirSync(join(root, "target", "hosts"), { recursive: true });
  const known = linesOf(results).length;
  const isWithPlaces = options.includes("--places") || isAll;
  const files = readdirSync(tests)
    .filter((name) => name.endsWith(".test.ts") && (name.startsWith("chat.") ? isChat || isBrief : !isChat))
    // Minutes for each host, so not in `.ci/run`.
    .filter((name) => isWithPlaces || !places.includes(name));
  const asWanted = (row) => {
    const inCi = isBrief && { brief: row.ci === "brief" };
    return { ...row, ...inCi, ...(isChat && { chat: true }) };
  };
  let code = rows.length === 0 ? 0 : await tested(rows.map(asWanted), files, passedOn);
  for (const row of chosen.filter(({ folder }) => folder !== undefined)) {
    // One after the other, so that they need the room of one.
    code = (await triedElsewhere(asWanted(row), files, passedOn, options.includes("--keep"))) || code;
  }
  const isWritten = options.includes("--write");
  if (code === 0 && isChat && (names.length === 0 || isWritten)) {
    writeChatTable();
  } else if (!isChat && (isAll || isWritten)) {
    writeTable();
  }
  if (!isChat) {
    show(
      linesOf(results)
        .slice(known)
        .filter(({ id }) => chosen.some((row) => row.id === id)),
    );
  }
  if (options.includes("--newest") || (names.length === 0 && !isChat)) {
    await tryNewest();
  }
  return code;
}

/** Runs the tests in a version that is not in the table. */
async function triedElsewhere(wanted, files, options, isKept = false) {
  try {
    return await tested([await installElsewhere(wanted)], files, options);
  } catch (error) {
    console.error(`${wanted.id} cannot be tried: ${error.message}`);
    return 1;
  } finally {
    if (!isKept) {
      removeElsewhere(wanted);
    }
  }
}

/** Each has its own home, port and servers; what is installed is packed once for all. */
async function tested(chosen, files, options = []) {
  // A file lives it in all hosts, in two at a time.
  const limit = 3_200_000 * Math.max(2, chosen.length);
  const runner = ["--test", "--test-reporter=spec", "--test-concurrency=2", `--test-timeout=${limit}`, ...options];
  const folder = mkdtempSync(join(tmpdir(), "plugin-auth-packages-"));
  const packages = join(folder, "packages.json");
  try {
    const packing = ["--import", "tsx", join(tests, "support", "packages.ts"), folder, packages];
    const code = await run(process.execPath, packing);
    if (code !== 0) {
      return code;
    }
    return await run(process.execPath, ["--import", "tsx", ...runner, ...files.map((file) => join(tests, file))], {
      env: {
        PLUGIN_AUTH_HOSTS: JSON.stringify(chosen),
        PLUGIN_AUTH_PACKAGES: packages,
        PLUGIN_AUTH_RESULTS: results,
        PLUGIN_AUTH_CHAT_RESULTS: chatResults,
      },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Tries a release beyond the table; one line says what changed. It fails nothing, because it is another project's; the
 * next row of the table can fail.
 */
async function tryNewest() {
  for (const host of new Set(hosts.map((row) => row.host))) {
    let outcome;
    try {
      const version = await newerThanTable(host);
      outcome =
        version === undefined ? "npm has none beyond the table" : `${version} is newer: ${await tried(host, version)}`;
    } catch (error) {
      outcome = `cannot be tried: ${firstLine(error.message)}`;
    }
    console.log(`Newest ${host}: ${outcome}.`);
  }
}

async function tried(host, version) {
  const [newest] = named(`${host}-${version}`);
  const known = linesOf(results).length;
  const code = await triedElsewhere(newest, ["life.test.ts"]);
  if (code === 0) {
    return "it passes as it is, and its row can be added";
  }
  const { failed = "it", because = "see above" } = linesOf(results).slice(known).at(-1) ?? {};
  return `"${failed}" fails: ${because}`;
}

function linesOf(file) {
  const text = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
  return text === "" ? [] : text.split("\n").map((line) => JSON.parse(line));
}

/** How the life went in each host of this run. */
function show(ran) {
  for (const { id, steps, failed, because, seconds } of ran) {
    const outcome = failed === undefined ? `passed, ${steps} steps` : `"${failed}" fails: ${because}`;
    console.log(`${failed === undefined ? "✔" : "✖"} ${id} (${seconds} s): ${outcome}`);
  }
}

function firstLine(text) {
  return String(text).split("\n")[0];
}

/**
 * The table of docs/hosts.md: of each row, and of each other version that was tried, the last run, and what the page
 * said of it where there was none.
 */
function writeTable() {
  const page = join(root, "docs", "hosts.md");
  const [before, table, after] = readFileSync(page, "utf8").split("<!-- results -->");
  const rows = new Map(hosts.map(({ id, node }) => [id, `| ${id} | ${node} |  | not seen yet |  |  |`]));
  for (const [row, id] of table.matchAll(/^\| (\S+-\d\S+) \|.*$/gm)) {
    rows.set(id, row);
  }
  for (const { id, node, commands, steps, failed, seconds, date } of linesOf(results)) {
    const by = commands ? "command line" : "gateway method";
    const outcome = failed === undefined ? `passed, ${steps} steps` : `fails: ${failed}`;
    rows.set(id, `| ${id} | ${node} | ${by} | ${outcome} | ${seconds} | ${date} |`);
  }
  const header = ["| Host | Node | Login by | Life of a login | Seconds | Date |", "|---|---|---|---|---|---|"];
  const lines = [...header, ...[...rows.keys()].sort(byVersion).map((id) => rows.get(id))];
  writeFileSync(page, [before, `\n${lines.join("\n")}\n`, after].join("<!-- results -->"));
}

/** The hosts as in the table, and the versions of each from the oldest to the newest. */
function byVersion(one, other) {
  const [a, b] = [one, other].map((id) => /^(.+?)-(\d.+)$/.exec(id) ?? ["", "", ""]);
  const nth = (host) => hosts.findIndex((row) => row.host === host);
  return nth(a[1]) - nth(b[1]) || compare(a[2], b[2]);
}

/** The table of docs/guide/chat.md: of each host the last run that went to its end; rows of others stay. */
function writeChatTable() {
  const page = join(root, "docs", "guide", "chat.md");
  const [before, table, after] = readFileSync(page, "utf8").split("<!-- results -->");
  const rows = new Map([...table.matchAll(/^\| (\S+-\d\S+) \|.*$/gm)].map(([row, id]) => [id, row]));
  for (const { id, chat, seconds, date } of linesOf(chatResults)) {
    rows.set(id, `| ${id} | passed, ${chat.length} steps | ${seconds} | ${date} |`);
  }
  const ids = hosts.map(({ id }) => id);
  const ordered = [...rows.keys()].sort((one, other) => ids.indexOf(one) - ids.indexOf(other));
  const header = ["| Host | Login from a chat | Seconds | Date |", "|---|---|---|---|"];
  const lines = [...header, ...ordered.map((id) => rows.get(id))];
  writeFileSync(page, [before, `\n${lines.join("\n")}\n`, after].join("<!-- results -->"));
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
