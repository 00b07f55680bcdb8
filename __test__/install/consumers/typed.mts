// The code of a user with TypeScript. Compiled by each way of resolving modules, as ES module and as CommonJS.
import auth, { type AuthConfig, AuthError, type AuthStatus, getValidAccessToken, status } from "clawdbot-plugin-auth";

const config: AuthConfig = { pluginId: "consumer", issuer: "https://auth.example.com", stateDir: process.cwd() };

async function main(): Promise<void> {
  const answer: AuthStatus = await status(config);
  if (answer.state !== "logged_out" || auth.status !== status) throw new Error(answer.state);
  try {
    const token: string = await getValidAccessToken(config);
    throw new Error(`a token without a login: ${token.length}`);
  } catch (error) {
    if (!(error instanceof AuthError) || error.code !== "LOGIN_REQUIRED") throw error;
  }
  // @ts-expect-error A config without pluginId.
  const incomplete: AuthConfig = { issuer: "https://auth.example.com" };
  // @ts-expect-error No such code.
  const impossible: AuthError["code"] = "NO_SUCH_CODE";
  void [incomplete, impossible];
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});

declare const process: { cwd(): string; exitCode: number };
