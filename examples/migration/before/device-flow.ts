import { save, type Tokens } from "./store.ts";

export interface Server {
  issuer: string;
  clientId: string;
}

interface Answer {
  error?: string;
  access_token: string;
  refresh_token: string;
  expires_in: number;
}

async function post(url: string, form: Record<string, string>): Promise<Answer & Record<string, string & number>> {
  return (await fetch(url, { method: "POST", body: new URLSearchParams(form) })).json() as never;
}

function kept(answer: Answer): Tokens {
  const { access_token, refresh_token, expires_in } = answer;
  const tokens = { access_token, refresh_token, expires_at: Math.floor(Date.now() / 1000) + expires_in };
  save(tokens);
  return tokens;
}

export async function login({ issuer, clientId }: Server, print: (text: string) => void): Promise<void> {
  const scope = "menu offline_access";
  const device = await post(`${issuer}/device_authorization`, { client_id: clientId, scope });
  print(`Open ${device.verification_uri} and enter ${device.user_code}`);
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, Number(device.interval ?? 5) * 1000));
    const answer = await post(`${issuer}/token`, {
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      device_code: `${device.device_code}`,
      client_id: clientId,
    });
    if (answer.error === undefined) {
      kept(answer);
      return;
    }
    if (answer.error !== "authorization_pending") {
      throw new Error(`Login failed: ${answer.error}`);
    }
  }
}

export async function refresh({ issuer, clientId }: Server, tokens: Tokens): Promise<Tokens> {
  const { refresh_token } = tokens;
  const answer = await post(`${issuer}/token`, { grant_type: "refresh_token", refresh_token, client_id: clientId });
  if (answer.error !== undefined) {
    throw new Error(`Refresh failed: ${answer.error}`);
  }
  return kept(answer);
}
