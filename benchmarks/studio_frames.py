"""Frame times of the studio while a large image with many masks is zoomed and panned.

    python benchmarks/studio_frames.py http://127.0.0.1:8000/?token=... IMAGE_ID

Needs a running server (`samkit annotate`) and Playwright with Chromium. Prints the time between
frames in milliseconds; headless Chromium without a GPU draws on the CPU.
"""

import sys

from playwright.sync_api import sync_playwright

STEPS = 240
WATCH = """() => {
  const times = (window.frames_ = []);
  let last = performance.now();
  const next = (now) => {
    times.push(now - last);
    last = now;
    if (window.frames_ === times) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""
# One step per frame, like a pointer in constant motion.
DRIVE = """(mode) => new Promise((resolve) => {
  const stage = document.querySelector('.stage');
  const { left, top, width, height } = stage.getBoundingClientRect();
  let step = 0;
  const next = () => {
    const at = {
      clientX: left + width * (0.5 + 0.3 * Math.sin(step / 20)),
      clientY: top + height * (0.5 + 0.3 * Math.cos(step / 27)),
      bubbles: true,
      cancelable: true,
    };
    const deltaY = step % 120 < 60 ? -40 : 40;
    if (mode === 'zoom') stage.dispatchEvent(new WheelEvent('wheel', { ...at, deltaY }));
    else stage.dispatchEvent(new PointerEvent('pointermove', { ...at, pointerId: 1, buttons: 4 }));
    if (++step < STEPS) requestAnimationFrame(next); else resolve();
  };
  next();
})""".replace("STEPS", str(STEPS))


def main():
    """Measure and print the frame times."""
    url, image = sys.argv[1:3]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(url)
        page.wait_for_selector(".card.project, .image-card")
        page.goto(f"{url.split('?')[0]}#/image/{image}")
        page.wait_for_selector(".mask-row", timeout=120_000)
        page.wait_for_timeout(5000)  # all layers are drawn, the image is sharp
        for mode in ("zoom", "pan"):
            box = page.locator(".stage").bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            if mode == "pan":
                page.mouse.wheel(0, -400)
                page.mouse.down(button="middle")
            page.evaluate(WATCH)
            page.evaluate(DRIVE, mode)
            times = sorted(
                page.evaluate(
                    "() => { const t = window.frames_; window.frames_ = null; return t; }"
                )
            )
            if mode == "pan":
                page.mouse.up(button="middle")
            p50, p95, longest = times[len(times) // 2], times[len(times) * 95 // 100], times[-1]
            print(f"{mode}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, longest {longest:.1f} ms")
        browser.close()


if __name__ == "__main__":
    main()
