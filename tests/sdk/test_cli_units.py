"""`naive` in this process: what it decides by itself, and what is kept between two runs."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import typer

from naive import errors
from naive.cli import advice, answers, config, exits, figures, models, root, running
from naive.cli.answers import Answer
from naive.cli.terminal import Column, Terminal

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = "nv_sk_live_0123456789abcdefghijklmnop"
# What no page of help and no mistake may need.
HEAVY = ("httpx", "pydantic", "anyio", "asyncio", "naive.types", "rich.markdown", "mcp")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where nobody is signed in, and a platform that is not there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NAIVE_API_KEY", raising=False)
    monkeypatch.setenv("NAIVE_BASE_URL", "http://127.0.0.1:9")
    return tmp_path


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from naive.cli import running; running.run(['--help']); "
        f"print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert "account-kits" in done.stdout


@pytest.mark.parametrize("name", root.NOUNS)
def test_every_noun_has_a_page_of_help_for_each_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = typer.Context(running.command())
    _, noun, _ = running.command().resolve_command(context, [name])
    for command in (None, *getattr(noun, "commands", {})):
        assert running.run([name, *([command] if command else []), "--help"]) == 0
        page = capsys.readouterr().out
        assert f"naive {name}{f' {command}' if command else ''} " in page
        assert "-h, --help" in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lm"], "Did you mean 'llm'?"),
        (["users", "lst"], "Did you mean 'list'?"),
        (["users", "list", "--serch", "x"], "No such option: --serch"),
        (["llm", "chat", "Hello"], "Missing option '--model'"),
        (
            ["keys", "create", "x", "--role", "boss"],
            "'boss' is not one of 'owner', 'admin', 'member', 'viewer'.",
        ),
        (["keys", "create", "x", "--cap-credits", "NaN"], "is no amount"),
        (["keys", "create", "x", "--expires-in", "soon"], "say 15m, 24h, 30d or 2w"),
        (["users", "get", ".."], "is no id"),
        (["users", "create", "--metadata", "[1]"], "is no JSON object"),
        (["account-kits", "assign", "k"], "Say who"),
    ],
)
def test_mistake_is_2_and_one_json_object_in_a_pipe(
    arguments: list[str], told: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.run(arguments) == exits.USAGE
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert told in found["error"]["message"]
    assert (found["success"], found["result"], found["error"]["exit_code"], err) == (False, None, 2, "")


def test_mistake_is_told_to_people_on_stderr_with_the_next_command(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.run(["--no-json", "users", "lst"]) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: No such command 'lst'. Did you mean 'list'?\n  → naive users --help\n"


def test_misspelt_option_finds_the_one_that_was_meant(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert running.run(["llm", "chat", "--modle", "x"]) == exits.USAGE
    assert json.loads(capsys.readouterr().out)["hints"] == ["Did you mean --model?"]


def test_platform_that_is_away_is_1_and_leads_to_the_doctor(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAIVE_API_KEY", KEY)
    assert running.run(["mcp", "--help"]) == 0
    capsys.readouterr()
    assert running.run(["doctor"]) == exits.ERROR
    assert json.loads(capsys.readouterr().out)["next_steps"] == ["naive --base-url URL doctor"]


def test_password_is_no_option_and_nobody_is_asked_in_a_pipe(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.run(["login", "--email", "a@b.example", "--password", "hunter2222"]) == exits.USAGE
    assert "hunter2222" not in capsys.readouterr().out
    assert running.run(["login", "--email", "a@b.example"]) == exits.USAGE
    assert json.loads(capsys.readouterr().out)["hints"] == ["Pipe it in, with --password-stdin."]


def test_what_cannot_be_undone_is_not_done_unasked(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAIVE_API_KEY", KEY)
    assert running.run(["keys", "revoke", "some-key"]) == exits.USAGE
    assert json.loads(capsys.readouterr().out)["hints"] == ["Say --yes if you mean it."]


def test_configuration_is_private_and_comes_back_as_it_was(home: Path) -> None:
    path = home / ".naive/config.json"
    path.parent.mkdir(mode=0o755)
    kept = config.Config()
    kept.keep(base_url="https://a.example", company_id="1", name="Acme", api_key=KEY)
    config.write(kept)
    assert config.read() == kept
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]
    assert KEY not in repr(kept)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"base_url": "x"}', '{"base_url": "x", "hosts": {"y": 1}}'])
def test_configuration_that_is_broken_is_told_and_not_overwritten(
    text: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAIVE_BASE_URL")
    path = home / ".naive/config.json"
    path.parent.mkdir()
    path.write_text(text)
    assert running.run(["status"]) == exits.ERROR
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "invalid_config"
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AuthenticationError("x", status=401), 4),
        (errors.InsufficientCreditsError("x", status=402), 5),
        (errors.PermissionDeniedError("x", status=403, details={"reason": "key_scope"}), 4),
        (errors.PermissionDeniedError("x", status=403, details={"reason": "model_not_allowed_by_kit"}), 1),
        (errors.RateLimitError("x", status=429), 1),
        (errors.APIConnectionError("x"), 1),
    ],
)
def test_exit_codes_say_whether_a_key_or_credits_would_help(error: errors.NaiveError, code: int) -> None:
    assert exits.code(error) == code


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.000000001"), "0.000000001"),
        (Decimal("1250.500"), "1,250.5"),
        (Decimal("20"), "20"),
        (Decimal("1E+3"), "1,000"),
        (Decimal("-0.0008175"), "-0.0008175"),
        (None, "-"),
    ],
)
def test_amounts_are_exact(value: Decimal | None, text: str) -> None:
    assert figures.amount(value) == text


def test_text_of_others_does_not_act_on_the_terminal() -> None:
    assert figures.safe("a\x1b[2Jb\x07\r\x9bc\u202ed\n\te") == "a[2Jbcd\n\te"
    assert figures.line("two\nlines\x1b]0;x\x07") == "two lines]0;x"


HOSTILE = "a\x1b]0;b\x07\x1b[31m\x9bc\u202ed"
BARE = "a]0;b[31mcd"


def test_nothing_that_is_shown_acts_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Terminal(is_json=False)
    shown.print(HOSTILE)
    shown.head(HOSTILE, HOSTILE)
    shown.done(HOSTILE)
    shown.facts([(HOSTILE, HOSTILE)])
    shown.table([HOSTILE], [Column("title", str)], empty="")
    shown.write(HOSTILE)
    advice.show(shown, errors.NaiveError(HOSTILE, code=HOSTILE, hint=HOSTILE, request_id=HOSTILE), [HOSTILE])
    told = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e") & set(told.out + told.err)
    assert (told.out.count(BARE), told.err.count(BARE)) == (8, 5)


def test_json_says_the_same_and_acts_on_no_terminal() -> None:
    written = answers.written(Answer({"text": HOSTILE}, lambda _: None), action="a")
    assert not set("\x1b\x07\x9b\u202e") & set(written)
    assert json.loads(written)["result"]["text"] == HOSTILE


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(days=3), "3 days ago"),
    ],
)
def test_times_are_told_as_how_long_ago(ago: timedelta, text: str) -> None:
    assert figures.ago(NOW - ago, now=NOW) == text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("anthropic/claude-sonet-4.6", "anthropic/claude-sonnet-4.6"),
        ("claude-sonnet-4.6", "anthropic/claude-sonnet-4.6"),
        ("openai/gpt5.2", "openai/gpt-5.2"),
        ("OPENAI/GPT-5.2", "openai/gpt-5.2"),
    ],
)
def test_misspelt_model_finds_the_one_that_was_meant(name: str, meant: str) -> None:
    known = [
        "anthropic/claude-sonnet-4.6",
        "anthropic/claude-opus-4.6",
        "openai/gpt-5.2",
        "google/gemini-2.5-pro",
    ]
    assert models.closest(name, known)[0] == meant
    assert models.closest("qqqqqqqq", known) == []


def test_mcp_without_its_package_names_what_installs_it() -> None:
    program = (
        "import sys; sys.modules['mcp'] = None; from naive.cli import running; sys.exit(running.run(['mcp']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (exits.ERROR, "")
    assert "pip install 'naive-sdk[mcp]'" in done.stderr


@pytest.mark.parametrize(("words", "offered"), [("naive us", "users"), ("naive users li", "list")])
def test_shell_completes_nouns_and_their_commands(words: str, offered: str) -> None:
    completing = {
        "_NAIVE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "_TYPER_COMPLETE_ARGS": words,
    }
    naive = str(Path(sys.executable).parent / "naive")
    done = subprocess.run(
        [naive], env={**os.environ, **completing}, capture_output=True, text=True, check=False
    )
    assert offered in done.stdout.split()
