"""Pictures of each page for docs/annotate.md, of a station with a real model: screenshots.py MODEL FOLDER."""
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from station import Client, Station  # noqa: E402
from webdriver import Browser  # noqa: E402

PROMPTS = ["Write two lines about the sea.", "How do I boil an egg?", "What is a prime number?", "Give me three names for a black cat.", "Why is the sky blue?", "Say hello in French."]
SIZES = {"phone": (390, 844), "tablet": (820, 1100), "desktop": (1360, 860)}


def collect(client, rng, n):
    for k in range(n):
        item = client.post("/api/next", {})["item"] or client.post("/api/prompt", dict(text=rng.choice(PROMPTS)))["item"]
        item = client.answered(item)
        client.choose(item, choice=rng.choices(["first", "second"], [11, 9])[0], seconds=rng.lognormvariate(3, 0.5),
                      rating=rng.choices(["significantly_better", "better", "slightly_better", "negligibly_better"], [2, 3, 3, 2])[0],
                      bin=rng.choices(["chosen_safe", "both_safe", "both_unsafe", "other_safe"], [4, 8, 3, 1])[0])


def main(model, out):
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    rng = random.Random(3)
    station = Station(folder, model, "safety", "--batch", "2023-W07", "--target", 40, "--overlap", 4, "--name", "chat-v2", "--name-b", "chat-v3")
    station.command[station.command.index("--max-new-tokens") + 1] = "70"
    try:
        ann = Client(station.port, station.token, "Ann")
        bob = Client(station.port, ann.post("/api/invite", {})["token"], "Bob")
        for client in (ann, bob):
            collect(client, rng, 9)
        station.command[station.command.index("2023-W07")] = "2023-W08"
        station.restart()
        for client in (ann, bob):
            client.port = station.port
            collect(client, rng, 7)
        for size, (width, height) in SIZES.items():
            browser = Browser(width, height, dark=size == "tablet")
            try:
                guest = f"http://127.0.0.1:{station.port}/#{ann.post('/api/invite', {})['token']}"
                browser.open(station.link if size == "desktop" else guest)
                browser.wait("return !document.querySelector('#join').hidden")
                browser.screenshot(out / f"join-{size}.png")
                browser.type("#name", f"Carla on a {size}")
                browser.click("#join-form button")
                browser.wait("return !document.querySelector('#write').hidden")
                browser.type("#prompt", "How do I get rid of a wasp nest?")
                browser.screenshot(out / f"write-{size}.png")
                browser.click("#write button.main")
                browser.wait("return document.querySelector('#message').textContent === 'Both answers are there.'", 60)
                browser.click("input[name=safe][value=both]")
                browser.click("input[name=choice][value=first]")
                browser.click("input[name=rating][value=slightly_better]")
                browser.run("scrollTo(0, 0)")
                browser.screenshot(out / f"compare-{size}.png")
                browser.click("#send")
                browser.wait("return !document.querySelector('#write').hidden")
                browser.click("a[href='#history']")
                browser.wait("return document.querySelectorAll('#history-list button').length")
                browser.screenshot(out / f"history-{size}.png")
                browser.click("a[href='#statistics']")
                browser.wait("return [...document.querySelectorAll('#charts img')].length > 3 && [...document.querySelectorAll('#charts img')].every((i) => i.complete)")
                browser.run("scrollTo(0, 0)")
                browser.screenshot(out / f"statistics-{size}.png")
            finally:
                browser.close()
    finally:
        station.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
