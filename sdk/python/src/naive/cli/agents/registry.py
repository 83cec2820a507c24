"""Every agent that can be set up, by the name that `--agent` takes."""

from naive.cli.agents import aider, claude_code, codex, continue_dev, opencode

AGENTS = {
    "claude-code": claude_code.AGENT,
    "codex": codex.AGENT,
    "opencode": opencode.AGENT,
    "aider": aider.AGENT,
    "continue": continue_dev.AGENT,
}
