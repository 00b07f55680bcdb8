// The memory service: keeps and finds the memories of the access token's owner. Requires Node 22.13 or newer.
//
//   node memory-api.mjs '{"issuer": "https://auth.example.com", "clientId": "…", "clientSecret": "…", "file": "memories.sqlite"}'
//
// Every token is introspected (RFC 7662) at the authorization server, as the client that the service is there. When it
// listens it writes one line of JSON, {"event":"ready","url":"http://127.0.0.1:…"}.
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";

const { issuer, clientId, clientSecret, file = ":memory:", port = 0 } = JSON.parse(process.argv[2] ?? "{}");
const scope = "memory";

const database = new DatabaseSync(file);
database.exec("CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, text TEXT NOT NULL)");
const insert = database.prepare("INSERT INTO memories (owner, text) VALUES (?, ?) RETURNING id, text");
const search = database.prepare(
  "SELECT id, text FROM memories WHERE owner = ? AND instr(lower(text), lower(?)) ORDER BY id",
);

const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();

const server = createServer(async (request, response) => {
  const reply = (status, body, headers = {}) =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  try {
    const owner = await ownerOf(request.headers.authorization);
    const { pathname, searchParams } = new URL(request.url, "http://localhost");
    if (owner === undefined) {
      reply(401, { error: "invalid_token" }, { "www-authenticate": 'Bearer error="invalid_token"' });
    } else if (pathname !== "/memories") {
      reply(404, { error: "not_found" });
    } else if (request.method === "POST") {
      const { text } = JSON.parse(await read(request));
      reply(201, insert.get(owner, String(text)));
    } else {
      reply(200, { memories: search.all(owner, searchParams.get("query") ?? "") });
    }
  } catch (error) {
    reply(500, { error: "server_error" });
    console.error(error.message);
  }
});

/**
 * The owner of the token; undefined if the authorization server does not vouch for it, or it is for another service.
 */
async function ownerOf(authorization = "") {
  const token = /^Bearer (\S+)$/i.exec(authorization)?.[1];
  if (token === undefined) return undefined;
  const credentials = Buffer.from(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`);
  const answer = await fetch(metadata.introspection_endpoint, {
    method: "POST",
    headers: { authorization: `Basic ${credentials.toString("base64")}` },
    body: new URLSearchParams({ token }),
  });
  if (!answer.ok) throw new Error(`Introspection was answered with ${answer.status}`);
  const claims = await answer.json();
  return claims.active && claims.scope?.split(" ").includes(scope) ? claims.sub : undefined;
}

async function read(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > 65_536) throw new Error("The memory is too long");
  }
  return text;
}

server.listen(port, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  console.log(JSON.stringify({ event: "ready", url }));
});
