/**
 * A login in a chat, as a picture for the first screen, made from a real run: the kit's own answers, in the host and
 * with the authorization server of `clawdbot-plugin-auth/testing`. Only the address of the server is replaced.
 */
import { pluginAuth } from "../../plugin/index.ts";
import { fakeHost, startAuthorizationServer } from "../../plugin/testing/index.ts";

const shown = "https://auth.example.com";
/** Of a bubble, in letters; of a letter and a line, in pixels. */
const columns = 52;
const width = 8;
const height = 19;

interface Message {
  isOurs: boolean;
  text: string;
}

export async function chatPicture(): Promise<string> {
  const server = await startAuthorizationServer();
  const messages: Message[] = [];
  const host = fakeHost();
  try {
    pluginAuth(host.api, { issuer: server.issuer, scopes: ["memory", "offline_access"], chat: true });
    const say = async (text: string) => {
      messages.push({ isOurs: false, text });
      const config = { channels: { telegram: { allowFrom: ["7001"] } } };
      const sender = { channel: "telegram", senderId: "7001", from: "telegram:7001", to: "telegram:7001", config };
      messages.push({ isOurs: true, text: await host.say(text, sender) });
    };
    await say("/my-memory login");
    await server.approve();
    messages.push({ isOurs: true, text: await host.received(/Logged in.*/) });
    return svg(messages.map(({ text, ...who }) => ({ ...who, text: text.replaceAll(server.issuer, shown) })));
  } finally {
    await host.close();
    await server.close();
  }
}

function svg(messages: Message[]): string {
  const w = columns * width + 90;
  let y = 16;
  const drawn = messages.map(({ isOurs, text }) => {
    const lines = text.split("\n").flatMap(wrapped);
    const longest = Math.max(...lines.map((line) => line.length));
    const [boxWidth, boxHeight] = [Math.round(longest * width + 28), lines.length * height + 18];
    const x = isOurs ? 16 : Math.round(w - boxWidth - 16);
    const [background, ink] = isOurs ? ["#ffffff", "#1f2328"] : ["#2f80ed", "#ffffff"];
    const box = `<rect x="${x}" y="${y}" width="${boxWidth}" height="${boxHeight}" rx="12" fill="${background}"/>`;
    const texts = lines.map((line, at) => {
      const color = line.startsWith("https:") ? "#0969da" : ink;
      if (line === "") return "";
      return `<text x="${x + 14}" y="${y + 23 + at * height}" fill="${color}">${escaped(line)}</text>`;
    });
    y += boxHeight + 10;
    return [box, ...texts.filter((text) => text !== "")].join("\n");
  });
  const h = y + 6;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.round(w)} ${h}" width="${Math.round(w)}" height="${h}" role="img" aria-label="A login in a chat">
<rect width="100%" height="100%" rx="8" fill="#dfe7ef"/>
<g font-family="system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif" font-size="14">
${drawn.join("\n")}
</g>
</svg>
`;
}

/** Lines as long as a bubble is wide, broken between words. */
function wrapped(line: string): string[] {
  const lines = [""];
  for (const word of line.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last !== "" && last.length + word.length >= columns) lines.push(word);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
