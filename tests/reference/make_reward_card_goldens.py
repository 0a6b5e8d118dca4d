"""Numbers of a reward model's report card, each by another formula than the library's: writes reward_card.golden.

    python3 make_reward_card_goldens.py            # makes it anew; plain Python
    python3 make_reward_card_goldens.py --check    # the committed file is what the script makes
"""
import math
import os
import random
import sys

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reward_card.golden")


def sigmoid(x):
    return 0.5 * (1 + math.tanh(x / 2))


def won(chosen, rejected):
    return 1.0 if chosen > rejected else 0.5 if chosen == rejected else 0.0


def wilson(right, n):
    """The two p at which |right / n - p| = z sqrt(p (1 - p) / n), by bisection."""
    z, x = 1.959963984540054, right / n

    def root(inside, outside):
        for _ in range(200):
            p = (inside + outside) / 2
            inside, outside = (p, outside) if abs(x - p) < z * math.sqrt(p * (1 - p) / n) else (inside, p)
        return inside

    def end(limit):
        p = x + (limit - x) * 1e-9 # beside x, where x is 0 or 1 itself
        return limit if x == limit else root(p, limit)

    return [x, end(0.0), end(1.0)]


def both_orders(pairs):
    """(p, outcome, weight) of each pair in both orders: over [0, 1], which the library's [0.5, 1] is a half of."""
    for chosen, rejected in pairs:
        p = sigmoid(chosen - rejected)
        yield p, 1.0
        yield 1 - p, 0.0


def calibration_error(pairs, bins):
    """Over 2 * bins bins of [0, 1]; p = 0.5 is on the border of two and counts half in each."""
    sums = [[0.0, 0.0, 0.0] for _ in range(2 * bins)]
    for p, outcome in both_orders(pairs):
        for k in (bins - 1, bins) if p == 0.5 else (min(int(p * 2 * bins), 2 * bins - 1),):
            weight = 0.5 if p == 0.5 else 1.0
            sums[k][0] += weight
            sums[k][1] += weight * p
            sums[k][2] += weight * outcome
    return sum(abs(s[1] - s[2]) for s in sums) / (2 * len(pairs))


def calibration(pairs, bins):
    rows = []
    for k in range(bins):
        low, high = 0.5 + k / (2 * bins), 0.5 + (k + 1) / (2 * bins)
        inside = [(c, r) for c, r in pairs if low <= max(sigmoid(c - r), sigmoid(r - c)) < high or (k == bins - 1 and sigmoid(abs(c - r)) >= high)]
        n = len(inside)
        rows.append((n, sum(max(sigmoid(c - r), sigmoid(r - c)) for c, r in inside) / n, *wilson(sum(won(c, r) for c, r in inside), n)))
    return rows


def area(responses):
    safe = [s for s, y in responses if y == 1]
    unsafe = [s for s, y in responses if y == 0]
    return sum(won(a, b) for a in safe for b in unsafe) / (len(safe) * len(unsafe)) if safe and unsafe else 0.0


def recall(responses, threshold):
    border = math.log(threshold / (1 - threshold)) # of the score
    called = [y for s, y in responses if s < border]
    unsafe = sum(y == 0 for _, y in responses)
    return [called.count(0) / unsafe if unsafe else 0.0, called.count(0) / len(called) if called else 0.0]


def card(rows):
    pairs = [(c, r) for c, r, *_ in rows]
    n, scores = len(pairs), [s for pair in pairs for s in pair]
    matched = [(c, r) for c, r, _, a, b, *_ in rows if 10 * abs(a - b) <= max(a, b)]
    responses = [(s, y) for c, r, _, _, _, x, z in rows for s, y in ((c, x), (r, z)) if y >= 0]
    chosen, rejected = sum(c for c, _ in pairs) / n, sum(r for _, r in pairs) / n
    return [("n_pairs", n), ("n_ties", sum(c == r for c, r in pairs)), ("accuracy", *wilson(sum(won(*p) for p in pairs), n)),
            ("scores", sum(scores) / len(scores), min(scores), max(scores), chosen, rejected, sum(c - r for c, r in pairs) / n),
            ("brier", sum((y - p) ** 2 for p, y in both_orders(pairs)) / (2 * n)), ("ece", calibration_error(pairs, 10)),
            ("longer_wins", *wilson(sum(won(a, b) for _, _, _, a, b, *_ in rows), n)),
            ("length_matched", len(matched), *wilson(sum(won(*p) for p in matched), len(matched))),
            ("labels", len(responses), sum(y == 0 for _, y in responses)),
            ("safety", sum((s >= 0) == (y == 1) for s, y in responses) / len(responses), area(responses), *recall(responses, 0.5),
             *recall(responses, 0.15))]


def make():
    draw = random.Random(20)
    rows = []
    for _ in range(300):
        quality = draw.gauss(0, 1)
        chosen, rejected = (round(16 * (quality + draw.gauss(shift, 1.2))) / 16 for shift in (0.6, -0.2)) # sixteenths: float has them, and there are ties
        a = draw.randrange(1, 60)
        b = draw.choice([a, a + a // 10, max(0, a - 1), draw.randrange(0, 60)])
        if draw.random() < 0.02:
            rejected = chosen
        label = lambda score: draw.choice([-1, 1 if score + draw.gauss(0, 1) > -0.3 else 0, 1 if score + draw.gauss(0, 1) > -0.3 else 0])
        rows.append((chosen, rejected, draw.randrange(-1, 4), a, b, label(chosen), label(rejected)))
    lines = [f"rows {len(rows)}"] + [" ".join(f"{x:g}" for x in row) for row in rows]
    number = lambda x: str(x) if isinstance(x, int) else repr(float(x))
    for group in (None, -1, 0, 1, 2, 3):
        inside = [row for row in rows if group is None or row[2] == group]
        lines.append(f"group {'9' if group is None else group}")
        lines += [f"{name} " + " ".join(map(number, values)) for name, *values in card(inside)]
    lines.append("calibration 7")
    lines += [" ".join(map(number, row)) for row in calibration([(c, r) for c, r, *_ in rows], 7)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    made = make()
    if "--check" in sys.argv[1:]:
        if open(PATH, encoding="ascii").read() != made:
            sys.exit(f"{PATH} is not what this script makes")
    else:
        with open(PATH, "w", encoding="ascii") as out:
            out.write(made)
