/** Everything that the documentation and the comments point to is there. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(root, path)));
const pages = tracked.filter((path) => path.endsWith(".md"));

const read = (path: string) => readFileSync(join(root, path), "utf8");
/** A page without its code, where brackets mean something else. */
const prose = (path: string) => read(path).replace(/^( *)```[\s\S]*?^\1```/gm, "");

/** The anchors of a page, made of its headings as GitHub does. */
function anchors(path: string): Set<string> {
  const headings = prose(path).matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, heading = ""]) =>
      heading
        .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

test("every link between pages leads to a file, and to a heading where it names one", () => {
  const broken = pages.flatMap((page) =>
    [...prose(page).matchAll(/\]\(([^)\s]*)\)/g)].flatMap(([, target = ""]) => {
      if (/^[a-z]+:/.test(target)) return [];
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : normalize(join(dirname(page), path));
      if (!existsSync(join(root, file))) return [`${page}: ${target}`];
      const isPage = file.endsWith(".md") && statSync(join(root, file)).isFile();
      return anchor !== undefined && isPage && !anchors(file).has(anchor)
        ? [`${page}: ${target}: no such heading`]
        : [];
    }),
  );
  assert.deepEqual(broken, []);
});

test("what README and the documentation lead to is in the package too, or said to be in the repository", () => {
  const packed = JSON.parse(
    execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }),
  ) as [{ files: { path: string }[] }];
  const files = new Set(packed[0].files.map(({ path }) => path));
  const missing = pages
    .filter((page) => files.has(page) && page !== "CONTRIBUTING.md")
    .flatMap((page) =>
      [...prose(page).matchAll(/\]\(([^)\s#]+)[^)]*\)/g)]
        .filter(([, target = ""]) => !/^[a-z]+:/.test(target))
        .map(({ 1: target = "", index }) => ({ target: normalize(join(dirname(page), target)), index }))
        // Programs that nobody runs are not for a host's scanner to look through.
        .filter(({ target, index }) => !files.has(target) && !isInRepository(prose(page).slice(index)))
        .map(({ target }) => `${page}: ${target}`),
    );
  assert.deepEqual(missing, []);
});

/** Whether the sentence that goes on like this says so of its links. */
function isInRepository(text: string): boolean {
  const [sentence = ""] = /^[^.|:]*/.exec(text.replace(/\]\([^)]*\)/g, "]")) ?? [];
  return sentence.includes("in the repository");
}

test("every page of documentation can be reached from docs/README.md", () => {
  const reached = new Set<string>();
  const visit = (page: string) => {
    if (reached.has(page)) return;
    reached.add(page);
    for (const [, target = ""] of prose(page).matchAll(/\]\(([^)\s#]+)[^)]*\)/g)) {
      const file = normalize(join(dirname(page), target));
      if (file.endsWith(".md") && existsSync(join(root, file))) visit(file);
    }
  };
  visit("docs/README.md");
  // A decision is found in its folder.
  const pagesOfDocs = pages.filter((page) => page.startsWith("docs/") && !page.startsWith("docs/decisions/"));
  assert.deepEqual(
    pagesOfDocs.filter((page) => !reached.has(page)),
    [],
  );
});

test("a comment, a script or a message that names a page, names one that is there, and a section that it has", () => {
  const texts = tracked.filter(
    (path) =>
      [".rs", ".ts", ".mts", ".js", ".mjs", ".sh", ".toml", ".yml", ".md"].includes(extname(path)) ||
      path === ".ci/run",
  );
  const broken = texts.flatMap((path) =>
    [
      ...read(path).matchAll(
        /(?<![\w/.-])(?:docs\/[\w/-]+\.md|(?:ARCHITECTURE|SECURITY|CONTRIBUTING)\.md)(?: (\d+(?:\.\d+)*)(?![\d%]))?/g,
      ),
    ].flatMap(([whole, section]) => {
      const page = whole.split(" ")[0] ?? "";
      if (!existsSync(join(root, page))) return [`${path}: ${page}`];
      if (section === undefined || page !== "docs/design.md") return [];
      const numbered = new RegExp(`^#+ ${section.replaceAll(".", "\\.")}\\b`, "m");
      return numbered.test(read(page)) ? [] : [`${path}: ${page} has no section ${section}`];
    }),
  );
  assert.deepEqual(broken, []);
});

test("every shell block of the guide runs, or says that it is not run", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "guide-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const failed = pages
    .filter((page) => page.startsWith("docs/guide/"))
    .flatMap((page) => [...read(page).matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, code = ""]) => ({ page, code })))
    .filter(({ code }) => !/^# not run/m.test(code))
    .flatMap(({ page, code }) => {
      const { status, stderr } = spawnSync("bash", ["-euc", code], { cwd: folder, encoding: "utf8" });
      return status === 0 ? [] : [`${page}: ${stderr}`];
    });
  assert.deepEqual(failed, []);
});
