"""The graph for other programs: one matrix, networkx for small parts, GraphML."""

import networkx as nx
import numpy as np
import pytest

from graph import convert
from graph.convert import all_nodes_csr, ego_network, network, to_graphml
from graph.errors import InputError, NotFound
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from tests.store_contract import events

RULE = Weighting(relations={"cites": 1.0}, tag_fewest_items=1, tag_rarity=0.0)


def made(path, *batches):
    """Snapshot and weighted graph of a new store with these batches."""
    store = EmbeddedStore(path)
    for batch in batches:
        store.apply(batch)
    snapshot = take_snapshot(store)
    store.close()
    return snapshot, weigh(snapshot, RULE, 0)


@pytest.fixture
def chain(tmp_path):
    """ann – x – bob – y – genre:noir – z, and x cites w; dan is friends with ann."""
    return made(
        tmp_path / "g.sqlite",
        events(("ann", "x"), ("bob", "x"), ("bob", "y")),
        {
            "items": table("items", [{"id": "x", "title": "The X"}, {"id": "alone"}]),
            "item_tags": table(
                "item_tags", [{"item": i, "category": "genre", "tag": "noir"} for i in "yz"]
            ),
            "item_relations": table(
                "item_relations", [{"source": "x", "target": "w", "kind": "cites"}]
            ),
            "user_relations": table(
                "user_relations",
                [
                    {"source": "ann", "target": "dan", "kind": "friend"},
                    {"source": "dan", "target": "ann", "kind": "friend"},
                ],
            ),
        },
    )


def names(graph):
    return {attributes["id"] for _, attributes in graph.nodes(data=True)}


def edges(graph):
    name = graph.nodes
    return {
        (*sorted((name[a]["id"], name[b]["id"])), attributes["kind"], attributes["weight"])
        for a, b, attributes in graph.edges(data=True)
    }


def test_the_whole_graph_has_every_node_and_edge_once(chain):
    graph = network(*chain)
    assert names(graph) == {"ann", "bob", "dan", "w", "x", "y", "z", "alone", "genre:noir"}
    assert edges(graph) == {
        ("ann", "x", "interacted", 1.0),
        ("bob", "x", "interacted", 1.0),
        ("bob", "y", "interacted", 1.0),
        ("ann", "dan", "knows", 2.0),
        ("w", "x", "related", 1.0),
        ("genre:noir", "y", "has_tag", 1.0),
        ("genre:noir", "z", "has_tag", 1.0),
    }
    content = {node["id"]: (node["kind"], node["title"]) for node in graph.nodes.values()}
    assert content["x"] == ("item", "The X")
    assert content["ann"] == ("user", "")
    assert content["genre:noir"] == ("tag", "noir")


def test_the_matrix_is_symmetric_without_loops(chain):
    matrix = all_nodes_csr(chain[1])
    assert matrix.shape == (9, 9)
    assert matrix.dtype == np.float32
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.has_canonical_format
    assert (matrix != matrix.T).nnz == 0
    assert not matrix.diagonal().any()
    assert matrix.sum() == 2 * (6 + 2)


@pytest.mark.parametrize(
    ("kind", "name", "hops", "expected"),
    [
        ("user", "ann", 0, {"ann"}),
        ("user", "ann", 1, {"ann", "x", "dan"}),
        ("user", "ann", 2, {"ann", "x", "dan", "bob", "w"}),
        ("item", "z", 1, {"z", "genre:noir"}),
        ("item", "z", 2, {"z", "genre:noir", "y"}),
        ("item", "alone", 5, {"alone"}),
        ("tag", "genre:noir", 1, {"genre:noir", "y", "z"}),
    ],
)
def test_an_ego_network_is_what_lies_within_its_hops(chain, kind, name, hops, expected):
    """networkx, asked for the same of the whole graph, agrees."""
    assert names(ego_network(*chain, kind, name, hops)) == expected
    whole = network(*chain)
    (centre,) = [node for node, attributes in whole.nodes.items() if attributes["id"] == name]
    oracle = nx.ego_graph(whole, centre, radius=hops)
    assert edges(ego_network(*chain, kind, name, hops)) == edges(oracle)


def test_a_tag_of_events_is_found_by_its_name_alone(tmp_path):
    graph = made(tmp_path / "g", events(("ann", "x"), kind="tag", tag="a:b"))
    assert names(ego_network(*graph, "tag", "a:b")) == {"tag:a:b", "x"}
    assert names(ego_network(*graph, "tag", "tag:a:b")) == {"tag:a:b", "x"}


def test_a_large_neighbourhood_keeps_the_strongest_ties(tmp_path):
    rows = [
        {"user": "ann", "item": f"i{k}", "kind": "play", "value": float(k + 1)} for k in range(9)
    ]
    graph = made(tmp_path / "g", events(*rows))
    assert names(ego_network(*graph, "user", "ann", 1, most_nodes=4)) == {"ann", "i8", "i7", "i6"}


def test_what_is_not_there_or_makes_no_sense_is_refused(chain):
    for kind in ("user", "item", "tag"):
        with pytest.raises(NotFound, match="nobody"):
            ego_network(*chain, kind, "nobody")
    with pytest.raises(InputError):
        ego_network(*chain, "domain", "x")
    with pytest.raises(InputError):
        ego_network(*chain, "user", "ann", -1)


def test_a_network_too_large_for_networkx_is_refused(chain, monkeypatch):
    monkeypatch.setattr(convert, "MOST_EDGES", 6)
    with pytest.raises(InputError, match="7 edges are too many"):
        network(*chain)


def test_graphml_comes_back_as_it_was(chain, tmp_path):
    graph = network(*chain)
    to_graphml(graph, tmp_path / "g.graphml")
    back = nx.read_graphml(tmp_path / "g.graphml", node_type=int)
    assert dict(back.nodes(data=True)) == dict(graph.nodes(data=True))
    assert edges(back) == edges(graph)


def test_hostile_text_makes_valid_graphml(tmp_path):
    title = "a\x00b\x1b[31m <b>&\"'</b> ]]> \ufffe 🎻 日本\nnew"
    batch = {"items": table("items", [{"id": "i\x07/ <é>", "title": title}])}
    graph = network(*made(tmp_path / "g", batch))
    to_graphml(graph, tmp_path / "g.graphml")
    (node,) = nx.read_graphml(tmp_path / "g.graphml").nodes.values()
    assert node["title"] == "ab[31m <b>&\"'</b> ]]>  🎻 日本\nnew"
    assert node["id"] == "i/ <é>"


def test_an_empty_graph_is_an_empty_file(tmp_path):
    graph = network(*made(tmp_path / "g"))
    to_graphml(graph, tmp_path / "g.graphml")
    assert len(nx.read_graphml(tmp_path / "g.graphml")) == 0
