// First, so that where nothing works, this says why.
import "./index.js";
import kit from "./dist/index.js";

export const { configSchema, deviceCodeAuthMethod, loginNeeded, pluginAuth, refreshOAuth, uiHints } = kit;
