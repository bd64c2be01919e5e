"""How plug-ins are found."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from auditcli import plugins
from auditcli.attacks import all_attacks, attack
from auditcli.membership import all_signals, signal


def named(name):
    def steps(target, budget, rng, *, rate=0.5):
        """Does something.

        And more.
        """
        yield

    steps.__name__ = name
    return attack(paper="arXiv:0000.00000")(steps)


def module(name, **values):
    made = ModuleType(name)
    vars(made).update(values)
    return made


def test_each_module_gives_its_one_plugin_in_order():
    one, two = named("one"), named("two")
    modules = [module("m.one", one=one, rate=3), module("m.two", two=two)]
    assert plugins.discover("nowhere", type(one), modules=modules) == [one, two]


@pytest.mark.parametrize("count", [0, 2])
def test_a_module_without_exactly_one_plugin_is_refused_by_name(count):
    held = {f"a{number}": named(f"a{number}") for number in range(count)}
    with pytest.raises(TypeError, match=rf"m\.odd holds {count} of Attack; exactly one"):
        plugins.discover("nowhere", type(named("x")), modules=[module("m.odd", **held)])


def test_a_folder_is_looked_into_and_its_machinery_is_not(tmp_path, monkeypatch):
    folder = tmp_path / "folder_of_plugins"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name in ("beta", "alpha"):
        (folder / f"{name}.py").write_text(f"plugin = {len(name)}.0\n")
    (folder / "_machinery.py").write_text("raise RuntimeError('machinery is not looked at')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert plugins.discover("folder_of_plugins", float) == [5.0, 4.0]


def offer(monkeypatch, group, value):
    """Another distribution that offers `value` in an entry-point group."""
    monkeypatch.setitem(sys.modules, "stranger", module("stranger", plugin=value))
    point = EntryPoint("theirs", "stranger:plugin", group)
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [point] if group == point.group else [])


def test_another_distribution_may_bring_an_attack(monkeypatch):
    own, theirs = all_attacks(), named("theirs")
    offer(monkeypatch, "privaudit.attacks", theirs)
    assert all_attacks() == (*own, theirs)
    assert theirs not in all_signals()


def test_another_distribution_may_bring_a_signal(monkeypatch):
    own = all_signals()

    @signal(paper="arXiv:0000.00000")
    def theirs(target, images, labels):
        """Scores nothing."""

    offer(monkeypatch, "privaudit.membership", theirs)
    assert all_signals() == (*own, theirs)


def test_an_entry_point_of_the_wrong_kind_is_refused_by_name(monkeypatch):
    offer(monkeypatch, "privaudit.attacks", "no attack")
    with pytest.raises(TypeError, match=r"entry point theirs of privaudit\.attacks is no Attack"):
        all_attacks()


def test_the_decorator_reads_name_summary_and_settings():
    made = named("made")
    assert (made.name, made.summary, dict(made.settings)) == ("made", "Does something", {"rate": 0.5})
    assert made.requires == frozenset()
    assert made.negative_control is False


def test_the_shipped_ones_are_found_by_name():
    assert [found.name for found in all_attacks()] == sorted(found.name for found in all_attacks())
    assert {"kkt", "noise"} <= {found.name for found in all_attacks()}
    assert {"confidence", "span"} <= {found.name for found in all_signals()}
