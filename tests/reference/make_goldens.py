#!/usr/bin/env python3
"""Makes the golden files of goldens/ (README.md says what is in them), or with --check compares them to what is made anew."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers.utils import logging

import cases_model
import cases_ppo
import cases_train
import float64

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDENS = os.path.join(HERE, "goldens")


def make(root):
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for cases in (cases_model, cases_train, cases_ppo):
        cases.make(root)


def files(root):
    return sorted(os.path.relpath(os.path.join(at, name), root) for at, _, names in os.walk(root) for name in names)


def difference(old, new):
    """||old - new|| / ||new||, and what it may be: the rounding of the stored type, or 1e-12."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return np.inf, 0.0
    if old.dtype.kind != "f":
        return float(not np.array_equal(old, new)), 0.0
    old, new, limit = old.astype(np.float64), new.astype(np.float64), 1e-12 if old.dtype == np.float64 else 1e-7
    size = np.linalg.norm(new)
    return np.linalg.norm(old - new) / (size if size > 0 else 1.0), limit


def check(made):
    bad, worst = [], 0.0
    if files(made) != files(GOLDENS):
        bad.append(f"files differ: {sorted(set(files(made)) ^ set(files(GOLDENS)))}")
    for path in sorted(set(files(made)) & set(files(GOLDENS))):
        pair = [os.path.join(root, path) for root in (GOLDENS, made)]
        if path.endswith(".json"):
            if json.load(open(pair[0])) != json.load(open(pair[1])):
                bad.append(f"{path}: differs")
            continue
        old, new = (load_file(p) for p in pair)
        if old.keys() != new.keys():
            bad.append(f"{path}: tensors differ: {sorted(old.keys() ^ new.keys())}")
        for name in old.keys() & new.keys():
            d, limit = difference(old[name], new[name])
            worst = max(worst, d)
            if not d <= limit:
                bad.append(f"{path}: {name}: relative difference {d:.3g}, at most {limit:.3g}")
    print("\n".join(bad) if bad else f"goldens match; largest relative difference {worst:.3g}")
    return 1 if bad else 0


def float32():
    """How far plain float32 models are from the goldens: a test can ask no more of a library that computes in float32."""
    float64.everywhere = contextlib.nullcontext
    float64.load = lambda kind, folder: kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    cases_model.check_weighted_loss = cases_train.check_scores = lambda *_: None  # they ask for float64's digits
    with tempfile.TemporaryDirectory() as made:
        make(made)
        for path in (p for p in files(made) if p.endswith("expected.safetensors")):
            old, new = (load_file(os.path.join(root, path)) for root in (GOLDENS, made))
            worst = sorted(((difference(old[n].astype(np.float64), new[n].astype(np.float64))[0], n) for n in old), reverse=True)
            print(os.path.dirname(path) + ": " + ", ".join(f"{d:.1e} {n}" for d, n in worst[:3]))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 unless the committed files are what would be made")
    parser.add_argument("--float32", action="store_true", help="write nothing; print how far the same in float32 is from the committed files")
    options = parser.parse_args()
    if options.float32:
        return float32()
    with tempfile.TemporaryDirectory() as made:
        make(made)
        if options.check:
            return check(made)
        shutil.rmtree(GOLDENS, ignore_errors=True)
        shutil.copytree(made, GOLDENS)
    print(f"{len(files(GOLDENS))} files, {sum(os.path.getsize(os.path.join(GOLDENS, f)) for f in files(GOLDENS))} bytes in {GOLDENS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
