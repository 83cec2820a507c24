"""`naive setup`: each agent's files as that agent reads them; nothing lost, nothing shown, nothing done twice."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from naive.cli import running

KEY = "nv_sk_live_0123456789abcdefghijklmnop"
BASE = "https://naive.example"
PROXY = f"{BASE}/v1/proxy/openrouter"
AGENTS = ("claude-code", "codex", "opencode", "aider", "continue")
# Each agent's files, as far as they hold more than keys.
FILES = {
    "claude-code": ".claude/settings.json",
    "codex": ".codex/config.toml",
    "opencode": ".config/opencode/opencode.json",
    "aider": ".aider.conf.yml",
    "continue": ".continue/config.yaml",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "CONTINUE_GLOBAL_DIR",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("HOME", str(tmp_path)), ("NAIVE_API_KEY", KEY), ("NAIVE_BASE_URL", BASE)):
        monkeypatch.setenv(name, value)
    return tmp_path


def put(home: Path, name: str, text: str) -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def setup(agent: str, *more: str) -> int:
    return running.run(["setup", "--agent", agent, *more])


def test_claude_code_is_sent_through_the_proxy(home: Path) -> None:
    path = put(home, FILES["claude-code"], '{"permissions": {"allow": ["Bash"]}, "env": {"FOO": "1"}}')
    assert setup("claude-code") == 0
    found = json.loads(path.read_text())
    assert found["permissions"] == {"allow": ["Bash"]}
    assert found["env"]["FOO"] == "1"
    assert found["env"]["ANTHROPIC_BASE_URL"] == f"{PROXY}/api"
    assert (found["env"]["ANTHROPIC_AUTH_TOKEN"], found["env"]["ANTHROPIC_API_KEY"]) == (KEY, "")
    assert found["env"]["ANTHROPIC_MODEL"] == "anthropic/claude-sonnet-4.6"


def test_codex_gets_a_provider_and_keeps_what_it_had(home: Path) -> None:
    text = '# mine\nmodel = "gpt-5" # old\napproval_policy = "never"\n\n[mcp_servers.x]\ncommand = "[x]"\n'
    path = put(home, FILES["codex"], text)
    assert setup("codex", "--model", "openai/gpt-5.2") == 0
    found = tomllib.loads(path.read_text())
    assert (found["model"], found["model_provider"]) == ("openai/gpt-5.2", "naive")
    assert found["mcp_servers"] == {"x": {"command": "[x]"}}
    provider = found["model_providers"]["naive"]
    assert provider == {
        "name": "Naive",
        "base_url": PROXY,
        "env_key": "NAIVE_API_KEY",
        "wire_api": "responses",
    }
    assert path.read_text().startswith("# mine\n")
    assert (home / ".codex/.env").read_text() == f"NAIVE_API_KEY={KEY}\n"


def test_codex_table_of_before_is_replaced_where_it_stands(home: Path) -> None:
    old = '[model_providers.naive]\nbase_url = "http://old"\nextra = 1\n\n[model_providers.other]\nname = "Other"\n'
    path = put(home, FILES["codex"], old)
    assert setup("codex") == 0
    found = tomllib.loads(path.read_text())["model_providers"]
    assert found["other"] == {"name": "Other"}
    assert "extra" not in found["naive"]


@pytest.mark.parametrize(
    "text",
    [
        'model_providers = { naive = { name = "x" } }\n',
        'notes = """\n[model_providers.naive]\n"""\n',
        "model_provider = \n",
    ],
)
def test_codex_file_that_cannot_be_edited_is_left_alone(
    text: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(home, FILES["codex"], text)
    assert setup("codex") == 1
    assert path.read_text() == text
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["code"] == "cannot_edit"
    assert 'env_key = "NAIVE_API_KEY"' in told["hints"][0]
    assert not (home / ".codex/.env").exists()


def test_opencode_gets_a_provider_and_its_key_where_connect_keeps_them(home: Path) -> None:
    secrets = put(
        home, ".local/share/opencode/auth.json", '{"openai": {"type": "oauth", "refresh": "r-secret"}}'
    )
    assert setup("opencode") == 0
    found = json.loads((home / FILES["opencode"]).read_text())
    provider = found["provider"]["naive"]
    assert (provider["npm"], provider["options"]) == ("@ai-sdk/openai-compatible", {"baseURL": PROXY})
    assert found["model"] == "naive/anthropic/claude-sonnet-4.6"
    assert found["model"].removeprefix("naive/") in provider["models"]
    kept = json.loads(secrets.read_text())
    assert kept["naive"] == {"type": "api", "key": KEY}
    assert kept["openai"]["refresh"] == "r-secret"


def test_opencode_file_with_comments_is_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(home, FILES["opencode"], '{\n  // mine\n  "theme": "x"\n}\n')
    assert setup("opencode") == 1
    assert "// mine" in path.read_text()
    assert KEY not in capsys.readouterr().out


def test_aider_is_told_address_key_and_model(home: Path) -> None:
    path = put(home, FILES["aider"], "# mine\nmodel: gpt-4o # old\nread: [a.md]\nauto-commits: false\n")
    assert setup("aider") == 0
    found = yaml.safe_load(path.read_text())
    assert found["model"] == "openai/anthropic/claude-sonnet-4.6"
    assert (found["openai-api-base"], found["openai-api-key"]) == (PROXY, KEY)
    assert (found["auto-commits"], found["read"]) == (False, ["a.md"])


def test_aider_value_of_several_lines_is_left_alone(home: Path) -> None:
    path = put(home, FILES["aider"], "model: >\n  gpt-4o\n")
    assert setup("aider") == 1
    assert path.read_text() == "model: >\n  gpt-4o\n"


@pytest.mark.parametrize("margin", ["", "  ", "    "])
def test_continue_gets_one_more_model(margin: str, home: Path) -> None:
    item = "".join(f"{margin}{line}\n" for line in ("- name: GPT", "  provider: openai", "  model: gpt-4o"))
    path = put(
        home,
        FILES["continue"],
        f"name: Mine\nversion: 1.0.0\nschema: v1\nmodels:\n{item}\nrules:\n  - kind\n",
    )
    assert setup("continue") == 0
    found = yaml.safe_load(path.read_text())
    assert [model["name"] for model in found["models"]] == ["GPT", "Naive"]
    own = found["models"][1]
    assert (own["provider"], own["apiBase"]) == ("openai", PROXY)
    assert own["apiKey"] == "${{ secrets.NAIVE_API_KEY }}"
    assert own["roles"] == ["chat", "edit", "apply"]
    assert found["rules"] == ["kind"]
    assert setup("continue", "-m", "openai/gpt-5.2") == 0
    again = yaml.safe_load(path.read_text())
    assert [model["model"] for model in again["models"]] == ["gpt-4o", "openai/gpt-5.2"]
    assert again["rules"] == ["kind"]


def test_continue_without_a_file_gets_a_whole_one(home: Path) -> None:
    assert setup("continue") == 0
    found = yaml.safe_load((home / FILES["continue"]).read_text())
    assert {"name", "version", "schema", "models"} == set(found)


@pytest.mark.parametrize("agent", AGENTS)
def test_second_time_changes_nothing_and_the_first_kept_what_was_there(agent: str, home: Path) -> None:
    begun = {"aider": "dark-mode: true\n", "continue": "name: Mine\n", "codex": 'model = "x"\n'}.get(
        agent, "{}"
    )
    path = put(home, FILES[agent], begun)
    assert setup(agent) == 0
    after = {file: file.read_text() for file in home.rglob("*") if file.is_file()}
    assert path.with_name(f"{path.name}.backup-1").read_text() == begun
    assert setup(agent) == 0
    assert {file: file.read_text() for file in home.rglob("*") if file.is_file()} == after
    assert {file.stat().st_mode & 0o077 for file in after} == {0}


@pytest.mark.parametrize("agent", AGENTS)
def test_dry_run_shows_what_would_change_and_changes_nothing(
    agent: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup(agent, "--dry-run") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)["result"]
    assert "naive.example" in "".join(told["changes"].values())
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("agent", AGENTS)
def test_no_key_is_ever_shown(agent: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = "theirs-0123456789"
    put(home, FILES["claude-code"], f'{{"env": {{"A": "b", "ANTHROPIC_AUTH_TOKEN": "{theirs}"}}}}')
    put(home, FILES["codex"], f'[model_providers.x]\nexperimental_bearer_token = "{theirs}"\n')
    put(home, ".codex/.env", f"SOMETHING={theirs}\n")
    put(home, ".local/share/opencode/auth.json", f'{{"x": {{"access": "{theirs}"}}}}')
    put(home, FILES["aider"], f"anthropic-api-key: {theirs}\nmodel: x\n")
    put(home, FILES["continue"], f"models:\n  - name: X\n    apiKey: {theirs}\n")
    for more in (["--dry-run"], [], ["--no-json", "--dry-run", "-m", "a/b"]):
        assert setup(agent, *more) == 0
    shown = "".join(capsys.readouterr())
    assert KEY not in shown
    assert theirs not in shown


def test_file_that_is_a_link_stays_one(home: Path) -> None:
    real = put(home, "dotfiles/settings.json", "{}")
    link = home / FILES["claude-code"]
    link.parent.mkdir()
    link.symlink_to(real)
    assert setup("claude-code") == 0
    assert link.is_symlink()
    assert json.loads(real.read_text())["env"]["ANTHROPIC_AUTH_TOKEN"] == KEY


def test_agent_nobody_knows_is_a_mistake_that_names_those_there_are(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup("emacs") == 2
    assert "'claude-code', 'codex', 'opencode', 'aider', 'continue'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("claude-code", '{"env": ["A=1"]}'), ("claude-code", '{"a": 1, "a": 2}'), ("claude-code", '{"a": 1e400}'),
        ("claude-code", '{"a": NaN}'), ("claude-code", '{"a": "\\ud83d"}'), ("claude-code", "[" * 100_000),
        ("codex", "[[model_providers]]\na = 1\n"), ("codex", 'model_providers = "a"\n'),
        ("aider", "{model: a, dark-mode: true}\n"), ("aider", "model: a\nmodel: b\n"), ("aider", "- a\n"),
        ("aider", "---\nmodel: a\n...\n"), ("aider", "a: 1\n---\nb: 2\n"), ("aider", "? model\n: a\n"),
        ("aider", "only words\n"), ("continue", '{"models": []}\n'),
    ],
)  # fmt: skip
def test_file_of_which_something_would_be_lost_is_left_alone(
    agent: str, text: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(home, FILES[agent], text)
    assert setup(agent) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "cannot_edit"
    assert path.read_text() == text
    assert [found for found in home.rglob("*") if found.is_file()] == [path]


@pytest.mark.parametrize(
    ("agent", "name", "text"),
    [
        ("aider", FILES["aider"], 'a: "one\u2028line"\r\nb:\r\n- c\r\n"d": e\r\n'),
        ("codex", FILES["codex"], 'a = "one\u2028line"\r\nb = 2\r\n'),
        ("codex", ".codex/.env", "A='one\u2028line'\r\nB=2\r\n"),
        ("continue", FILES["continue"], '---\r\na: "one\x85line"\r\n'),
    ],
)
def test_lines_of_others_stay_byte_for_byte(agent: str, name: str, text: str, home: Path) -> None:
    path = put(home, name, "")
    path.write_bytes(text.encode())
    assert setup(agent) == 0
    after = path.read_bytes().decode()
    assert after.startswith(text)
    assert after.count("\n") == after.count("\r\n")
