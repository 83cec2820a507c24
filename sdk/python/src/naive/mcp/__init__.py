"""Naive as an MCP server: `naive mcp` over stdio, and what the platform serves at /mcp. Needs `naive-sdk[mcp]`."""

from importlib.util import find_spec

if find_spec("mcp") is None:
    raise ImportError("naive.mcp needs the official MCP package: pip install 'naive-sdk[mcp]'")
