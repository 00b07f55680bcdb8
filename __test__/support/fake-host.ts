// For tests that are under way elsewhere.
export { FakeHost, type FakeHostOptions } from "../../plugin/testing/fake-host.ts";
