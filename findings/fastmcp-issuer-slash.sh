#!/usr/bin/env bash
# FastMCP 4.2.3 beside mcp 2.3.0 on Starlette 1.10, November 2026.
#
# Given the same address without a slash at its end, FastMCP's own authorization server names itself with one in its metadata:
# base_url="http://127.0.0.1:8000" becomes {"issuer": "http://127.0.0.1:8000/"}. RFC 8414 section 3.3 has clients compare the two as
# texts, so whoever configures the address as it was given to FastMCP has to be told that the slash alone differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fastmcp==4.2.3 mcp==2.3.0 httpx
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from starlette.testclient import TestClient

given = "http://127.0.0.1:8000"
app = FastMCP("tea", auth=InMemoryOAuthProvider(base_url=given)).http_app()
with TestClient(app, base_url=given) as client:
    named = client.get("/.well-known/oauth-authorization-server").json()["issuer"]
print(f"given {given}, named {named}")
sys.exit(0 if named == f"{given}/" else 1)
PYTHON
