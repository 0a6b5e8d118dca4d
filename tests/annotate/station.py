"""A station with a tiny model, and a client for it; the standard library alone."""
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("LLAMA2_BIN", ROOT / "build/bin"))
TOKENIZER = ROOT / "examples/world/tokenizer.model"


def program(name, *arguments, **options):
    return subprocess.run([BIN / f"llama2-{name}", *map(str, arguments)], check=True, capture_output=True, text=True, **options)


def make_model(folder):
    """A model that says anything at all: of the size of nothing, trained for three steps."""
    text = folder / "text.txt"
    text.write_text("Tom likes red. Who likes red? Tom likes red. Sue has a cat and a dog, and Ann has none.\n" * 200)
    shape = ["--dim", 32, "--layers", 2, "--heads", 4, "--kv-heads", 2, "--context", 512]
    program("pretrain", "--tokenizer", TOKENIZER, *shape, "--data", text, "--steps", 3, "--batch", 4, "--length", 64, "--out", folder / "model", "--quiet")
    return folder / "model"


class WithModel(unittest.TestCase):
    """Tests that share a folder with a tiny model in it."""

    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp())
        cls.model = make_model(cls.root)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)


class Station:
    """A running llama2-annotate; `db` outlives it."""

    def __init__(self, folder, model, mode="helpfulness", *arguments, threads=1):
        self.command = [str(BIN / "llama2-annotate"), "--model", str(model), "--db", str(folder / "station.db"), "--mode", mode, "--port", "0", "--threads", str(threads),
                        "--max-new-tokens", "16", *map(str, arguments)]
        self.start()

    def start(self):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.link = self.process.stdout.readline().strip()
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#([0-9a-f]{32})", self.link)
        if not match:
            self.process.kill()
            self.errors.seek(0)
            raise RuntimeError(f"no link but {self.link!r}: {self.errors.read()}")
        self.port, self.token = int(match[1]), match[2]
        # The next one has the same port, as after a crash.
        at = self.command.index("--port") + 1
        self.command[at] = str(self.port)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        self.process.stdout.close()
        self.errors.close()

    def restart(self):
        """Killed with -9, and there again."""
        self.close()
        self.start()

    def stop(self):
        """Ends it as Ctrl-C does; its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=20)


class Client:
    """What a browser would send; `cookie` and `csrf` as the station gave them."""

    def __init__(self, port, token=None, name="Ann"):
        self.port, self.cookie, self.csrf = port, "", ""
        if token:
            status, headers, state = self.ask("POST", "/api/join", dict(token=token, name=name))
            assert status == 200, (status, state)
            self.cookie, self.csrf = headers["Set-Cookie"].split(";")[0], state["csrf"]

    def ask(self, method, path, body=None, **changes):
        """(status, headers, JSON or text). changes: headers, None to leave one out."""
        headers = {"Cookie": self.cookie, "X-CSRF-Token": self.csrf, "Content-Type": "application/json"}
        headers = {k: v for k, v in {**headers, **{k.replace("_", "-"): v for k, v in changes.items()}}.items() if v}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        text = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        connection.request(method, path, text.encode() if isinstance(text, str) else text, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        is_json = response.headers.get("Content-Type") == "application/json"
        return response.status, response.headers, json.loads(text) if is_json else text.decode()

    def must(self, method, path, body=None):
        """The answer; a test is faster than a person may be, and waits."""
        status = 429
        while status == 429:
            status, _, answer = self.ask(method, path, body)
            time.sleep(0.3 if status == 429 else 0)
        assert status == 200, (path, status, answer)
        return answer

    def get(self, path):
        return self.must("GET", path)

    def post(self, path, body):
        return self.must("POST", path, body)

    def events(self, item):
        """What the station says of an item's responses, as it says it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            while True:
                connection.request("GET", f"/api/items/{item}/stream", headers={"Cookie": self.cookie})
                response = connection.getresponse()
                if response.status == 200:
                    break
                assert response.status == 429, response.read()
                response.read()
                time.sleep(0.3)
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def answered(self, item):
        """The item when it has both responses: read as the page does, by its stream."""
        if None in item["responses"]:
            texts = ["", ""]
            for event in self.events(item["id"]):
                texts[event["which"]] += event.get("text", "")
            item = self.post("/api/next", {})["item"]
            assert [text.rstrip(" \t\r\n") for text in texts] == item["responses"], (texts, item)
        return item

    def choose(self, item, **changes):
        return self.post(f"/api/items/{item['id']}/choice", dict(choice="first", rating="better", seconds=1.5) | changes)

    def lines(self):
        return [json.loads(line) for line in self.get("/export.jsonl").split("\n") if line]
