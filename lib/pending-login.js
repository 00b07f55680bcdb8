"use strict";

// Logins that are begun in one call and ended in another: one per account in this process, whichever copy of the
// package has begun it. Between processes, and with `login`, the lock of the pending login says the same
// (src/store/pending_login.rs).
const { AuthError } = require("./auth-error.js");
const { shared } = require("./shared.js");

/** Names the account that a login with this config is for. `profileOrder` and `login` are those of index.js. */
async function accountKey({ profileOrder }, config) {
  const { pluginId, stateDir, order } = config ?? {};
  const named = config?.profileId ?? config?.profile;
  const [first] = named === undefined ? (order ?? (await profileOrder(config)) ?? []) : [named];
  const name = `${first ?? "default"}`;
  const places = [config.credentialsPath, config.credentialsFormat, config.agentId, storeId(config)];
  const plain = name.startsWith(`${pluginId}:`) ? name.slice(pluginId.length + 1) : name;
  return JSON.stringify([pluginId, stateDir, plain, ...(places.some((place) => place !== undefined) ? places : [])]);
}

const stores = new WeakMap();

function storeId({ store }) {
  if (typeof store !== "object" || store === null) return undefined;
  if (!stores.has(store)) stores.set(store, `${Math.random()}`);
  return stores.get(store);
}

/** The values that a code depends on: another server, client or scope needs another login. */
function asked(config) {
  const { issuer, flow, redirectUri, deviceAuthorizationEndpoint, authorizationEndpoint, tokenEndpoint } = config;
  const { clientId, scopes, audience, resource, dpop } = config;
  const endpoints = [issuer, flow, redirectUri, deviceAuthorizationEndpoint, authorizationEndpoint, tokenEndpoint];
  return JSON.stringify([...endpoints, clientId, scopes, audience, resource, dpop]);
}

/** The pending login of the account, as `shared.js` describes it: the one under way, or a new one. `owner` names the
 * caller that began it, for callers that let nobody else take part. */
async function sharedLogin(api, config, { redirectUri, owner, onProgress, ...options } = {}) {
  const { pendingLogins } = shared();
  const wanted = redirectUri === undefined ? config : { ...config, redirectUri };
  const key = await accountKey(api, config);
  const running = pendingLogins.get(key);
  if (running !== undefined && (running.asked ?? asked(wanted)) === asked(wanted)) {
    running.listeners?.push(onProgress);
    return running;
  }
  running?.abort();
  const login = start(api, wanted, owner, [onProgress], options);
  pendingLogins.set(key, login);
  const forget = () => {
    if (pendingLogins.get(key) === login) pendingLogins.delete(key);
  };
  login.outcome.then(forget, forget);
  return login;
}

function start({ login }, config, owner, listeners, options) {
  const stop = new AbortController();
  let show;
  const shown = new Promise((resolve) => {
    show = resolve;
  });
  let ask;
  let question;
  const nextQuestion = () => {
    question = new Promise((resolve) => {
      ask = resolve;
    });
  };
  nextQuestion();
  let turn = Promise.resolve();
  const give = async (text) => {
    const asking = await Promise.race([question, outcome]);
    if (typeof asking.answer !== "function") return asking;
    nextQuestion();
    asking.answer(text);
    return Promise.race([outcome, question.then(({ message }) => message)]);
  };
  const outcome = login(config, {
    ...options,
    signal: stop.signal,
    // The caller may be on any machine.
    remote: true,
    onPaste: ({ message }) => new Promise((answer) => ask({ message, answer })),
    onVerification: show,
    onProgress: (event) => {
      for (const listener of listeners) listener?.(event);
    },
  });
  const verification = Promise.race([shown, outcome.then(() => shown)]);
  // The caller that began it may use only one of the two promises.
  outcome.catch(() => {});
  verification.catch(() => {});
  return {
    verification,
    outcome,
    owner,
    listeners,
    pluginId: config.pluginId,
    asked: asked(config),
    waiters: 0,
    // How the login ends, or the question again, which says what was wrong. One after the other: each answers a
    // question.
    paste(text) {
      const answered = turn.then(() => give(text));
      turn = answered.catch(() => {});
      return answered;
    },
    abort: () => stop.abort(),
  };
}

async function beginLogin(api, config, { signal, ...options } = {}) {
  const aborted = () => new AuthError(ABORTED, { cause: signal.reason });
  if (signal?.aborted) throw aborted();
  const unused = ["onVerification", "onPaste", "remote"].find((name) => options[name] !== undefined);
  if (unused !== undefined) throw new AuthError(notForBeginLogin(unused));
  const login = await sharedLogin(api, config, options);
  // Once nobody waits any more, nobody is to be logged in.
  login.waiters += 1;
  const given = new Promise((_resolve, reject) => {
    const leave = () => {
      login.waiters -= 1;
      if (!(login.waiters > 0)) login.abort();
      reject(aborted());
    };
    if (signal?.aborted) leave();
    else signal?.addEventListener("abort", leave, { once: true });
    const forget = () => signal?.removeEventListener("abort", leave);
    login.outcome.then(forget, forget);
  });
  const done = Promise.race([login.outcome, given]);
  done.catch(() => {});
  const verification = await Promise.race([login.verification, given]);
  return {
    verification,
    done,
    async paste(text) {
      if (verification.userCode !== "") throw new AuthError(notTaken("This login takes no paste: enter the code."));
      const answer = await login.paste(text);
      if (typeof answer === "string") throw new AuthError(notTaken(answer.replace(/:$/, ".")));
    },
    cancel: () => login.abort(),
  };
}

const ABORTED = { code: "ABORTED", message: "The operation was aborted.", retryable: false, needsLogin: false };

function notForBeginLogin(name) {
  const message = `\`${name}\` is an option of login. beginLogin returns what it is for: \`verification\`, \`paste\` and \`done\`.`;
  return { code: "INVALID_CONFIG", message, retryable: false, needsLogin: false };
}

function notTaken(message) {
  return { code: "INVALID_RESPONSE", message, retryable: true, needsLogin: false };
}

/** Ends all pending logins of a plugin: it is unloaded, and what is approved from now on must not be stored. */
function endLogins(pluginId) {
  const { pendingLogins } = shared();
  for (const login of [...pendingLogins.values()]) {
    if (login.pluginId === pluginId) login.abort();
  }
}

module.exports = { accountKey, beginLogin, endLogins, sharedLogin };
