/**
 * Proxies as companies have them: tinyproxy, squid and mitmproxy, on a free port of loopback, with a log of their own.
 * They know one name that exists nowhere else, that of the server behind them.
 *
 *     const proxy = await RealProxy.start(t, "squid", { name: "auth.test", credentials: { user: "ada", password: "p@ss" } });
 *     … HTTPS_PROXY: proxy.url …
 *     assert.deepEqual(proxy.log(), ["CONNECT auth.test:8443"]);
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import net, { type AddressInfo } from "node:net";
import { join } from "node:path";
import { debianProxies, proxyPrograms } from "../../scripts/proxies.mjs";
import type { Lifetime } from "./lifetime.ts";
import { HttpProxy } from "./proxy.ts";
import { TempHome } from "./temp-home.ts";

export type ProxyKind = "tinyproxy" | "squid" | "mitmproxy";

export interface Credentials {
  user: string;
  password: string;
}

export interface RealProxyOptions {
  /** host:port that it knows, and where that is on loopback. tinyproxy and mitmproxy also know what is added later. */
  resolve: Record<string, string>;
  /** The credentials that it demands. */
  credentials?: Credentials;
  /** PEM file of the authority that mitmproxy believes; it opens the TLS of others and reads along. */
  authority?: string;
}

/** How one program is configured, and how its log reads. */
interface Manner {
  program: string;
  args: string[];
  log: RegExp;
  /** The log's file; its output otherwise. */
  logFile?: string;
}

export class RealProxy {
  readonly url: string;
  readonly #logged: () => string;
  readonly #pattern: RegExp;
  /** The authority by which mitmproxy signs the certificates that it makes up. */
  readonly authority: string;

  /** Why this kind is missing here; false where it is installed. */
  static unavailable(kind: ProxyKind): string | false {
    return existsSync(program(kind)) ? false : `${kind} is not there: node scripts/check.mjs installs it on Debian`;
  }

  static async start(lifetime: Lifetime, kind: ProxyKind, options: RealProxyOptions): Promise<RealProxy> {
    const home = TempHome.create(lifetime);
    // squid gives up root, and still has to reach its own folder.
    chmodSync(home.path, 0o711);
    const folder = join(home.path, "proxy");
    mkdirSync(folder);
    chmodSync(folder, 0o777);
    const port = await freePort();
    const { program: path, args, log, logFile } = await manners[kind](lifetime, { folder, port, ...options });
    const child = spawn(path, args, {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, LD_LIBRARY_PATH: libraries() },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    lifetime.after(() => end(child));
    await listening(child, port, () => output);
    const logged = logFile === undefined ? () => output : () => readFileSync(logFile, "utf8");
    return new RealProxy(`http://127.0.0.1:${port}`, logged, log, join(folder, "mitmproxy-ca-cert.pem"));
  }

  private constructor(url: string, logged: () => string, pattern: RegExp, authority: string) {
    this.url = url;
    this.#logged = logged;
    this.#pattern = pattern;
    this.authority = authority;
  }

  /** Its URL with these in it, reserved characters encoded. */
  as({ user, password }: Credentials): string {
    return this.url.replace("//", `//${encodeURIComponent(user)}:${encodeURIComponent(password)}@`);
  }

  /** The requests so far: "CONNECT host:port", or method and path where it reads along. */
  log(): string[] {
    return [...this.#logged().matchAll(this.#pattern)].map(({ groups }) => `${groups?.method} ${groups?.target}`);
  }
}

interface Setting extends RealProxyOptions {
  folder: string;
  port: number;
}

const manners: Record<ProxyKind, (lifetime: Lifetime, setting: Setting) => Promise<Manner>> = {
  async tinyproxy(lifetime, { folder, port, credentials, resolve }) {
    // It asks the system for names: another proxy behind it knows this one.
    const behind = new URL((await HttpProxy.start(lifetime, { resolve })).url);
    const logFile = join(folder, "tinyproxy.log");
    const configuration = join(folder, "tinyproxy.conf");
    writeFileSync(
      configuration,
      [
        `Port ${port}`,
        "Listen 127.0.0.1",
        "Timeout 60",
        `LogFile "${logFile}"`,
        "LogLevel Connect",
        "MaxClients 50",
        `Upstream http ${behind.host}`,
        ...(credentials ? [`BasicAuth ${credentials.user} ${credentials.password}`] : []),
        "",
      ].join("\n"),
    );
    writeFileSync(logFile, "");
    chmodSync(logFile, 0o666);
    return {
      program: program("tinyproxy"),
      args: ["-d", "-c", configuration],
      logFile,
      log: /Request \(file descriptor \d+\): (?<method>CONNECT) (?<target>\S+) HTTP/g,
    };
  },

  async squid(_lifetime, { folder, port, credentials, resolve }) {
    const configuration = join(folder, "squid.conf");
    const hosts = join(folder, "hosts");
    const accessLog = join(folder, "access.log");
    const passwords = join(folder, "passwords");
    const share = join(debianProxies.folder, "usr/share/squid");
    writeFileSync(
      hosts,
      Object.keys(resolve)
        .map((name) => `127.0.0.1 ${name.split(":")[0]}\n`)
        .join(""),
    );
    if (credentials) {
      const hash = createHash("md5").update(credentials.password).digest("hex");
      writeFileSync(passwords, `${credentials.user}:${hash}\n`);
    }
    const helper = join(debianProxies.folder, "usr/lib/squid/basic_ncsa_auth");
    writeFileSync(
      configuration,
      [
        `http_port 127.0.0.1:${port}`,
        "visible_hostname proxy.test",
        `hosts_file ${hosts}`,
        `access_log stdio:${accessLog}`,
        `cache_log ${join(folder, "cache.log")}`,
        `pid_filename ${join(folder, "squid.pid")}`,
        `coredump_dir ${folder}`,
        `mime_table ${join(share, "mime.conf")}`,
        `error_directory ${join(debianProxies.folder, "usr/share/squid-langpack/English")}`,
        `icon_directory ${join(share, "icons")}`,
        `unlinkd_program ${join(debianProxies.folder, "usr/lib/squid/unlinkd")}`,
        "cache deny all",
        "cache_mem 8 MB",
        "shutdown_lifetime 0 seconds",
        "pinger_enable off",
        ...(credentials
          ? [
              `auth_param basic program ${helper} ${passwords}`,
              "auth_param basic children 2 startup=1",
              "auth_param basic realm proxy",
              "acl known proxy_auth REQUIRED",
              "http_access allow known",
              "http_access deny all",
            ]
          : ["http_access allow all"]),
        "",
      ].join("\n"),
    );
    return {
      program: program("squid"),
      args: ["-N", "-f", configuration],
      logFile: accessLog,
      log: /TCP_\w+\/\d+ \d+ (?<method>CONNECT) (?<target>\S+)/g,
    };
  },

  async mitmproxy(lifetime, { folder, port, credentials, resolve, authority }) {
    const behind = await HttpProxy.start(lifetime, { resolve });
    return {
      program: program("mitmproxy"),
      args: [
        ...["--mode", `upstream:${behind.url}`, "--listen-host", "127.0.0.1", "--listen-port", `${port}`],
        ...["--set", `confdir=${folder}`, "--set", "flow_detail=2", "--set", "showhost=true", "--no-http2"],
        ...(authority ? ["--set", `ssl_verify_upstream_trusted_ca=${authority}`] : []),
        ...(credentials ? ["--proxyauth", `${credentials.user}:${credentials.password}`] : []),
      ],
      log: /: (?<method>GET|POST) https:\/\/[^/\s]+(?<target>\/\S*)/g,
    };
  },
};

function program(kind: ProxyKind): string {
  return proxyPrograms[kind === "mitmproxy" ? "mitmdump" : kind];
}

/** The libraries that squid needs and this machine may lack. */
function libraries(): string {
  const { libraries: folder } = debianProxies;
  const architectures = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith("-linux-gnu")) : [];
  return architectures.map((name) => join(folder, name)).join(":");
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Resolves as soon as something accepts connections there. */
async function listening(child: ChildProcess, port: number, output: () => string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`The proxy did not start:\n${output()}`);
    }
    const socket = net.connect(port, "127.0.0.1");
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  }
}
