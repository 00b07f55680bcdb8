/** For the tests of plugins: an authorization server, a host, a login that is there, and a clock. */
export {
  type AuthorizationServerOptions,
  type GrantedLogin,
  startAuthorizationServer,
  type TestAuthorizationServer,
  type TestEndpoint,
  type TestRequest,
} from "./authorization-server.ts";
export { type Clock, clock } from "./clock.ts";
export {
  type CommandAction,
  type CommandResult,
  type FakeHost,
  type FakeHostOptions,
  fakeHost,
  type Plugin,
} from "./fake-host.ts";
export { loggedIn, type TestLogin } from "./logged-in.ts";
