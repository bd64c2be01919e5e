"""What the documentation says is what the code does: commands, options, tables, constants, links."""

import importlib.util
import itertools
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from typer import TyperException
from typer.main import get_command

from auditcli import arguments, evidence, policy, positive
from auditcli.attacks import all_attacks
from auditcli.cli import app
from auditcli.membership import all_signals
from auditcli.report import FORMATS
from auditcli.report.card import BEGIN, END
from auditcli.report.schema import SCHEMA_VERSION, Report
from auditcli.rules import RULES
from auditcli.scoring import calibration, membership, reasons, ssim, weighing
from auditcli.scoring.findings import Findings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
PLACEHOLDERS = {"MODEL": "model.safetensors", "REPORT.json": "report.json"}
SHELL = frozenset({"|", ">", ">>", "&&", "||", ";"})
"""Ends a command line."""
UNNAMED = re.compile(r"\b(none|ours)\b")
"""In place of a paper."""


def relative(path):
    return path.relative_to(ROOT).as_posix()


def read(path):
    return path.read_text(encoding="utf-8")


def flat(path):
    """The text of a page without its line breaks, thousands separators and emphasis."""
    return re.sub(r"(?<=\d),(?=\d{3})", "", " ".join(read(path).replace("*", "").split()))


def table(path, *header):
    """Rows of the table with these first headings, a dictionary from the first cell to the others."""
    lines = iter(read(path).splitlines())
    for line in lines:
        if cells(line)[: len(header)] == list(header):
            next(lines)
            rows = []
            for row in lines:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            return {row[0]: row[1:] for row in rows}
    raise AssertionError(f"{relative(path)} has no table with the headings {header}")


def cells(line):
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


# ---- attacks and signals --------------------------------------------------------------------------------------------


def plugin_pages():
    own = [("attacks", plugin) for plugin in all_attacks()] + [("signals", plugin) for plugin in all_signals()]
    return [pytest.param(DOCS / kind / f"{plugin.name}.md", plugin, id=plugin.name) for kind, plugin in own]


@pytest.mark.parametrize(("page", "plugin"), plugin_pages())
def test_a_plugin_has_a_page_with_its_paper_and_needs(page, plugin):
    text = read(page)
    assert text.startswith(f"# `{plugin.name}`")
    facts = dict(re.findall(r"^- \*\*(Needs|Papers?|Uses|Code)\*\* (.+?)(?=^- \*\*|^\S?$)", text, re.M | re.S))
    papers = re.findall(r"arXiv:[\d.]+\d", plugin.paper)
    stated = facts.get("Papers", facts.get("Paper", ""))
    assert re.findall(r"arXiv:[\d.]+\d", stated) == papers
    assert papers or UNNAMED.search(stated)
    assert set(re.findall(r"`([a-z-]+)`", facts["Needs"])) == {str(trait) for trait in plugin.requires}
    assert plugin.requires or facts["Needs"].startswith("nothing")
    code = re.findall(r"`(auditcli/[\w/.]+)`", facts["Code"])
    assert code
    assert all((ROOT / name).exists() for name in code)


def test_every_page_of_a_plugin_has_its_plugin():
    known = {"attacks": all_attacks(), "signals": all_signals()}
    for kind, plugins in known.items():
        assert {page.stem for page in (DOCS / kind).glob("*.md")} == {plugin.name for plugin in plugins}


@pytest.mark.parametrize(
    "attack", [one for one in all_attacks() if one.settings and not one.negative_control], ids=lambda one: one.name
)
def test_the_settings_on_a_page_are_those_of_the_attack(attack):
    rows = table(DOCS / "attacks" / f"{attack.name}.md", "setting", "default")
    assert {name: row[0] for name, row in rows.items()} == {name: str(value) for name, value in attack.settings.items()}


# ---- command lines --------------------------------------------------------------------------------------------------


def command_lines(path):
    """Every `privaudit ...` at the start of a line of code; one with a variable of the shell is run in `test_ci.py`."""
    code = re.sub(r"\\\n\s*", "", code_of(read(path)))
    lines = re.findall(r"^(?: {4}|\$ |\s*- (?:run: )?|)(privaudit [^`\n]+)$", code, re.M)
    return [line for line in lines if "$" not in line]


def commands_named(path):
    """Every `privaudit ...` in a sentence, where arguments may be left out; headings do without."""
    return re.findall(r"`(privaudit [^`\n]+)`", re.sub(r"^#.*$", "", read(path), flags=re.M))


def code_of(text):
    fenced = re.findall(r"^```(?:yaml|sh|console)\n(.*?)^```", text, re.M | re.S)
    indented = re.findall(r"^ {4}privaudit (?:.*\\\n)*.*$", text, re.M)
    return "\n".join([*fenced, *indented])


@pytest.fixture
def parsed(monkeypatch):
    """Parses a command line by the commands themselves, with what they would do taken out."""
    group = get_command(app)
    seen = {}
    for name, command in group.commands.items():
        monkeypatch.setattr(command, "callback", lambda *a, _name=name, **options: seen.update(options, command=_name))

    def parse(line):
        seen.clear()
        words = itertools.takewhile(lambda word: word not in SHELL, shlex.split(line)[1:])
        words = [PLACEHOLDERS.get(word, word) for word in words]
        group.main(words, prog_name="privaudit", standalone_mode=False, obj=tuple(words))
        return dict(seen)

    return parse


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_command_line_parses(page, parsed):
    for line in command_lines(page):
        options = parsed(line)
        if "budget" in options:
            assert arguments.seconds(options["budget"]) > 0


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_command_that_a_sentence_names_exists(page, parsed):
    said = {line: refusal(parsed, line) for line in commands_named(page)}
    assert not {line: text for line, text in said.items() if text and not text.startswith("Missing ")}


def refusal(parse, line):
    try:
        parse(line)
    except TyperException as error:
        return error.format_message()
    return ""


def test_a_sentence_may_leave_arguments_out_and_nothing_else(parsed):
    assert refusal(parsed, "privaudit card --check").startswith("Missing ")
    assert refusal(parsed, "privaudit plan --member 60").startswith("No such option")


def test_there_are_command_lines_to_parse():
    assert len(command_lines(ROOT / "README.md")) >= 5
    assert len(command_lines(DOCS / "report.md")) >= 6


@pytest.mark.parametrize("line", ["privaudit scan MODEL --nope", "privaudit --budgets 3m MODEL", "privaudit scam x"])
def test_a_wrong_command_line_is_seen(line, parsed):
    with pytest.raises(TyperException):
        parsed(line)


def test_the_readme_lists_the_commands_as_they_describe_themselves():
    stated = {name: row[0] for name, row in table(ROOT / "README.md", "command", "does").items()}
    assert stated == {f"privaudit {name}": command.help for name, command in get_command(app).commands.items()}


def script(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATED = script("commands").pages()
"""Pages that are made from the code, with the text they should have."""


@pytest.mark.parametrize("page", GENERATED, ids=relative)
def test_a_page_made_from_the_code_is_what_the_code_gives(page):
    assert read(page) == GENERATED[page], "run: python docs/commands.py"


def test_every_page_of_a_command_has_its_command():
    assert {page.stem for page in (DOCS / "commands").glob("*.md")} == set(get_command(app).commands)


@pytest.mark.parametrize("name", get_command(app).commands)
def test_the_page_of_a_command_shows_it_in_use(name):
    page = DOCS / "commands" / f"{name}.md"
    assert any(line.split()[1] == name for line in command_lines(page))
    stated = set(map(int, re.findall(r"^- `(\d+)`: ", read(page), re.M)))
    assert {0, 2} <= stated <= codes_of_the_policy()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_help_that_is_shown_is_what_the_code_prints(page):
    for block in re.findall(r"^```text\n( *Usage: privaudit.*?)^```", read(page), re.M | re.S):
        words = re.match(r" *Usage: privaudit ([a-z]\S*)?", block)[1]
        assert block == script("commands").help_block(*([words] if words else []))


def test_every_finding_has_a_place_to_link_to():
    assert {id.lower() for id in RULES} <= anchors(DOCS / "findings.md")


def test_every_finding_that_is_named_exists():
    for page in PAGES:
        assert set(re.findall(r"\bPA\d{3}\b", read(page))) <= set(RULES), relative(page)


def test_every_environment_variable_named_is_read():
    known = {p.envvar for command in get_command(app).commands.values() for p in command.params if p.envvar}
    for page in PAGES:
        assert set(re.findall(r"PRIVAUDIT_[A-Z_]+", read(page))) <= known, relative(page)


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "report.md"], ids=relative)
def test_the_exit_codes_are_those_of_the_policy(page):
    stated = table(page, "exit code" if page.name == "README.md" else "code")
    assert {int(code) for code in stated} == codes_of_the_policy()


def codes_of_the_policy():
    return {getattr(policy, name) for name in vars(policy) if name.isupper() and not name.startswith("_")}


def test_the_controls_needed_are_those_the_report_names():
    rows = table(DOCS / "statistics.md", "members")
    assert {int(m): int(row[0].replace(",", "")) for m, row in rows.items()} == {
        m: calibration.controls_needed(m) for m in (10, 20, 50, 100)
    }


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("docs/statistics.md", f"corrected by Holm (1979) at alpha = {Findings().alpha}"),
        ("docs/statistics.md", f"flagged at q <= {calibration.FALSE_DISCOVERY_RATE}"),
        ("docs/statistics.md", f"K1 = {ssim.K1}, K2 = {ssim.K2}"),
        ("docs/statistics.md", f"data range fixed at {ssim.DATA_RANGE}"),
        ("docs/statistics.md", f"Below p = {weighing.NEGATIVE_ALPHA} members and controls differ"),
        ("docs/statistics.md", f"p <= {positive.ALPHA} and at least one image is flagged"),
        ("docs/statistics.md", f"at 1% false positives >= {reasons.HIGH_TPR:.2f}"),
        ("docs/statistics.md", f"lower bound of its AUC >= {reasons.MODERATE_AUC:.2f}"),
        ("docs/statistics.md", f"{membership.controls_to_bound(0.01)} controls at 1%, and"),
        ("docs/statistics.md", f"and {membership.controls_to_bound(0.001)} at 0.1%"),
        ("docs/evidence.md", f"a share of at least {evidence.EXPLAINED} of the squared norm"),
        ("docs/evidence.md", f"candidate of another restart is at least {evidence.AGREEMENT}"),
        ("docs/evidence.md", f"must be at most {evidence.ALPHA}."),
        ("docs/verdict.md", f"AUC of at least {reasons.MODERATE_AUC:.2f}"),
        ("docs/verdict.md", f"rate of at least {reasons.HIGH_TPR:.0%} with {reasons.HIGH_FPR:.0%} false alarms"),
        ("docs/verdict.md", f"fewer than {membership.controls_to_bound(0.01)} controls"),
        ("docs/attacks/noise.md", f"falls below {weighing.NEGATIVE_ALPHA},"),
        ("README.md", f"AUC of {reasons.MODERATE_AUC:.2f} or more"),
    ],
)
def test_a_constant_of_the_code_is_the_one_stated(page, sentence):
    assert sentence in flat(ROOT / page)


def test_the_changelog_names_the_scores_as_they_are():
    text = flat(ROOT / "CHANGELOG.md").partition("### Scores")[2]
    assert f"EXPLAINED = {evidence.EXPLAINED}" in text
    assert f"AGREEMENT = {evidence.AGREEMENT}" in text
    assert f"alpha = {Findings().alpha}, corrected by Holm" in text
    assert f"q-value of at most {calibration.FALSE_DISCOVERY_RATE} " in text
    assert f"K1 = {ssim.K1}, K2 = {ssim.K2}" in text
    assert f"at p of at most {positive.ALPHA}" in text


# ---- the report -----------------------------------------------------------------------------------------------------


def test_the_contract_lists_every_part_of_the_report():
    rows = table(DOCS / "report.md", "field", "holds")
    assert list(rows) == list(Report.model_fields)
    assert f'"{SCHEMA_VERSION}"' in rows["schema_version"][0]


def test_the_contract_lists_every_file():
    files = set(table(DOCS / "report.md", "file", "what it is"))
    assert files == {format.file for format in FORMATS.values()} | {"gallery/*.png"}


def test_the_markers_of_a_card_are_those_named():
    text = read(DOCS / "report.md")
    assert all(marker.strip("<!- >") in text for marker in (BEGIN, END))


# ---- pages ----------------------------------------------------------------------------------------------------------


def anchors(path):
    """Those GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.is_relative_to(ROOT), link
        assert place.exists(), link
        assert not anchor or anchor in anchors(place), link


def test_the_link_checker_knows_an_anchor_from_none():
    assert "what-every-comparison-presumes" in anchors(DOCS / "statistics.md")
    assert "nowhere" not in anchors(DOCS / "statistics.md")


def test_every_page_is_linked_from_the_index_or_a_list_it_links():
    lists = [DOCS / "index.md", DOCS / "command-line.md", DOCS / "recipes" / "index.md"]
    linked = {(page.parent / link).resolve() for page in lists for link in re.findall(r"\]\(([^)#\s]+)", read(page))}
    assert set(DOCS.rglob("*.md")) - {DOCS / "index.md"} <= linked
    assert f"({relative(DOCS / 'index.md')})" in read(ROOT / "README.md")


def test_the_install_hint_names_the_pinned_torch():
    pinned = re.search(r"^torch==\S+", read(ROOT / "constraints.txt"), re.M)[0]
    assert f"pip install -c constraints.txt {pinned}\n" in read(ROOT / "README.md")
    python = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    assert f"Python {python} or newer" in read(ROOT / "README.md")


@pytest.mark.parametrize("target", re.findall(r"^ {4}make (\w+)", (ROOT / "README.md").read_text("utf-8"), re.M))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", read(ROOT / "Makefile"), re.M)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_python_block_compiles(page):
    for block in re.findall(r"^```python\n(.*?)^```", read(page), re.M | re.S):
        compile(block, relative(page), "exec")


@pytest.mark.parametrize("template", sorted(p for p in (ROOT / "templates").rglob("*") if p.is_file()), ids=relative)
def test_no_template_promises(template):
    text = re.sub(r"\|\s*safe\b", "", read(template))  # the filter of Jinja2
    assert not re.search(r"\b(safe|harmless|no risk|anonymous|guarantee\w*)\b", text, re.IGNORECASE)


def test_no_page_calls_a_model_by_the_word_no_report_says():
    assert not [relative(page) for page in PAGES if re.search(r"\bsafe(ly|ty)?\b", read(page), re.IGNORECASE)]


# ---- the sample in the README ---------------------------------------------------------------------------------------


def sample():
    block = re.search(r"```text\n(.*?)```", read(ROOT / "README.md"), re.S)[1]
    return " ".join(block.split()), block


def test_the_sample_is_of_the_shipped_fixture():
    """Its counts are those measured when the fixture was made: another machine may differ in the last digits."""
    index = json.loads(read(ROOT / "fixtures" / "fixtures.json"))
    entry = next(entry for entry in index["fixtures"] if entry["name"] == "mlp-leaky")
    measured = entry["measured"]["attacks"]["kkt"]
    text, block = sample()
    assert max(map(len, block.splitlines())) <= 80
    assert text.startswith("CRITICAL Training images were individually recovered")
    recovered, members, best = re.search(r"(\d+) of (\d+) training images .*? at SSIM (\d\.\d+)", text).groups()
    assert int(members) == measured["of"]
    assert int(recovered) == pytest.approx(measured["leaked"], abs=2)
    assert float(best) == pytest.approx(measured["best_ssim"], abs=0.02)


# ---- the tour -------------------------------------------------------------------------------------------------------


def tour():
    return list(script("tour").steps(read(DOCS / "tour.md")))


@pytest.mark.parametrize(
    "step", [s for s in tour() if re.match(r"privaudit (?:inspect|plan) ", s.command)], ids=lambda s: s.command
)
def test_a_quick_command_of_the_tour_prints_what_it_shows(step):
    assert script("tour").printed(step.command) == (step.output, 0), "run: python docs/tour.py"


def test_the_audits_of_the_tour_come_to_what_they_should():
    scans = [(s, then) for s, then in itertools.pairwise(tour()) if s.command.startswith("privaudit scan")]
    audits = {scan.command.split()[2]: (scan.output, then.output) for scan, then in scans}
    leaky, code = audits["fixtures/mlp-leaky/model.safetensors"]
    assert leaky.split()[0] == "CRITICAL"
    assert code == "1\n"
    index = json.loads(read(ROOT / "fixtures" / "fixtures.json"))
    measured = {entry["name"]: entry["measured"] for entry in index["fixtures"]}["mlp-leaky"]["attacks"]["kkt"]
    assert int(re.search(r"(\d+) of 60 training images", leaky)[1]) == pytest.approx(measured["leaked"], abs=2)
    honest, code = audits["fixtures/mlp-honest/model.safetensors"]
    assert honest.split()[0] == "NONE-DETECTED"
    assert "positive control passed" in honest
    assert code == "0\n"


def test_every_command_of_privaudit_that_the_tour_shows_has_its_output():
    silent = ("card",)
    shown = [s for s in tour() if s.command.startswith("privaudit") and s.command.split()[1] not in silent]
    assert len(shown) >= 5
    assert all(s.output for s in shown)
