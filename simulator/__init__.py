"""OpenRouter's stand-in: an own process that imitates its HTTP API, keeps books and fails on demand."""
