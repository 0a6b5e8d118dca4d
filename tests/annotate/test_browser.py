"""The page in a real browser: twenty comparisons in each mode by two annotators, one by mouse and one by keyboard, while the station is killed now and then."""
import contextlib
import json
import random
import sqlite3
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import webdriver  # noqa: E402
from station import Station, WithModel, program  # noqa: E402

COMPARISONS = 20
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
READY = "return document.querySelector('#message').textContent === 'Both answers are there.' && !document.querySelector('#choose').hidden"
RATINGS = ["significantly_better", "better", "slightly_better", "negligibly_better"]


class Annotator:
    """Somebody in a browser; what he chose, in his order."""

    def __init__(self, link, name):
        self.browser, self.name, self.said = webdriver.Browser(), name, []
        self.browser.open(link)
        self.browser.wait("return !document.querySelector('#join').hidden")
        self.browser.type("#name", name)
        self.browser.click("#join-form button")
        self.browser.wait("return !document.querySelector('#app').hidden")

    def write(self, text):
        """To where both answers to the prompt are there."""
        self.browser.wait("return !document.querySelector('#write').hidden")
        self.browser.run("document.querySelector('#prompt').value = ''")
        self.browser.type("#prompt", text)
        self.send_prompt()

    def ready(self):
        self.browser.wait(READY)

    def answers(self):
        return [self.browser.text("#text-0"), self.browser.text("#text-1")]

    def compare(self, rng, safety):
        self.ready()
        choice, rating, safe = rng.randrange(2), rng.randrange(4), rng.randrange(4)
        answers = self.answers()
        self.choose(choice, rating, safe if safety else None)
        bins = ["both_safe", ["chosen_safe", "other_safe"][choice], ["other_safe", "chosen_safe"][choice], "both_unsafe"]
        self.said.append((answers, ["first", "second"][choice], RATINGS[rating], bins[safe] if safety else None))
        mine = len(self.said)
        self.browser.wait(f"return document.querySelector('#progress-text').textContent.includes('{mine} by you')")


class ByMouse(Annotator):
    def send_prompt(self):
        self.browser.click("#write button.main")

    def choose(self, choice, rating, safe):
        if safe is not None:
            self.browser.click(f"input[name=safe][value='{['both', '0', '1', 'none'][safe]}']")
        self.browser.click(f"input[name=choice][value={['first', 'second'][choice]}]")
        self.browser.click(f"input[name=rating][value={RATINGS[rating]}]")
        self.browser.click("#send")


class ByKeyboard(Annotator):
    def send_prompt(self):
        self.browser.press("Enter", hold="Control")

    def choose(self, choice, rating, safe):
        if safe is not None:
            self.browser.press("bfgx"[safe])
        self.browser.press(["Left", "Right"][choice], str(rating + 1), "Enter")


class Page(WithModel):
    def both(self, mode):
        folder, safety, rng = Path(tempfile.mkdtemp(dir=self.root)), mode == "safety", random.Random(1)
        (folder / "prompts.jsonl").write_text("".join(json.dumps(dict(prompt=f"A prompt that waits, {k}")) + "\n" for k in range(6)))
        station = Station(folder, self.model, mode, "--prompts", folder / "prompts.jsonl", "--overlap", 0)
        self.addCleanup(station.close)
        ann = ByMouse(station.link, f"Ann {HOSTILE}"[:60])
        self.addCleanup(ann.browser.close)
        ann.browser.click("a[href='#statistics']")
        ann.browser.click("#invite")
        link = ann.browser.wait("return document.querySelector('#files-message').textContent")
        bob = ByKeyboard(link, "Bob")
        self.addCleanup(bob.browser.close)
        ann.browser.click("a[href='#compare']")
        for k in range(COMPARISONS):
            who = (ann, bob)[k % 2]
            if k >= 6:
                who.write(f"{HOSTILE} number {k}")
            if k in (7, 13):  # while a response is on its way; the page finds the station again
                station.restart()
            who.compare(rng, safety)
        for who in (ann, bob):
            self.assertEqual(who.browser.run("return document.title"), "Comparisons")  # no markup came to life
            self.assertEqual(who.browser.run("return document.querySelectorAll('main img, main script').length"), 0)
        # An answer with markup, as a model may give it.
        line = dict(id="hostile", prompt=HOSTILE, responses=[HOSTILE, HOSTILE + "!"], is_safety=safety)
        ann.browser.call("POST", "/execute/async", {"script": "fetch('/api/import', {method: 'POST', headers: {'Content-Type': 'application/json', 'X-CSRF-Token': state.csrf}, "
                                                              "body: arguments[0]}).then((r) => arguments[1](r.status))", "args": [json.dumps(line)]})
        ann.browser.run("next()")
        ann.browser.wait(READY)
        self.assertEqual(ann.answers(), [HOSTILE, HOSTILE + "!"])
        ann.compare(rng, safety)
        for who in (ann, bob):
            self.assertEqual(who.browser.run("return document.title"), "Comparisons")
            self.assertEqual(who.browser.run("return document.querySelectorAll('main img, main script').length"), 0)
        # Undo by key, and the same choice again.
        bob.browser.press("Escape", "u")
        bob.browser.wait("return document.querySelector('#message').textContent !== ''")
        bob.said.pop()
        bob.compare(rng, safety)
        # History, and a change.
        ann.browser.click("a[href='#history']")
        self.assertEqual(ann.browser.wait("return document.querySelectorAll('#history-list button').length"), COMPARISONS // 2 + 1)
        # Skip with a reason.
        bob.write("to be skipped")
        bob.ready()
        bob.browser.press("s")
        bob.browser.wait("return document.querySelector('#skip-dialog').open")
        bob.browser.press("4")
        bob.browser.wait("return !document.querySelector('#write').hidden")
        ann.browser.click("a[href='#statistics']")
        ann.browser.wait("return [...document.querySelectorAll('#charts img')].length >= 3 && [...document.querySelectorAll('#charts img')].every((i) => i.complete && i.naturalWidth > 0)")
        text = ann.browser.call("POST", "/execute/async", {"script": "fetch('/export.jsonl').then((r) => r.text()).then(arguments[0])", "args": []})
        lines = [json.loads(line) for line in text.split("\n") if line]
        self.assertEqual([line["skipped"] for line in lines if "skipped" in line], ["The answers are broken"])
        for who in (ann, bob):
            got = [(line["responses"], line["choice"], line["rating"], line["bin"]) for line in lines if line["annotator"] == who.name and "skipped" not in line]
            self.assertEqual(got, [tuple(said) for said in who.said])
            self.assertEqual([error for error in who.browser.console() if "net::ERR_" not in error], [])  # but what the kills cut off
        (folder / "pairs.jsonl").write_text(text)
        run = program("reward", "--model", self.model, "--data", folder / "pairs.jsonl", "--out", folder / "reward", "--batch", 4, "--quiet")
        kept = sum(bin != "other_safe" for who in (ann, bob) for *_, bin in who.said)
        self.assertEqual(json.loads(run.stdout)["pairs"], kept)

    def test_broken_off(self):
        """A station that was killed between the end of one answer and that of the other: the page shows both as they are kept."""
        folder = Path(tempfile.mkdtemp(dir=self.root))
        station = Station(folder, self.model)
        self.addCleanup(station.close)
        ann = ByKeyboard(station.link, "Ann")
        self.addCleanup(ann.browser.close)
        ann.write("Who likes red?")
        ann.ready()
        answers = ann.answers()
        for which in (0, 1):
            station.kill()
            with contextlib.closing(sqlite3.connect(folder / "station.db")) as db:
                db.execute(f"UPDATE items SET response{which} = NULL")
                db.commit()
            station.restart()
            ann.browser.run("location.reload()")
            ann.ready()
            self.assertEqual(ann.answers(), answers)

    def test_helpfulness(self):
        self.both("helpfulness")

    def test_safety(self):
        self.both("safety")


if __name__ == "__main__":
    if not webdriver.is_there():
        print("skipped: no chromedriver (Debian's chromium-driver)")
        sys.exit(77)
    unittest.main(verbosity=2)
