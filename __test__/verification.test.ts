/** The instructions that the person sees. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { login, type Verification } from "../index.js";
import { configFor } from "./support/login.ts";
import { ProviderStub } from "./support/provider-stub.ts";
import { decodedQrCode } from "./support/qr-decoder.ts";
import { rejection } from "./support/rejection.ts";
import { TempHome } from "./support/temp-home.ts";

const answer = {
  device_code: "DEVICE-CODE",
  user_code: "WDJB-MJHT",
  verification_uri: "https://example.com/device",
  expires_in: 900,
  interval: 1,
};

for (const uri of [
  "https://example.com/device?user_code=WDJB-MJHT",
  `https://login.example.com/a/long/path/activate?user_code=WDJB-MJHT&client=${"0123456789".repeat(20)}`,
  `https://login.example.com/activate?state=${"0123456789abcdef".repeat(60)}`,
]) {
  test(`the QR code of a URL of ${uri.length} characters can be read`, async (t) => {
    const shown = await verification(t, { ...answer, verification_uri_complete: uri });
    assert.equal(decodedQrCode(shown.qrCode), uri);
    assert.equal(shown.verificationUriComplete, uri);
  });
}

test("without a complete URL the QR code holds the plain one", async (t) => {
  const shown = await verification(t, answer);
  assert.equal(decodedQrCode(shown.qrCode), answer.verification_uri);
  assert.equal(shown.verificationUriComplete, undefined);
  for (const part of [answer.verification_uri, answer.user_code, "minutes"]) {
    assert.ok(shown.message.includes(part), shown.message);
  }
});

test("what a server sends reaches a terminal clean", async (t) => {
  const shown = await verification(t, {
    ...answer,
    user_code: "\u001b[31mWDJB\u202e-MJHT\u0007",
    verification_uri_complete: "javascript:alert(1)",
  });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there
  assert.doesNotMatch(shown.message + shown.userCode, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  assert.equal(shown.verificationUriComplete, undefined);
});

for (const uri of ["javascript:alert(1)", "file:///etc/passwd", "https://user:pass@example.com/", "ms-msdt:x", ""]) {
  test(`a verification URI that is no web page is refused: ${uri}`, async (t) => {
    const home = TempHome.create(t);
    const stub = await ProviderStub.start(t, {
      deviceAuthorization: { status: 200, body: { ...answer, verification_uri: uri } },
    });
    const config = configFor({ issuer: stub.issuer } as never, home.stateDir);
    await rejection(login(config, { onVerification: () => assert.fail("shown") }), "INVALID_RESPONSE");
  });
}

async function verification(t: Parameters<typeof TempHome.create>[0], body: object): Promise<Verification> {
  const home = TempHome.create(t);
  const stub = await ProviderStub.start(t, { deviceAuthorization: { status: 200, body } });
  const config = configFor({ issuer: stub.issuer } as never, home.stateDir);
  const stop = new AbortController();
  return new Promise((resolve, reject) => {
    login(config, {
      onVerification: (shown) => {
        resolve(shown);
        stop.abort();
      },
      signal: stop.signal,
    }).catch(reject);
  });
}
