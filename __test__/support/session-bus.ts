/** A D-Bus session bus of its own, in the home of the test. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Lifetime } from "./lifetime.ts";
import type { TempHome } from "./temp-home.ts";

/** The bus starts no services by itself: a service that a test kills stays dead. */
const busConfiguration = (socket: string) => `<busconfig>
  <type>session</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;

export class SessionBus {
  readonly address: string;
  /** The variables that lead to it. */
  readonly env: Record<string, string>;
  /** Ends the session. */
  readonly end: () => Promise<void>;

  static async start(lifetime: Lifetime, home: TempHome): Promise<SessionBus> {
    const runtime = join(home.path, "run");
    mkdirSync(runtime, { mode: 0o700 });
    const [socket, file] = [join(runtime, "bus"), join(runtime, "bus.conf")];
    writeFileSync(file, busConfiguration(socket));
    const bus = spawn("dbus-daemon", [`--config-file=${file}`, "--nofork", "--nopidfile", "--print-address=1"], {
      env: home.env(),
      stdio: ["ignore", "pipe", "ignore"],
    });
    const ended = once(bus, "close");
    const end = async () => {
      bus.kill("SIGKILL");
      await ended;
    };
    lifetime.after(end);
    const [address] = (await once(bus.stdout, "data")) as [Buffer];
    return new SessionBus(address.toString().trim(), runtime, end);
  }

  /** The bus that another process has started. */
  static given(env: NodeJS.ProcessEnv): SessionBus {
    const { DBUS_SESSION_BUS_ADDRESS: address = "", XDG_RUNTIME_DIR: runtime = "" } = env;
    return new SessionBus(address, runtime, async () => {});
  }

  private constructor(address: string, runtime: string, end: () => Promise<void>) {
    this.address = address;
    this.end = end;
    this.env = { DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: runtime };
  }
}
