"""Two sets of logits, and a text's loss from them."""
import numpy as np


def loss(logits, tokens):
    """-log p summed over the tokens of one sequence but the first, from (T, V) logits."""
    total = 0.0
    for begin in range(0, len(tokens) - 1, 256):
        rows = logits[begin:min(begin + 256, len(tokens) - 1)].astype(np.float64)
        top = rows.max(axis=1)
        total += (np.log(np.exp(rows - top[:, None]).sum(axis=1)) + top - rows[np.arange(len(rows)), tokens[begin + 1:begin + 1 + len(rows)]]).sum()
    return total


def compare(own, peer, close=2e-3):
    """Of two (T, V) logits: the largest difference, how many top tokens differ, and how many of these where our top two are `close` apart or more."""
    worst, tops, far = 0.0, 0, 0
    for begin in range(0, len(own), 256):
        a, b = own[begin:begin + 256], peer[begin:begin + 256]
        worst = max(worst, float(np.abs(a - b).max()))
        wrong = np.flatnonzero(a.argmax(axis=1) != b.argmax(axis=1))
        tops += len(wrong)
        for row in wrong:
            second, first = np.sort(a[row])[-2:]
            far += first - second >= close
    return worst, tops, far
