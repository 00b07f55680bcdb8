// What it takes to link for Android without its NDK, which is in no package registry: names of its libraries, as Rust's
// `libc` declares them, and what compilers bring along (unwinding, thread-local variables), from zig's sources.
// `smoke.mjs` then finds each name in Android's own libraries.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { output } from "./command.mjs";
import { root } from "./setup.mjs";

/** Where `libc` declares what Android has. */
const declared = ["src/unix/mod.rs", "src/unix/linux_like/mod.rs", "src/unix/linux_like/android/mod.rs", "src/new"];
/** What only libunwind uses. */
const ofC = ["stderr"];
/** In libdl; all the rest is in libc. */
const ofLibdl = ["dlopen", "dlsym", "dlclose", "dlerror", "dladdr", "dl_iterate_phdr"];

const folder = join(root, "target", "android");
/** Node in Termux is for this processor. C is compiled with musl's headers: none of it asks for more than C's own. */
const target = ["-target", "aarch64-linux-musl"];

/**
 * @param {string} python The Python that has zig.
 * @returns {Promise<{ flags: string[], env: Record<string, string> }>} For rustc and for cargo.
 */
export async function androidToolchain(python) {
  mkdirSync(folder, { recursive: true });
  const zig = (args) => output(python, ["-m", "ziglang", ...args], { cwd: folder });
  const [, sources] = /\.lib_dir = "(.+)"/.exec(await zig(["env"]));
  const names = new Set([...(await declaredNames()), ...ofC]);
  await stub(zig, "libdl.so", ofLibdl);
  await stub(
    zig,
    "libc.so",
    [...names].filter((name) => !ofLibdl.includes(name)),
  );
  for (const name of ["libm.so", "liblog.so"]) await stub(zig, name, []);

  const unwind = join(sources, "libunwind");
  const common = ["-c", "-O2", "-fPIC", "-DNDEBUG", "-D_LIBUNWIND_IS_NATIVE_ONLY", "-D__errno_location=__errno"];
  const parts = ["libunwind.cpp", "UnwindLevel1.c", "UnwindLevel1-gcc-ext.c"];
  const objects = [];
  for (const part of [...parts, "UnwindRegistersSave.S", "UnwindRegistersRestore.S"]) {
    const dialect = part.endsWith(".cpp") ? ["-std=c++17", "-fno-exceptions", "-fno-rtti", "-nostdinc++"] : [];
    objects.push(`${part}.o`);
    const paths = [`-I${join(unwind, "include")}`, join(unwind, "src", part), "-o", `${part}.o`];
    await zig(["cc", ...target, ...common, "-fno-stack-protector", "-funwind-tables", ...dialect, ...paths]);
  }
  await zig(["ar", "crs", "libunwind.a", ...objects]);
  const runtime = ["-target", "aarch64-linux-android", "-OReleaseSmall", "-fPIC", "-lc"];
  await zig(["build-lib", join(sources, "compiler_rt.zig"), ...runtime, "-femit-bin=libcompiler_rt.a"]);

  // cargo's own name of the target means nothing to zig.
  const dropped = `for one; do shift; case $one in --target=*) ;; *) set -- "$@" "$one" ;; esac; done`;
  const compiler = `#!/bin/sh\n${dropped}\nexec ${python} -m ziglang cc ${target.join(" ")} -fno-stack-protector "$@"\n`;
  writeFileSync(join(folder, "cc"), compiler, { mode: 0o755 });
  writeFileSync(join(folder, "ar"), `#!/bin/sh\nexec ${python} -m ziglang ar "$@"\n`, { mode: 0o755 });
  return {
    // Phones with pages of 16 KB map nothing else.
    flags: ["-Clinker=rust-lld", "-Clinker-flavor=ld.lld", `-Lnative=${folder}`].concat(
      ["-zmax-page-size=16384", "-zdefs", "-lcompiler_rt"].map((option) => `-Clink-arg=${option}`),
    ),
    env: { CC_aarch64_linux_android: join(folder, "cc"), AR_aarch64_linux_android: join(folder, "ar") },
  };
}

/** A library that has these names, and nothing behind them. */
async function stub(zig, library, names) {
  const source = `${library}.s`;
  writeFileSync(
    join(folder, source),
    names.map((name) => `.globl ${name}\n.type ${name},%function\n${name}: .quad 0\n.size ${name},8\n`).join(""),
  );
  const options = ["-nostdlib", "-shared", `-Wl,-soname,${library}`];
  if (names.length > 0) {
    writeFileSync(join(folder, `${library}.map`), "LIBC { global: *; };\n");
    options.push(`-Wl,--version-script=${library}.map`);
  }
  await zig(["cc", ...target, ...options, "-o", library, source]);
}

async function declaredNames() {
  const said = await output("cargo", ["metadata", "--locked", "--format-version=1"]);
  const crate = dirname(JSON.parse(said).packages.find(({ name }) => name === "libc").manifest_path);
  const files = declared.flatMap((path) =>
    path.endsWith(".rs") ? [path] : readdirSync(join(crate, path), { recursive: true }).map((name) => join(path, name)),
  );
  return files
    .filter((path) => path.endsWith(".rs"))
    .flatMap((path) => [...readFileSync(join(crate, path), "utf8").matchAll(/^\s+pub (?:fn|static) (\w+)\s*[(:]/gm)])
    .map(([, name]) => name);
}
