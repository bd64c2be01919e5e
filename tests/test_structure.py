"""The walls between the modules, and what the repository may not hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "auditcli"
MODULES = sorted(PACKAGE.rglob("*.py"))

DECLARATIONS = {PACKAGE / "report" / "schema.py", PACKAGE / "rules.py"}
"""Modules that are one list each: of fields, or of findings."""

STAGES = {"loading", "families", "attacks", "membership", "scoring"}
BASE = {"types", "errors", "resources"}
PLUGGED = {"families", "attacks", "membership"}
"""Folders of plug-ins."""
THREADED = {"attacks", "scoring"}
"""Stages of many short operations of torch."""
WEIGHED = {"attacks", "membership"}
"""Stages that read the weights of dense networks."""
MAY_IMPORT = {
    "errors": set(),
    "resources": {"errors"},
    "types": {"types", "errors"},
    "arguments": {"errors"},
    "destination": {"errors"},
    "policy": {"gate"},
    "gate": {"gate", "arguments", "errors", "report", "rules"},
    "rules": set(),
    "options": {"plugins", "policy"},
    "images": {"images", "types", "errors"},
    "comparability": {"comparability", "types", "errors"},
    "plugins": set(),
    "threads": set(),
    "weights": {"weights", "types", "errors"},
    "cnf": {"cnf", "types", "errors"},
    "generator": {"generator", "types", "errors"},
    **{
        stage: {
            *(stage, *BASE),
            *({"plugins"} if stage in PLUGGED else ()),
            *({"weights"} if stage in WEIGHED else ()),
            *({"cnf"} if stage == "attacks" else ()),
            *({"threads"} if stage in THREADED else ()),
            *({"generator"} if stage == "attacks" else ()),
            *({"rules"} if stage == "scoring" else ()),
        }
        for stage in STAGES
    },
    "report": {"report", "types", "errors", "resources", "rules"},
    "comparison": {"comparison", "report", "scoring", "types", "errors", "resources"},
    "shortcut": {"shortcut", "generator", "types", "errors"},
    "novelty": {"generator", "types", "errors"},
    "explanation": {"explanation", "report", "errors", "resources"},
    "explaining": {
        *("explaining", "explanation", "shortcut", "novelty", "generator", "threads", "device", "inspection"),
        *("loading", "families", "images", "opening", "report", *BASE, ""),
    },
    "terminal": {"terminal", "comparison", "explanation", "gate", "initialisation", "report", "types", "errors"},
    "shorthand": {"errors"},
    "settings": {"settings", "errors"},
    "panels": set(),
    "configured": {"panels", "settings", "terminal", "errors"},
    "hypotheses": {"hypotheses", "families", "images", *BASE},
    "lineage": BASE,
    "opening": {"loading", "families", "hypotheses", *BASE},
    "inspection": {"threads", "loading", "families", "opening", "report", *BASE},
    "describing": {"loading", "families", "destination", *BASE},
    "effort": {"types"},
    "device": {"errors"},
    "verification": {"weights", *BASE},
    "evidence": {"threads", "attacks", "weights", "scoring", "effort", "verification", *BASE},
    "initialisation": {"initialisation", "attacks", "effort", "images", "scoring", "threads", *BASE},
    "planning": {"images", "plugins", "scoring", *BASE},
    "training": {"training", "families", "threads", *BASE},
    "outcomes": {"threads", "attacks", "membership", "scoring", *BASE},
    "gallery": {"outcomes", "scoring", "report", *BASE},
    "naming": {"comparability", "images", "report", *BASE},
    "positive": {
        *("loading", "families", "images", "outcomes", "attacks", "membership", "scoring", "training"),
        *BASE,
    },
    "assembly": {"gallery", "outcomes", "effort", "scoring", "report", *BASE, ""},
    "investigation": {
        *("attacks", "effort", "evidence", "membership", "outcomes", "positive", "scoring", "training"),
        *BASE,
        "",
    },
    "auditing": {
        *("assembly", "comparability", "device", "effort", "gallery", "images", "inspection"),
        *("investigation", "lineage", "naming", "opening", "threads", "training"),
        *STAGES,
        "report",
        *BASE,
        "",
    },
    "cli": {
        *(
            "cli",
            "arguments",
            "auditing",
            "attacks",
            "cnf",
            "comparison",
            "describing",
            "destination",
            "explaining",
            "explanation",
            "gate",
            "initialisation",
            "inspection",
            "loading",
            "membership",
            "options",
        ),
        *("configured", "naming", "panels", "planning", "policy", "report", "settings", "shorthand", "terminal"),
        *BASE,
        "",
    },
    "__main__": {"cli", "policy"},
}
"""What each part may import of the package, itself included; `""` is the package's own public names."""


def part(module: Path) -> str:
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(module: Path) -> set[str]:
    """Parts of the package that a module imports, at whatever depth of the file, also for types alone."""
    found = set()
    package = ["auditcli", *module.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "auditcli":
                rest = parts[1] if len(parts) > 1 else ""
                known = (PACKAGE / rest).is_dir() or (PACKAGE / f"{rest}.py").is_file()
                found.add(rest if known else "")
    return found


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def outside_imports(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


# ---- imports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [m for m in MODULES if m != PACKAGE / "__init__.py"], ids=relative)
def test_a_module_imports_only_what_its_part_may(module):
    assert part(module) in MAY_IMPORT, f"{relative(module)} is new: say in MAY_IMPORT what it may import"
    strangers = imported(module) - MAY_IMPORT[part(module)]
    assert not strangers, f"{relative(module)} may not import {', '.join(sorted(strangers))}"


def test_the_walls_that_carry_meaning():
    assert not MAY_IMPORT["attacks"] & {"images", "scoring", "report", "membership", "auditing"}
    assert not any("auditing" in MAY_IMPORT[stage] for stage in (*STAGES, "report", "images"))
    assert not MAY_IMPORT["report"] & {*STAGES, "images", "auditing"}


def test_the_walker_sees_every_kind_of_import(monkeypatch, tmp_path):
    module = tmp_path / "attacks" / "sly.py"
    module.parent.mkdir()
    module.write_text(
        "import auditcli.scoring.ssim\n"
        "from auditcli import images\n"
        "def f():\n    from ..report import html\n    from .. import membership\n    from . import kkt\n"
    )
    for name in ("scoring", "report", "membership"):
        (tmp_path / name).mkdir()
    (tmp_path / "images.py").touch()
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    assert imported(module) == {"scoring", "images", "report", "membership", "attacks"}


@pytest.mark.parametrize("module", sorted((PACKAGE / "report").rglob("*.py")), ids=relative)
def test_the_report_names_no_torch(module):
    assert not outside_imports(module) & {"torch", "torchvision", "onnx", "safetensors", "transformers"}


def without_torch(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where importing torch fails."""
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'onnx', 'safetensors', 'skimage', 'scipy'):\n"
        "            raise ImportError(f'{name} is blocked')\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", blocker + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


def test_the_blocker_blocks():
    assert "torch is blocked" in without_torch("import torch").stderr


@pytest.mark.parametrize(
    "code",
    [
        "import auditcli.cli, auditcli.report, auditcli.report.card",
        "from auditcli.__main__ import main; sys.exit(main(['--help']))",
        "from auditcli.__main__ import main; sys.exit(main(['schema']))",
        "from auditcli.__main__ import main; sys.exit(main(['--version']))",
    ],
)
def test_runs_without_torch(code):
    done = without_torch(code)
    assert done.returncode == 0, done.stderr


def test_plans_without_torch():
    words = ["plan", "--members", "20", "--controls", "400"]
    code = f"import sys; from auditcli.__main__ import main; main({words!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["html", "md", "card", "json"])
def test_renders_without_torch(tmp_path, name):
    from cli_sample import sample_report

    (tmp_path / "report.json").write_text(sample_report("high").to_json())
    words = ["render", str(tmp_path / "report.json"), "--format", name]
    done = without_torch(f"from auditcli.__main__ import main; sys.exit(main({words!r}))")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 100


def test_importing_the_command_line_is_light():
    heavy = "{'torch', 'numpy', 'pydantic', 'matplotlib', 'jinja2', 'onnx', 'transformers', 'scipy', 'PIL'}"
    code = f"import sys, auditcli.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


# ---- names and sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_a_module_has_one_noun_and_a_docstring(module):
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) < (650 if module in DECLARATIONS else 400)
    assert not set(module.relative_to(PACKAGE).with_suffix("").parts) & {"utils", "helpers", "common", "misc", "core"}
    if text:
        assert ast.get_docstring(ast.parse(text)), f"{relative(module)} has no docstring"


def test_all_names_what_is_public():
    import auditcli

    assert set(auditcli.__all__) == {"load", "audit", "Report", "AuditError", "__version__"}
    for name in auditcli.__all__:
        assert getattr(auditcli, name) is not None


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_nothing_is_unpickled(module):
    assert not outside_imports(module) & {"pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}
    for call in (node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.Call)):
        assert ast.unparse(call.func) != "torch.load"
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("allow_pickle", "False") == "False"
        assert given.get("trust_remote_code", "False") == "False"
        assert given.get("weights_only", "True") == "True"


# ---- words ----------------------------------------------------------------------------------------------------------


def tracked() -> list[Path]:
    """Text files that git would commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name.decode() for name in listed.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


@pytest.mark.parametrize("template", sorted(p for p in (ROOT / "templates").rglob("*") if p.is_file()), ids=relative)
def test_no_template_says_safe(template):
    markup = re.sub(r"\|\s*safe\b", "", template.read_text(encoding="utf-8"))
    assert not re.search(r"\bsafe\b", markup, re.IGNORECASE)


def strings(module: Path) -> list[str]:
    """Text constants of a module that are no docstrings."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in bare)
    return [node.value for node in constants if isinstance(node.value, str)]


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_no_sentence_says_safe(module):
    assert not [text for text in strings(module) if re.search(r"\bsafe\b", text, re.IGNORECASE)]


def test_no_path_of_a_machine():
    places = "home|root|Users|work|tmp|mnt|opt|private|scratch"
    pattern = re.compile(rf"(?<![\w.~}})*/-])/(?:{places})/[\w.-]+")
    allowed = re.compile(r"/home/me/|/tmp/x\b")
    hits = [
        f"{relative(path)}: {match[0]}"
        for path in tracked()
        for match in pattern.finditer(path.read_text(encoding="utf-8", errors="replace"))
        if not allowed.match(match[0] + "/")
    ]
    assert not hits


def test_nothing_is_left_for_later():
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK|raise NotImplementedError)\b")
    hits = [relative(path) for path in tracked() if path.suffix == ".py" and path != Path(__file__).resolve()]
    hits = [name for name in hits if pattern.search((ROOT / name).read_text(encoding="utf-8"))]
    assert not hits
