"""Two sets of logits, a text's loss from them, and two tokenizers' ids."""
import numpy as np


def loss(logits, tokens):
    """-log p summed over the tokens of one sequence but the first, from (T, V) logits."""
    total = 0.0
    for begin in range(0, len(tokens) - 1, 256):
        rows = log_softmax(logits[begin:min(begin + 256, len(tokens) - 1)])
        total -= rows[np.arange(len(rows)), tokens[begin + 1:begin + 1 + len(rows)]].sum()
    return total


def log_softmax(logits):
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


def divergence(exact, logits):
    """Kullback-Leibler: sum p log(p / q) over the vocabulary, summed over the positions, p from the exact (T, V) logits."""
    total = 0.0
    for begin in range(0, len(exact), 256):
        p, q = log_softmax(exact[begin:begin + 256]), log_softmax(logits[begin:begin + 256])
        q -= p
        total -= (np.exp(p, out=p) * q).sum()
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


def differing(lines, own, peer):
    """(line, our ids, the peer's) where these are not the same."""
    return [(line, list(a), list(b)) for line in lines if list(a := own(line)) != list(b := peer(line))]
