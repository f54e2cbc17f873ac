"""What an item that few or none have chosen scores by the items it is like.

Constants only, so that a worker, which places new items, starts without what makes tables.
"""

OWN = 2.0
"""How much an item speaks for itself, in units of its strongest entry."""
SHARPNESS, DAMPING = 2.0, 0.8
"""The power of the cosines, and the power of their sum by which scores are divided: below 1, many
like items are worth more than few. Chosen by hand on a draw of cold items of citeulike-a and
ml-latest-small."""
WORTH = 0.25
"""Factor on a cold item's score, compared with an equally like item that people have chosen. On
held-back parts of train, 1 costs up to 6 % of NDCG@20 + Recall@20, .1 to .75 nothing or little.
Where most of a catalogue is cold it is less, by warm items / cold ones: the more there are, the
higher their best ones score by chance, and the less often any of them is chosen."""
