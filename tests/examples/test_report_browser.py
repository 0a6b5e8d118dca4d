"""The reports of llama2-pipeline in a real browser: all charts are drawn, nothing comes from outside, nothing is wider than a page, on a desk or in a hand."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "annotate"))
import webdriver  # noqa: E402

PIPELINE = Path(os.environ["LLAMA2_BIN"]) / "llama2-pipeline"
CHARTS = {"lines", "scatter", "histogram", "cumulative", "bars"}
# Charts without a mark (but those that a tiny run has nothing for), texts cut off by their chart's edge, elements (but for tables that scroll by themselves) that stick out of the page.
FAULTS = """
const faults = [];
for (const svg of document.querySelectorAll('svg')) {
    const box = svg.getBoundingClientRect(), title = svg.closest('figure')?.querySelector('h3')?.textContent;
    if (box.width < 100 || box.height < 60) faults.push(`${title}: ${box.width} x ${box.height}`);
    if (!svg.querySelector('path.line[d^="M"], circle.dot, rect:not([rx])') && !arguments[0].includes(title)) faults.push(`${title}: nothing is drawn`);
    for (const text of svg.querySelectorAll('text')) {
        const of = text.getBoundingClientRect();
        if (of.left < box.left - 3 || of.right > box.right + 3 || of.top < box.top - 3 || of.bottom > box.bottom + 3) faults.push(`${title}: "${text.textContent}" is cut off: ${[of.left - box.left, box.right - of.right, of.top - box.top, box.bottom - of.bottom].map(Math.round)}`);
    }
}
if (document.scrollingElement.scrollWidth > innerWidth) faults.push(`the page is ${document.scrollingElement.scrollWidth} wide in a window of ${innerWidth}`);
for (const entry of performance.getEntriesByType('resource')) faults.push(`from outside: ${entry.name}`);
return faults;
"""


class Reports(unittest.TestCase):
    maxDiff = None

    def look(self, *arguments, unmeasured=()):
        out = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, out)
        subprocess.run([PIPELINE, "--tiny", "--quiet", "--out", out, *arguments], check=True, capture_output=True)
        report = json.loads((out / "report.json").read_text())
        charts = [item for section in report["sections"] for item in section["items"] if item["type"] in CHARTS]
        for width in (1280, 390):
            browser = webdriver.Browser(width=width)
            try:
                browser.open((out / "report.html").as_uri())
                self.assertEqual(browser.run("return document.querySelector('h1').textContent"), report["title"])
                self.assertEqual(browser.run("return document.querySelectorAll('figure svg').length"), len(charts))
                self.assertEqual(browser.run("return [...document.querySelectorAll('h2')].map(e => e.textContent)"), [section["heading"] for section in report["sections"]])
                self.assertEqual(browser.run(FAULTS, list(unmeasured)), [])
                self.assertEqual(browser.console(), [])
            finally:
                browser.close()

    def test_chain(self):
        self.look("--controls")

    def test_loop(self):
        self.look("--iterations", "3")

    def test_ablations(self):
        self.look("--ablations")


if __name__ == "__main__":
    if not webdriver.is_there():
        print("skipped: no chromedriver (Debian's chromium-driver)")
        sys.exit(77)
    unittest.main(verbosity=2)
