"""llama2-annotate with SmolLM2: how soon both answers begin, and whether the page answers meanwhile, for two annotators at once."""
import json
import os
import sys
import threading
import time

import host

os.environ["LLAMA2_BIN"] = str(host.BUILD / "bin")
sys.path.insert(0, str(host.ROOT / "tests/annotate"))
from station import Client, Station  # noqa: E402

PROMPT = "I have two cats and a dog, and I will be away for three weeks in summer. What should I ask of a person who looks after them, and what should I leave in writing?"


def first_tokens(client, prompt, out):
    """Seconds from asking to the first text of each answer, and to the end of both."""
    begin, seen = time.monotonic(), {}
    item = client.post("/api/prompt", dict(text=prompt))["item"]
    for event in client.events(item["id"]):
        if "text" in event:
            seen.setdefault(event["which"], time.monotonic() - begin)
    out.append((seen[0], seen[1], time.monotonic() - begin))
    client.choose(client.post("/api/next", {})["item"])


def test_first_tokens(smollm2, scratch, figure):
    station = Station(scratch, smollm2, "helpfulness", "--max-new-tokens", 128, threads=host.THREADS)
    try:
        ann = Client(station.port, station.token, "Ann")
        bob = Client(station.port, ann.post("/api/invite", {})["token"], "Bob")
        first_tokens(ann, "Hello.", [])  # the weights come from the disk
        alone, together, waited = [], [], []
        for k in range(3):
            first_tokens(ann, f"{PROMPT} ({k})", alone)
        threads = [threading.Thread(target=first_tokens, args=(client, f"{PROMPT} {client.csrf}", together)) for client in (ann, bob)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            begin = time.monotonic()
            ann.get("/api/state")
            waited.append(time.monotonic() - begin)
            time.sleep(0.1)
        for thread in threads:
            thread.join()
    finally:
        station.close()
    assert len(together) == 2
    for what, runs in (("one annotator", alone), ("two at once", together)):
        figure(f"{what}: first token of both answers after", max(max(run[:2]) for run in runs), "s, all 128 of each after", max(run[2] for run in runs), "s")
        assert max(max(run[:2]) for run in runs) <= 1
    figure("meanwhile the page answers within", max(waited), "s,", len(waited), "times")
    assert len(waited) > 5 and max(waited) < 0.5
