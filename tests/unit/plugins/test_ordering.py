from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import PluginOrderError
from crystallize.hooks import ActivePlugins, BasePlugin
from crystallize.plugins.info import Origin
from crystallize.plugins.ordering import RankedPlugin, in_order


def place(name, position=0, rank=1, **relations):
    return RankedPlugin(Origin(name), rank, position, frozenset({name}), (), **relations)


def names(places):
    return [found.origin.name for found in in_order(places)]


def plugin(name, **attributes):
    return type(name, (BasePlugin,), attributes)()


def order(*plugins):
    return ActivePlugins.resolve(plugins).names


def test_without_relations_the_lists_order_holds():
    assert order(plugin("C"), plugin("A"), plugin("B")) == ["C", "A", "B"]


def test_seeding_comes_first_and_logging_and_the_store_last():
    places = [place("artifacts", 0, 3), place("b", 1), place("logging", 2, 2), place("a", 3), place("seed", 4, 0)]
    assert names(places) == ["seed", "b", "a", "logging", "artifacts"]


def test_before_moves_a_plugin_up_just_so_far():
    assert order(plugin("A"), plugin("B"), plugin("C"), plugin("D", before=("B",))) == ["A", "D", "B", "C"]


def test_after_makes_a_plugin_wait_just_so_long():
    assert order(plugin("A", after=("C",)), plugin("B"), plugin("C"), plugin("D")) == ["B", "C", "A", "D"]


def test_what_comes_before_seeding_leaves_the_others_behind_it():
    places = [place("seed", 0, 0), place("a", 1), place("b", 2, before=("seed",))]
    assert names(places) == ["b", "seed", "a"]


def test_what_moves_up_takes_along_what_it_waits_for():
    places = [place("seed", 0, 0), place("a", 1), place("b", 2, before=("seed",), after=("c",)), place("c", 3)]
    assert names(places) == ["c", "b", "seed", "a"]


def test_what_comes_after_the_store_comes_last():
    assert names([place("a", 0, after=("artifacts",)), place("b", 1), place("artifacts", 2, 3)]) == [
        "b",
        "artifacts",
        "a",
    ]


def test_requires_orders_like_after():
    assert order(plugin("A", requires=("B",)), plugin("B")) == ["B", "A"]


def test_a_required_plugin_that_is_not_active_refuses_the_run():
    with pytest.raises(PluginOrderError, match=r"'A'.* requires the plugin 'Store', which is not active") as caught:
        order(plugin("A", requires=("Store",)), plugin("B"))
    assert caught.value.plugin == "A"


def test_a_plugin_does_not_meet_its_own_requirement():
    class Store(BasePlugin):
        pass

    class Mine(Store):
        requires = (Store,)

    with pytest.raises(PluginOrderError, match="requires the plugin 'Store'"):
        order(Mine())
    assert order(Mine(), Store()) == ["Store", "Mine"]


def test_relations_to_plugins_that_are_not_active_are_ignored():
    class Absent(BasePlugin):
        pass

    assert order(plugin("A", before=("Ghost",), after=(Absent, "Spirit")), plugin("B")) == ["A", "B"]


def test_relations_name_classes_or_their_names_or_what_they_derive_from():
    class Store(BasePlugin):
        pass

    class FastStore(Store):
        pass

    for wanted in (Store, FastStore, "Store", "FastStore"):
        assert order(plugin("A", after=(wanted,)), FastStore()) == ["FastStore", "A"]


def test_one_name_needs_no_tuple():
    assert order(plugin("A", after="B"), plugin("B")) == ["B", "A"]


def test_a_relation_to_oneself_is_ignored():
    assert order(plugin("A", before=("A",), after=("A",))) == ["A"]


def test_a_cycle_is_an_error_that_names_it_and_who_declares_it():
    with pytest.raises(PluginOrderError) as caught:
        order(plugin("A", before=("B",)), plugin("X"), plugin("B", before=("C",)), plugin("C", before=("A",)))
    text = str(caught.value)
    assert "'A' -> 'B' -> 'C' -> 'A'" in text
    assert "'A' is before 'B'; 'B' is before 'C'; 'C' is before 'A'" in text
    assert "X" not in text


def test_a_cycle_of_two_names_both():
    with pytest.raises(PluginOrderError, match="'A' after 'B'") as caught:
        order(plugin("A", after=("B",)), plugin("B", requires=("A",)))
    assert "'B' requires 'A'" in str(caught.value)


@st.composite
def acyclic(draw):
    """Plugins whose declared relations all agree with one hidden order."""
    count = draw(st.integers(1, 8))
    hidden = draw(st.permutations(range(count)))
    declared = {number: {"before": [], "after": [], "requires": []} for number in range(count)}
    edges = set()
    for first in range(count):
        for second in range(first + 1, count):
            relation = draw(st.sampled_from([None, None, "before", "after", "requires"]))
            if relation is not None:
                one, other = hidden[first], hidden[second]
                edges.add((f"p{one}", f"p{other}"))
                who, whom = (one, other) if relation == "before" else (other, one)
                declared[who][relation].append(f"p{whom}")
    ranks = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    places = [
        place(f"p{number}", number, ranks[number], **{key: tuple(value) for key, value in declared[number].items()})
        for number in range(count)
    ]
    return places, edges


@given(acyclic(), st.randoms(use_true_random=False))
def test_every_relation_holds_and_the_order_depends_on_nothing_else(drawn, shuffler):
    places, edges = drawn
    found = names(places)
    assert sorted(found) == sorted(place.origin.name for place in places)
    for first, second in edges:
        assert found.index(first) < found.index(second)
    shuffled = places[:]
    shuffler.shuffle(shuffled)
    assert names(shuffled) == found


@given(acyclic())
def test_without_a_reason_nobody_leaves_the_base_order(drawn):
    places, edges = drawn
    found = names(places)
    related = {name for edge in edges for name in edge}
    free = [place for place in places if place.origin.name not in related]
    base = [place.origin.name for place in sorted(free, key=lambda place: place.key)]
    assert [name for name in found if name not in related] == base


@given(st.integers(3, 7), st.randoms(use_true_random=False))
def test_a_cycle_of_any_length_is_found(count, shuffler):
    ring = [place(f"p{i}", i, before=(f"p{(i + 1) % count}",)) for i in range(count)]
    others = [place("free", 50), place("tail", 51, after=("p0",))]
    places = ring + others
    shuffler.shuffle(places)
    with pytest.raises(PluginOrderError) as caught:
        in_order(places)
    for number in range(count):
        assert f"'p{number}'" in str(caught.value)
    assert "'tail'" not in str(caught.value)


def test_relations_given_as_a_set_have_one_order_in_every_process():
    related = [plugin("A", after={"C", "B"}), plugin("B"), plugin("C")]
    found = order(*related)
    random.Random(1).shuffle(related)
    assert found == ["B", "C", "A"]
