#!/usr/bin/env bash
# mcp 2.3.0 (the official Python SDK of MCP), November 2026.
#
# Its authorization server compares redirect URIs as whole texts, also on loopback. A client that has registered
# http://127.0.0.1/callback is refused with http://127.0.0.1:<port>/callback: HTTP 400 in the browser, and no redirect. RFC 8252
# section 7.3: the server "MUST allow any port to be specified at the time of the request for loopback IP redirect URIs".
# A native app that registers itself has to take its port first and register the URI with it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mcp==2.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

client = OAuthClientInformationFull.model_validate(
    {"client_id": "c", "redirect_uris": ["http://127.0.0.1/callback"], "application_type": "native"}
)
seen = {}
for uri in ["http://127.0.0.1/callback", "http://127.0.0.1:50123/callback"]:
    try:
        client.validate_redirect_uri(AnyUrl(uri))
        seen[uri] = "accepted"
    except Exception as error:
        seen[uri] = f"refused: {error}"
    print(uri, seen[uri])
outcomes = [outcome.split(":")[0] for outcome in seen.values()]
sys.exit(0 if outcomes == ["accepted", "refused"] else 1)
PYTHON
