"""20,000 lines of valid UTF-8 for comparing tokenizers, the same ones each time: those kinds that the reference texts have (26 languages, code, emoji, markers,
white space), and more scripts, emoji with modifiers, joiners and control characters, put together at random."""
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "reference"))
import make_tokenizer_texts as reference  # noqa: E402

# First and last code point of what words of a script are made of. Some of them are not assigned.
SCRIPTS = {
    "Latin": (0x61, 0x7A), "Latin extended": (0xC0, 0x24F), "Greek": (0x370, 0x3FF), "Cyrillic": (0x400, 0x4FF), "Armenian": (0x531, 0x587), "Hebrew": (0x591, 0x5EA),
    "Arabic": (0x600, 0x6FF), "Syriac": (0x700, 0x74F), "Thaana": (0x780, 0x7B1), "Devanagari": (0x900, 0x97F), "Bengali": (0x980, 0x9FE), "Gurmukhi": (0xA01, 0xA76),
    "Gujarati": (0xA81, 0xAFF), "Oriya": (0xB01, 0xB77), "Tamil": (0xB82, 0xBFA), "Telugu": (0xC00, 0xC7F), "Kannada": (0xC80, 0xCF3), "Malayalam": (0xD00, 0xD7F),
    "Sinhala": (0xD81, 0xDF4), "Thai": (0xE01, 0xE5B), "Lao": (0xE81, 0xEDF), "Tibetan": (0xF00, 0xFDA), "Myanmar": (0x1000, 0x109F), "Georgian": (0x10A0, 0x10FF),
    "Ethiopic": (0x1200, 0x139F), "Cherokee": (0x13A0, 0x13FD), "Khmer": (0x1780, 0x17F9), "Mongolian": (0x1800, 0x18AA), "Hiragana": (0x3041, 0x309F),
    "Katakana": (0x30A0, 0x30FF), "Bopomofo": (0x3105, 0x312F), "Han": (0x4E00, 0x9FFF), "Hangul": (0xAC00, 0xD7A3), "Gothic": (0x10330, 0x1034A),
    "Cuneiform": (0x12000, 0x12399), "Adlam": (0x1E900, 0x1E95F),
}
EMOJI = [*map(chr, [*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F6D8), *range(0x1F900, 0x1FA00), *range(0x2600, 0x27C0)])]
MODIFIERS = [*map(chr, range(0x1F3FB, 0x1F400)), "\ufe0f", "\ufe0e", "\u20e3", "\U000e0067\U000e007f"]
CONTROLS = [*map(chr, [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x2030), *range(0x2060, 0x2070), 0xFEFF, 0xFFF9, 0xFFFC])]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\x85", "\xa0", "\u1680", *map(chr, range(0x2000, 0x200B)), "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"]


def scripts(rng):
    """Words of one script, with its digits and marks as they fall."""
    low, high = SCRIPTS[rng.choice(list(SCRIPTS))]
    word = lambda: "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9)))  # noqa: E731
    return rng.choice(["", " "]) + rng.choice([" ", " ", "", ", ", "-", "\u200c"]).join(word() for _ in range(rng.randint(1, 8)))


def emoji(rng):
    """Emoji, modified and joined by U+200D."""
    one = lambda: rng.choice(EMOJI) + rng.choice(["", "", rng.choice(MODIFIERS)])  # noqa: E731
    flag = lambda: "".join(chr(rng.randrange(0x1F1E6, 0x1F200)) for _ in range(2))  # noqa: E731
    return rng.choice(["", " ", "ok "]).join(rng.choice([one(), flag(), "\u200d".join(one() for _ in range(rng.randint(2, 4)))]) for _ in range(rng.randint(1, 8)))


def controls(rng):
    return "".join(rng.choice([rng.choice(CONTROLS), rng.choice(CONTROLS), "a", "word", " ", "7"]) for _ in range(rng.randint(1, 16)))


def spaces(rng):
    return "".join(rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 5]) + rng.choice(["", "", "a", "It's", "12345", "...", "中"]) for _ in range(rng.randint(1, 12)))


def code(rng):
    return rng.choice(["\n", "\n    ", "\r\n\t"]).join(rng.choice(reference.CODE) for _ in range(rng.randint(1, 4)))


def mixture(rng):
    return "".join(rng.choice([scripts, emoji, controls, spaces, code, reference.english])(rng)[:30] for _ in range(3))


def lines(count=20000, seed=2307):
    rng = random.Random(seed)
    own = [scripts, scripts, emoji, controls, spaces, code, mixture]
    return [rng.choice(own)(rng) if i % 2 else reference.line_of(rng, i // 2 % 9) for i in range(count)]


def invalid(count=2000, seed=2307):
    """Bytes that are not UTF-8, and some that are."""
    rng = random.Random(seed)
    return [reference.invalid_of(rng) for _ in range(count)]


def byte_strings(count=5000, seed=2307):
    rng = random.Random(seed)
    return [rng.randbytes(rng.randint(0, 200)) for _ in range(count)]
