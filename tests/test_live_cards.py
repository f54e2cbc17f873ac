"""Cards of live items are found as those of a release are."""

import numpy as np

from recommender.overlay.live_cards import LiveCards
from recommender.releases.cards import make_card

OF_RELEASE = [make_card(f"r{row}", f"Title {row}", (), (), "{}", ()) for row in range(3)]
TEXT = "".join(card.text for card in OF_RELEASE).encode()


def card_of(row):
    return make_card(f"live-{row}", "x" * row, ("tag",), (), "{}", ("tag",))


def test_each_live_card_is_made_once_and_read_back_however_many_there_are():
    starts = np.cumsum([0, *(len(card.text) for card in OF_RELEASE)])[:3]
    parts = np.array([card[1:] for card in OF_RELEASE], np.int32)
    live, made = [1, *range(3, 60)], []  # one of the release has changed
    cards = LiveCards(starts, parts, 60, live)

    def make(row):
        made.append(row)
        return card_of(row)

    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = np.append(rng.integers(0, 60, 8), [-1, -1]).astype(np.int32)
        text, begins, ends = cards.of(rows, make)
        for row, begin, own in zip(rows.tolist(), begins.tolist(), ends.tolist(), strict=True):
            expected = card_of(row) if row in live else OF_RELEASE[row]
            source = TEXT[begin:] if begin >= 0 else text[-1 - begin :].tobytes()
            assert row == -1 or tuple(own) == expected[1:]
            assert row == -1 or source.startswith(expected.text.encode())
    assert sorted(made) == sorted(set(made))
    assert set(made) <= set(live)
