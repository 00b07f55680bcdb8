/**
 * The real authorization server, speaking https under a name that exists nowhere: only the right proxy finds it. And
 * the whole life of a login there, to be seen in the proxy's log.
 */
import assert from "node:assert/strict";
import type { AuthConfig } from "../../index.js";
import { AuthorizationServer, type LoggedRequest } from "./authorization-server.ts";
import { CertificateAuthority } from "./certificate-authority.ts";
import type { Lifetime } from "./lifetime.ts";
import { complete } from "./login.ts";
import { Person } from "./person.ts";
import type { PluginProcess } from "./plugin-process.ts";
import { StoredCredential } from "./stored-credential.ts";
import { TempHome } from "./temp-home.ts";

export class HiddenServer {
  readonly authority: CertificateAuthority;
  readonly server: AuthorizationServer;
  /** host:port by its name, and where it really is. */
  readonly named: string;
  readonly real: string;

  static async start(
    lifetime: Lifetime,
    { host = "auth.invalid", authority: known }: { host?: string; authority?: CertificateAuthority } = {},
  ): Promise<HiddenServer> {
    const authority = known ?? (await CertificateAuthority.create(TempHome.create(lifetime).path));
    const tls = await authority.issue({ names: [host, "127.0.0.1"] });
    return new HiddenServer(authority, await AuthorizationServer.start(lifetime, { tls, host }), host);
  }

  private constructor(authority: CertificateAuthority, server: AuthorizationServer, host: string) {
    this.authority = authority;
    this.server = server;
    this.named = new URL(server.origin).host;
    this.real = this.named.replace(host, "127.0.0.1");
  }

  /** The names and addresses that a proxy needs to find it. */
  get resolve(): Record<string, string> {
    return { [this.named]: this.real };
  }

  /** Without a client: it registers one. */
  config(home: TempHome, more: Partial<AuthConfig> = {}): AuthConfig {
    const scopes = ["memory", "offline_access"];
    return { pluginId: "memory", issuer: this.server.issuer, scopes, stateDir: home.stateDir, ...more };
  }

  /** The person's browser needs no proxy. */
  approve(verificationUriComplete: string): Promise<void> {
    const person = new Person({ ca: this.authority.certificate });
    return person.approve(verificationUriComplete.replace(this.named, this.real));
  }

  /**
   * Discovery, registration, device authorization, polling, refresh because of age, refresh because of a rejected
   * token, logout with revocation. Gives the requests that the server got, in order: it serves nobody else.
   */
  async wholeLife(plugin: PluginProcess, home: TempHome): Promise<LoggedRequest[]> {
    const config = this.config(home);
    const loggedIn = plugin.login(config);
    const verification = await Promise.race([plugin.verification(), loggedIn.then(() => assert.fail("no code"))]);
    await this.approve(complete(verification));
    assert.equal((await loggedIn).state, "valid");
    const first = await plugin.accessToken(config);
    new StoredCredential(home.credentialPath("memory")).expire();
    const second = await plugin.accessToken(config);
    assert.notEqual(second, first);
    assert.notEqual(await plugin.accessToken(config, { rejectedToken: second }), second);
    assert.deepEqual(await plugin.call("logout", [config]), { revoked: true, removed: true });
    // The person's are pages.
    const requests = (await this.server.requests()).filter(({ endpoint }) => endpoint !== "page");
    const steps = new Set(requests.map(({ endpoint, grant }) => grant ?? endpoint));
    assert.deepEqual(
      [...steps],
      ["discovery", "registration", "device_authorization", "device_code", "refresh_token", "revocation"],
    );
    return requests;
  }
}
