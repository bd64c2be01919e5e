"""Settings files: which one counts, what it may say, and every message where it says something else."""

import os
import shlex
from pathlib import Path

import pytest
from cli_sample import sample_report
from config_sample import asked, empty_repository, write
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from auditcli import settings
from auditcli.__main__ import main
from auditcli.cli import app
from auditcli.configured import Configured
from auditcli.errors import UsageError

COMMANDS = {name: c for name, c in get_command(app).commands.items() if isinstance(c, Configured)}


@pytest.fixture(autouse=True)
def repository(monkeypatch, tmp_path):
    return empty_repository(monkeypatch, tmp_path)


@pytest.fixture
def audit(monkeypatch):
    return asked(monkeypatch)


# ---- which file counts ----------------------------------------------------------------------------------------------


def test_no_file_no_settings(audit):
    assert settings.locate() is None
    assert main(["scan", "m.onnx", "--quiet"]) == 0
    assert audit["budget"] == 600


def test_the_nearest_file_counts_alone(monkeypatch, repository):
    write("budget = '1m'")
    write("seed = 1", "ci/privaudit.toml")
    monkeypatch.chdir(repository / "ci")
    assert settings.locate() == Path("privaudit.toml")
    Path("models").mkdir()
    monkeypatch.chdir("models")
    assert settings.locate() == repository / "ci" / "privaudit.toml"


def test_the_own_file_comes_before_the_shared_one():
    write("[tool.privaudit]\nseed = 1", "pyproject.toml")
    assert settings.locate() == Path("pyproject.toml")
    write("seed = 2")
    assert settings.locate() == Path("privaudit.toml")


@pytest.mark.parametrize("text", ["[project]\nname = 'x'", "[tool.ruff]\nline-length = 1", "tool = 3"])
def test_a_project_without_the_table_is_passed_over(monkeypatch, repository, text):
    write("seed = 1")
    write(text, "package/pyproject.toml")
    monkeypatch.chdir(repository / "package")
    assert settings.locate() == repository / "privaudit.toml"


@pytest.mark.parametrize("mark", ["folder", "file"])
def test_the_search_ends_at_the_root_of_the_repository(monkeypatch, repository, mark):
    write("seed = 1")
    inner = repository / "vendored"
    inner.mkdir()
    if mark == "folder":
        (inner / ".git").mkdir()
    else:
        (inner / ".git").write_text("gitdir: elsewhere")
    monkeypatch.chdir(inner)
    assert settings.locate() is None


def test_the_search_ends_at_home(monkeypatch, repository, tmp_path):
    outside = tmp_path / "privaudit.toml"
    outside.write_text("seed = 1")
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    assert settings.locate() is None
    (home / "privaudit.toml").write_text("seed = 2")
    assert settings.locate() == home / "privaudit.toml"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such folders")
def test_a_folder_that_all_users_share_sets_nothing_for_those_below_it(monkeypatch, tmp_path):
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True)
    (shared / "privaudit.toml").write_text("fail-on = 'never'")
    monkeypatch.chdir(shared / "mine")
    assert settings.locate() is not None
    shared.chmod(0o1777)
    assert settings.locate() is None
    monkeypatch.chdir(shared)
    assert settings.locate() == Path("privaudit.toml")


def test_a_downloaded_model_sets_nothing(audit):
    write("fail-on = 'never'\nseed = 9", "downloaded/privaudit.toml")
    assert main(["scan", "downloaded", "--quiet"]) == 0
    assert audit["seed"] == 0


def test_another_file_or_none(audit, monkeypatch):
    write("seed = 1")
    write("seed = 2", "other.toml")
    write("[tool.privaudit]\nseed = 3", "sub/pyproject.toml")
    for words, environment, seed in (
        ([], "", 1),
        (["--config", "other.toml"], "", 2),
        ([], "other.toml", 2),
        (["--config", "sub/pyproject.toml"], "other.toml", 3),
        (["--no-config"], "", 0),
        (["--no-config"], "other.toml", 0),
        ([], os.devnull, 0),
    ):
        monkeypatch.setenv("PRIVAUDIT_CONFIG", environment)
        assert main(["scan", "m.onnx", "-q", *words]) == 0
        assert audit["seed"] == seed, (words, environment)


# ---- what it says ---------------------------------------------------------------------------------------------------


def test_command_line_over_environment_over_file_over_default(audit, monkeypatch):
    write("seed = 1\nbudget = '1m'\nprofile = 'deep'\nshadows = 2")
    monkeypatch.setenv("PRIVAUDIT_SEED", "3")
    monkeypatch.setenv("PRIVAUDIT_BUDGET", "2m")
    assert main(["scan", "m.onnx", "--seed", "4"]) == 0
    assert (audit["seed"], audit["budget"], audit["profile"], audit["device"]) == (4, 120, "deep", "auto")
    assert audit["shadows"] == 2


def test_a_flag_of_a_file_is_taken_back_by_its_variable(audit, capsys, monkeypatch):
    write("quiet = true")
    assert main(["scan", "m.onnx"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    monkeypatch.setenv("PRIVAUDIT_QUIET", "0")
    assert main(["scan", "m.onnx"]) == 0
    assert "NONE-DETECTED" in capsys.readouterr().out
    assert audit["command"] == "privaudit scan m.onnx"


def test_values_of_every_kind(audit):
    write(
        "reference = 'data/members'\ncontrols = '/data/c.npz'\nbudget = 90\nattack = ['kkt', 'noise']\nmean = 0.5\n"
        "std = [0.25, 0.5, 1]\ninput-shape = [3, 8, 9]\nassume = 'activation=gelu'\ninclude-images = true\n"
        "redact = false\nformat = ['json']\nverbose = false\n",
        "ci/settings.toml",
    )
    assert main(["scan", "m.onnx", "--config", "ci/settings.toml"]) == 0
    asked = {name: audit[name] for name in ("reference", "controls", "budget", "attacks", "mean", "std", "input_shape")}
    assert asked == {
        "reference": Path("ci/data/members"),
        "controls": Path("/data/c.npz"),
        "budget": 90,
        "attacks": ("kkt", "noise"),
        "mean": (0.5,),
        "std": (0.25, 0.5, 1),
        "input_shape": (3, 8, 9),
    }
    assert audit["assume"] == {"activation": "gelu"}
    assert audit["include_images"]
    assert {path.name for path in Path("privaudit-report").iterdir()} == {"report.json"}


def test_paths_are_those_of_the_file_and_of_home(audit, monkeypatch, repository, tmp_path):
    write("reference = 'members'\ncontrols = '~/c.npz'\noutput = 'out'")
    Path("deep").mkdir()
    monkeypatch.chdir("deep")
    assert main(["scan", "m.onnx", "-q"]) == 0
    assert audit["reference"] == repository / "members"
    assert audit["controls"] == tmp_path / "c.npz"
    assert (repository / "out" / "report.json").is_file()


def test_the_table_of_a_command_is_for_it_alone_and_wins():
    document = settings.read(write("seed = 1\nbudget = '1m'\n[demo]\nseed = 2\n[plan]\nmembers = 'm'\nshadows = 4"))
    assert settings.apply(document, "scan", COMMANDS).values == {"seed": "1", "budget": "1m"}
    assert settings.apply(document, "demo", COMMANDS).values == {"seed": "2", "budget": "1m"}
    assert settings.apply(document, "demo", COMMANDS).keys == {"seed": "demo.seed", "budget": "budget"}
    assert settings.apply(document, "plan", COMMANDS).values == {"members": "m", "shadows": "4"}


def test_a_key_at_the_top_reaches_no_option_that_only_shares_its_name():
    document = settings.read(write("output = 'reports'\nformat = ['html']\nforce = true"))
    assert set(settings.apply(document, "scan", COMMANDS).values) == {"output", "format", "force"}
    assert settings.apply(document, "render", COMMANDS).values == {}
    assert settings.apply(document, "describe", COMMANDS).values == {}


def test_what_is_required_may_be_in_a_file(tmp_path, capsys):
    write("[render]\nformat = 'md'")
    report = write(sample_report("low").to_json(), "report.json")
    assert main(["render", str(report)]) == 0
    out, err = capsys.readouterr()
    assert "LOW" in out.upper()
    assert err == "settings: privaudit.toml (render.format)\n"


def test_the_file_is_named_where_it_matters_and_nobody_asked_for_quiet(audit, capsys):
    write("seed = 1\n[demo]\nbudget = '1m'")
    assert main(["scan", "m.onnx"]) == 0
    assert "settings: privaudit.toml (seed)\n" in capsys.readouterr().err
    for words in (["scan", "m.onnx", "--seed", "2"], ["scan", "m.onnx", "-q"], ["plan"]):
        assert main(words) == 0
        assert "settings" not in capsys.readouterr().err


def test_a_shared_file_keeps_its_prefix(audit, capsys):
    write("[tool.privaudit.scan]\nseed = 1", "pyproject.toml")
    assert main(["scan", "m.onnx"]) == 0
    assert "settings: pyproject.toml (tool.privaudit.scan.seed)\n" in capsys.readouterr().err
    assert audit["seed"] == 1


# ---- what the report says of it -------------------------------------------------------------------------------------


def test_the_recorded_command_says_what_was_used(audit, monkeypatch):
    write("seed = 1\nbudget = '1m'\nreference = 'secret place/members'\nattack = ['kkt', 'noise']\nredact = true\n")
    monkeypatch.setenv("PRIVAUDIT_DEVICE", "cpu")
    assert main(["scan", "/home/me/m.onnx", "--seed", "2"]) == 0
    assert audit["command"] == (
        "privaudit scan m.onnx --seed 2 --reference members --budget 1m --attack kkt --attack noise --device cpu "
        "--redact"
    )


def test_what_is_as_without_it_is_not_recorded(audit, monkeypatch):
    write("seed = 0\nbudget = '10m'\nredact = false\nattack = []\nprofile = 'standard'\noutput = 'privaudit-report'")
    monkeypatch.setenv("PRIVAUDIT_DEVICE", "auto")
    assert main(["m.onnx"]) == 0
    assert audit["command"] == "privaudit m.onnx"


def test_the_recorded_command_gives_the_same_audit_without_the_file(audit, monkeypatch):
    write("[scan]\nseed = 1\nmean = [0.5, 0.25]\nassume = ['pool=max/none', 'x=1']\nshadows = 3\nprofile = 'quick'")
    assert main(["scan", "m.onnx"]) == 0
    first = dict(audit)
    Path("privaudit.toml").unlink()
    assert main(shlex.split(first["command"])[1:]) == 0
    assert {name: value for name, value in audit.items() if name not in ("watch", "announce")} == {
        name: value for name, value in first.items() if name not in ("watch", "announce")
    }


# ---- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("fail_on = 'low'", "fail_on is no setting; the nearest is fail-on", "privaudit config"),
        ("scna = 1", "scna is no setting; the nearest is scan", "privaudit config"),
        ("[scann]\nseed = 1", "scann is no setting; the nearest is scan", "privaudit config"),
        ("[scan]\nbugdet = '1m'", "scan.bugdet is no setting; the nearest is budget", "privaudit scan --help"),
        ("[render]\nformt = 'md'", "render.formt is no setting; the nearest is format", "privaudit render --help"),
        ("zzzzzz = 1", "zzzzzz is no setting", "privaudit config"),
        ('"a\\u001b[31m" = 1', "a\ufffd[31m is no setting", "privaudit config"),
        ("arch = 'm:Net'", "arch runs code", "give --arch on the command line"),
        ("[inspect]\narch-arg = ['a=1']", "inspect.arch-arg runs code", "give --arch-arg on the command line"),
        ("config = 'x.toml'", "config is no setting", "privaudit config"),
        ("help = true", "help is no setting", "privaudit config"),
        ("labels = 'x'", "labels is no setting of all commands", "put it below [describe]"),
        ("scan = 1", "scan is a command, and no setting", "[scan]"),
        ("members = 'a'\nreference = 'b'", "members and reference are the same setting", "remove reference"),
        ("budget = true", "budget is true, where one text or number was expected", 'budget = "TIME"'),
        ("budget = ['1m']", 'budget is ["1m"], where one text or number was expected', 'budget = "TIME"'),
        ("[budget]\na = 1", 'budget is {"a": 1}, where one text or number was expected', 'budget = "TIME"'),
        ("budget = 2026-01-01", 'budget is "2026-01-01", where', 'budget = "TIME"'),
        ("quiet = 'yes'", 'quiet is "yes", where true or false was expected', "quiet = true"),
        ("attack = {a = 1}", 'attack is {"a": 1}, where a list of texts was expected', 'attack = ["NAME"]'),
        ("attack = [true]", "attack is [true], where a list of texts was expected", 'attack = ["NAME"]'),
        ("seed = 'x'", "'--seed' (privaudit.toml: seed): Input should be a valid integer", "privaudit scan --help"),
        ("seed = -1", "'--seed' (privaudit.toml: seed): Input should be greater", "privaudit scan --help"),
        ("fail-on = 'all'", "'--fail-on' (privaudit.toml: fail-on): 'all' is not one of", "privaudit scan --help"),
        ("format = ['pdf']", "'--format' (privaudit.toml: format): 'pdf' is not one of", "privaudit scan --help"),
        ("budget = 'soon'", "budget: --budget 'soon' is no duration", "--budget 10m"),
        ("[scan]\nmean = ['a', 1]", "scan.mean: --mean 'a,1' does not give numbers", "--mean 0.5"),
        ("include-images = true\nredact = true", "contradict each other", "give one of them"),
        ("budget = soon", "is no TOML: Invalid value (at line 1", "--no-config"),
        ("a = " + "[" * 100_000, "is no TOML: it is nested too deeply", "--no-config"),
        ("# " + "x" * 2**20, "is larger than 1,048,576 bytes", "--no-config"),
    ],
)
def test_a_wrong_file_is_one_line_with_the_file_and_the_key(audit, capsys, text, message, hint):
    write(text)
    assert main(["scan", "m.onnx"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *_, first, second = err.splitlines()
    assert first.startswith("error: ")
    assert "privaudit.toml" in first
    assert message in first
    assert second.startswith("hint:  ")
    assert hint in second
    assert "Traceback" not in err
    assert not audit


def test_a_wrong_value_in_the_environment_names_the_variable(audit, capsys, monkeypatch):
    monkeypatch.setenv("PRIVAUDIT_SEED", "x")
    assert main(["scan", "m.onnx"]) == 2
    assert "'--seed' (PRIVAUDIT_SEED): Input should be a valid integer" in capsys.readouterr().err
    monkeypatch.delenv("PRIVAUDIT_SEED")
    monkeypatch.setenv("PRIVAUDIT_BUDGET", "soon")
    assert main(["scan", "m.onnx"]) == 2
    assert "error: PRIVAUDIT_BUDGET: --budget 'soon' is no duration" in capsys.readouterr().err


def test_a_wrong_word_names_no_file(audit, capsys):
    write("budget = '1m'\nseed = 1")
    assert main(["scan", "m.onnx", "--budget", "soon"]) == 2
    assert "error: --budget 'soon' is no duration" in capsys.readouterr().err
    assert main(["scan", "m.onnx", "--seed", "x"]) == 2
    assert "privaudit.toml" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "nowhere.toml"], "nowhere.toml cannot be read: "),
        (["--config", "."], ". cannot be read: "),
        (["--config", "pyproject.toml"], "pyproject.toml has no table [tool.privaudit]"),
        (["--config", "three/pyproject.toml"], "pyproject.toml: tool.privaudit is no table"),
        (["--config", "latin.toml"], "latin.toml is no UTF-8 text"),
        (["--config", "privaudit.toml", "--no-config"], "--config and --no-config contradict each other"),
        (["--no-config", "--config", "privaudit.toml"], "--config and --no-config contradict each other"),
    ],
)
def test_a_file_that_cannot_be_used(audit, capsys, words, message):
    write("seed = 1")
    write("[project]", "pyproject.toml")
    write("tool.privaudit = 3", "three/pyproject.toml")
    Path("latin.toml").write_bytes(b"# caf\xe9")
    assert main(["scan", "m.onnx", *words]) == 2
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert message in first.replace(os.sep, "/")
    assert second.startswith("hint:  ")
    assert not audit


def test_keys_of_other_commands_are_checked_too(audit, capsys):
    write("[demo]\nbugdet = '1m'")
    assert main(["scan", "m.onnx"]) == 2
    assert "demo.bugdet is no setting; the nearest is budget" in capsys.readouterr().err


def test_help_and_version_need_no_correct_file(capsys):
    write("this is = no toml")
    for words in (["--version"], ["--help"], ["scan", "--help"]):
        assert main(words) == 0
    assert "error" not in capsys.readouterr().err


# ---- the options themselves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, command in COMMANDS.items() if command.params))
def test_every_option_but_those_that_run_code_is_a_setting(name):
    given = {}
    for option in COMMANDS[name].params:
        if option.param_type_name == "option" and not option.is_eager:
            value = "true" if option.is_flag else '["x"]' if option.multiple else '"x"'
            given[option.opts[0].removeprefix("--")] = value
    given = {key: value for key, value in given.items() if key not in ("arch", "arch-arg")}
    text = f"[{name}]\n" + "\n".join(f"{key} = {value}" for key, value in given.items())
    found = settings.apply(settings.read(write(text)), name, COMMANDS)
    assert len(found.values) == len(given)


@given(
    st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["scan", "seed", "arch", "budget", "quiet", "demo"]),
        st.recursive(
            st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_any_document_gives_words_or_a_message(values):
    document = settings.Document(Path("privaudit.toml"), "", values)
    try:
        found = settings.apply(document, "scan", COMMANDS)
    except UsageError as refused:
        error = refused
    else:
        assert set(found.keys) == set(found.values)
        for value in found.values.values():
            assert isinstance(value, bool | str) or all(isinstance(word, str) for word in value)
        return
    assert "privaudit.toml: " in error.message
    assert error.message.isprintable()
