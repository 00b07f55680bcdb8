// An npm registry on loopback, for one test: everybody may publish, and it knows no other registry.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runServer } from "verdaccio";

/**
 * @param {string} folder Where it keeps what it is given.
 * @returns {Promise<{ origin: string, settings: Record<string, string>, stop: () => void }>} `settings` make npm use it.
 */
export async function startRegistry(folder) {
  mkdirSync(folder, { recursive: true });
  const everybody = { access: "$all", publish: "$all" };
  const server = await runServer({
    self_path: folder,
    storage: join(folder, "storage"),
    auth: { htpasswd: { file: join(folder, "htpasswd"), max_users: -1 } },
    uplinks: {},
    packages: { "**": everybody },
    max_body_size: "100mb",
    log: { type: "file", path: join(folder, "log"), level: "warn" },
    web: { enable: false },
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${server.address().port}`;
  const npmrc = join(folder, "npmrc");
  // npm publishes only with a token, even if the registry asks for none.
  writeFileSync(npmrc, `registry=http://${host}/\n//${host}/:_authToken=nobody\n`);
  return {
    origin: `http://${host}`,
    settings: {
      npm_config_userconfig: npmrc,
      npm_config_globalconfig: join(folder, "none"),
      npm_config_registry: `http://${host}/`,
      npm_config_cache: join(folder, "cache"),
      npm_config_audit: "false",
      npm_config_fund: "false",
      npm_config_update_notifier: "false",
    },
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
