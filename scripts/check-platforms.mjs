// `npm run check:platforms`: do the sources compile for the systems that this machine is not? Types alone: nothing is
// linked, so no compiler for C and no SDK of theirs is needed.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { output, run } from "./command.mjs";
import { root } from "./setup.mjs";

const targets = ["x86_64-pc-windows-gnu", "aarch64-apple-darwin", "aarch64-linux-android"];

const folder = mkdtempSync(join(tmpdir(), "plugin-auth-platforms-"));
try {
  // napi-build looks for this file, which only linking would read.
  writeFileSync(join(folder, "libnode.dll"), "");
  for (const target of targets) process.exitCode ||= await check(target);
} finally {
  rmSync(folder, { recursive: true });
}

async function check(target) {
  const installed = await output("rustup", ["target", "list", "--installed"]).catch(() => "");
  if (!installed.split("\n").includes(target)) {
    const added = await output("rustup", ["target", "add", target]).catch(() => undefined);
    if (added === undefined) {
      console.log(`NOT CHECKED: ${target}. Rust's library for it cannot be fetched from here.`);
      return 0;
    }
  }
  const name = target.replaceAll("-", "_");
  const env = {
    LIBNODE_PATH: folder,
    [`CC_${name}`]: "true",
    [`AR_${name}`]: "true",
    CARGO_TARGET_DIR: join(root, "target", "platforms"),
    RUSTFLAGS: "-Dwarnings",
  };
  const code = await run("cargo", ["check", "--locked", "--lib", "--target", target], { env });
  if (code === 0) console.log(`✓ ${target}`);
  return code;
}
