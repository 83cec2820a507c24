"""The OpenAPI document of both planes: made from what the routes are checked by, and written to docs/openapi.json."""
