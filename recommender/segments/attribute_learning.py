"""Turning what users say about themselves into numbers, learned at a refresh. Needs scikit-learn.

A number stays as it is. If an attribute has few words, each becomes a column. If it has many, a
word is replaced by what users who say it choose (target encoding: for each domain, the chance that
it is the largest in a user's history). That is learned from other users' histories, never from the
user's own. Missing values become the median, the most frequent word, or the value of users nearest
in behaviour. A word that fewer than `FEWEST` users say is in no release.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler, TargetEncoder

from graph.arrays import F64, I64, Flags
from recommender.ranking.attributes import as_number, as_texts
from recommender.segments.attributes import MEANS, NUMBER, WORDS, Attributes, Encoded, Encoding

FEWEST = 5  # users who must say a word for it to be a feature
LEAST_SHARE = 0.05  # share of the users who must give an attribute for it to be a feature
MOST_WORDS = 12  # with a column each; of more, those who say them tell what they mean
MOST_ATTRIBUTES = 32
FOLDS = 5
NEIGHBOURS = 5
SAMPLE = 2_000  # users among whom the nearest are sought
NEAREST = "nearest"


def learn(
    users: Sequence[Attributes], active: Flags, chosen: I64,
    domains: Sequence[str], behaviour: F64, *, filling: str, seed: int,
) -> tuple[Encoding, F64]:  # fmt: skip
    """How attributes become columns, and the columns of the users (u, p) it was learned from.

    Args:
        users: (u) what each says of themselves; empty for users who may not be learned from.
        active: (u,) whom to learn from.
        chosen: (u,) the place in `domains` of the largest domain of each history; -1: none.
        domains: names of the domains.
        behaviour: (u, f) comparable features that tell which users are near; no NaN.
        filling: `typical` or `nearest`.
        seed: of folds and samples.
    """
    encodeds: list[Encoded] = []
    parts: list[F64] = []
    for name in _spoken(users, active):
        values = [attributes.get(name) for attributes in users]
        made = _number(name, values, active)
        if made is None:
            made = _few_words(name, values, active)
        if made is None:
            made = _many_words(name, values, active, chosen, domains, seed)
        if made is not None:
            encodeds.append(made[0])
            parts.append(made[1])
    encoding = Encoding(tuple(encodeds))
    if not parts:
        return encoding, np.zeros((len(users), 0))
    columns = np.concatenate(parts, axis=1)
    if filling == NEAREST:
        columns = _by_the_nearest(columns, behaviour, active, seed)
    missing = np.array(
        [number for attribute in encoding.attributes for number in attribute.missing]
    )
    return encoding, np.where(np.isnan(columns), missing, columns)


def _spoken(users: Sequence[Attributes], active: Flags) -> list[str]:
    """The attributes that enough of the active users say anything for, by name."""
    counts = Counter(name for row in np.flatnonzero(active) for name in users[row])
    fewest = max(FEWEST, LEAST_SHARE * np.count_nonzero(active))
    common = [name for name, count in counts.most_common(MOST_ATTRIBUTES) if count >= fewest]
    return sorted(common)


def _number(name: str, values: Sequence[object], active: Flags) -> tuple[Encoded, F64] | None:
    numbers = np.array([as_number(value) for value in values])
    has_value = np.array([bool(as_texts(value)) for value in values])
    if np.isnan(numbers[has_value]).any() or len(np.unique(numbers[active & has_value])) < 2:
        return None
    middle = SimpleImputer(strategy="median").fit(numbers[active][:, None]).statistics_
    return Encoded(name, NUMBER, (f"attribute {name}",), (float(middle[0]),)), numbers[:, None]


def _few_words(name: str, values: Sequence[object], active: Flags) -> tuple[Encoded, F64] | None:
    """A column for each word; if values are lists, only for the words that most users say."""
    texts = [as_texts(value) for value in values]
    counts = Counter(word for row in np.flatnonzero(active) for word in set(texts[row]))
    words = [word for word, count in counts.most_common() if count >= FEWEST]
    several = any(len(words_of_user) > 1 for words_of_user in texts)
    if not words or (len(words) > MOST_WORDS and not several):
        return None
    words = sorted(words[:MOST_WORDS])
    if not several and len(words) == 1 and counts[words[0]] == np.count_nonzero(active):
        return None
    known = set(words)
    columns = MultiLabelBinarizer(classes=words).fit_transform(
        [[word for word in words_of_user if word in known] for words_of_user in texts]
    ).astype(np.float64)  # fmt: skip
    silent = np.array([not words_of_user for words_of_user in texts])
    columns[silent] = np.nan
    if several:
        missing = SimpleImputer(strategy="most_frequent").fit(columns[active]).statistics_
    else:
        first = np.array(
            [[words_of_user[0] if words_of_user else None] for words_of_user in texts], object
        )
        most = SimpleImputer(strategy="most_frequent", missing_values=None).fit(first[active])
        missing = [float(word == most.statistics_[0]) for word in words]
    made = Encoded(
        name, WORDS, tuple(f"attribute {name} = {word}" for word in words),
        tuple(map(float, missing)), tuple(words),
    )  # fmt: skip
    return made, columns


def _many_words(
    name: str, values: Sequence[object], active: Flags, chosen: I64,
    domains: Sequence[str], seed: int,
) -> tuple[Encoded, F64] | None:  # fmt: skip
    """What users who say a word choose; for the users that this is learned from, out of fold."""
    texts = np.array([(as_texts(value) or ("",))[0] for value in values], object)
    counts = Counter(texts[active].tolist())
    kept = {word for word, count in counts.items() if word and count >= FEWEST}
    sizes = np.bincount(chosen[active & (chosen >= 0)], minlength=len(domains))
    foldable = np.isin(chosen, np.flatnonzero(sizes >= FOLDS))
    fit = active & foldable & (texts != "")
    classes = np.unique(chosen[fit])
    if not kept or len(classes) < 2 or np.bincount(chosen[fit]).max() < FOLDS:
        return None
    sizes = np.bincount(chosen[fit], minlength=len(domains))
    fit &= sizes[np.maximum(chosen, 0)] >= FOLDS
    classes = np.unique(chosen[fit])
    if len(classes) < 2:
        return None
    rare = np.array([text not in kept for text in texts])
    grouped = np.where(rare & (texts != ""), "\0", texts)  # all that are said by too few, as one
    encoder = TargetEncoder(
        target_type="binary" if len(classes) == 2 else "multiclass",
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed),
    )
    columns = np.full((len(texts), len(classes) if len(classes) > 2 else 1), np.nan)
    columns[fit] = encoder.fit_transform(grouped[fit][:, None], chosen[fit])
    rest = (texts != "") & ~fit
    if rest.any():
        columns[rest] = encoder.transform(grouped[rest][:, None])
    words = sorted(kept & set(grouped[fit].tolist()))
    means = encoder.transform(np.array([*words, "\0"], object)[:, None])
    mean = tuple(np.atleast_1d(np.asarray(encoder.target_mean_, np.float64)).tolist())
    shown = classes if len(classes) > 2 else classes[1:]
    made = Encoded(
        name, MEANS, tuple(f"attribute {name} ~ {domains[domain]}" for domain in shown.tolist()),
        mean, tuple(words), tuple(map(tuple, means[:-1].tolist())), tuple(means[-1].tolist()),
    )  # fmt: skip
    return made, columns


def _by_the_nearest(columns: F64, behaviour: F64, active: Flags, seed: int) -> F64:
    """Missing values filled with those of the users nearest in what is known of both."""
    scaler = StandardScaler().fit(columns[active])
    both = np.concatenate([behaviour, scaler.transform(columns)], axis=1)
    known = np.flatnonzero(active & ~np.isnan(columns).all(axis=1))
    drawn = np.random.default_rng(seed).permutation(known)[:SAMPLE]
    incomplete = np.flatnonzero(active & np.isnan(columns).any(axis=1))
    if not len(drawn) or not len(incomplete):
        return columns
    imputer: Any = KNNImputer(n_neighbors=NEIGHBOURS, keep_empty_features=True).fit(both[drawn])
    filled = columns.copy()
    near = imputer.transform(both[incomplete])[:, behaviour.shape[1] :]
    filled[incomplete] = scaler.inverse_transform(near)
    return filled
