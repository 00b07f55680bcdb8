/** The part of a plugin's configuration that its users may set, for `configSchema` and `uiHints` of the manifest. */

/** JSON Schema of `plugins.entries.<id>.config`. Spread `properties` into your own where you have more. */
export const configSchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    issuer: { type: "string", description: "The authorization server, where it is not the plugin's own." },
    clientId: { type: "string", description: "The OAuth client, where the plugin is not to register one by itself." },
    clientSecret: { type: "string", description: "The secret of that client, where it has one." },
  },
} as const;

/** How the hosts show these members. */
export const uiHints = {
  issuer: { label: "Authorization server", placeholder: "https://auth.example.com", advanced: true },
  clientId: { label: "OAuth client id", advanced: true },
  clientSecret: { label: "OAuth client secret", sensitive: true, advanced: true },
} as const;
