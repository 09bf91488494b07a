"""The page in a real browser: headless Chromium, driven by Playwright."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sparnet.image import Photo, decode_photo, encode_photo, read_image
from tests.web.conftest import running
from tests.web.test_safety import JPEG

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'sparnet[dev]'")

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = {280: 640, 320: 640, 390: 844, 1024: 768, 1920: 1080}


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of, and what it asked of other servers."""
    return []


@pytest.fixture
def open_page(browser, complaints):
    contexts = []

    def open_page(address: str, width: int = 1024, **options) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
        )

        def note(request):
            if not request.url.startswith((address.split("/#")[0], "blob:", "data:")):
                complaints.append(f"asked for {request.url}")

        page.on("request", note)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page, server, complaints):
    page = open_page(server.address)
    page.wait_for_selector("html[data-ready]")
    yield page
    assert complaints == []


def restore(page, *files) -> None:
    page.set_input_files("#photo-file", files)
    settle(page)


def settle(page) -> None:
    """Wait until a changed choice is worked on and done."""
    page.wait_for_timeout(350)
    page.wait_for_selector("#panel-photo[data-state=done], #panel-photo[data-state=error]")


def download(page, selector: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(selector)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def split_of(page) -> float:
    return float(
        page.evaluate("document.getElementById('layer').style.getPropertyValue('--split')").rstrip("%")
    )


def test_a_photo_is_restored_with_one_face_switched_off_as_the_command_line_does_it(
    page, photo, restoring_model, sparnet_cli, tmp_path
):
    restore(page, photo)
    assert page.locator(".box").count() == 2
    assert page.locator("#photo-status").inner_text() == "2 faces restored, 384 \u00d7 192 px."
    page.locator(".box").nth(1).click()
    settle(page)
    assert page.locator(".box").nth(1).get_attribute("aria-pressed") == "false"
    assert page.locator("#photo-status").inner_text() == "1 of 2 faces restored, 384 \u00d7 192 px."

    frame = page.locator("#layer").bounding_box()
    page.mouse.move(frame["x"] + 0.25 * frame["width"], frame["y"] + 0.9 * frame["height"])
    assert split_of(page) == pytest.approx(25, abs=0.5)
    assert float(page.locator("#split").input_value()) == pytest.approx(25, abs=1)

    page.locator("#strength").fill("80")
    settle(page)
    made = download(page, "#download", tmp_path)
    assert made.name == "two faces_restored.jpg"
    options = ("-m", restoring_model, "--faces", "1", "-w", "0.2")
    assert sparnet_cli("restore", photo, "-o", tmp_path / "cli", *options).code == 0
    assert made.read_bytes() == (tmp_path / "cli" / photo.name).read_bytes()


def test_each_face_is_downloaded_in_the_photos_format(page, photo, tmp_path):
    restore(page, photo)
    face = download(page, "[aria-label='Download face 2']", tmp_path)
    assert face.name == "two faces_02.jpg"
    assert decode_photo(face.read_bytes()).format == "JPEG"
    assert read_image(face).shape == (128, 128, 3)


def test_size_and_format_are_chosen(page, photo, tmp_path):
    restore(page, photo)
    page.check("input[name=scale][value='2']")
    page.select_option("#format", "png")
    settle(page)
    made = download(page, "#download", tmp_path)
    assert made.suffix == ".png"
    assert read_image(made).shape == (384, 768, 3)


def test_everything_is_reached_by_keyboard(page, photo):
    restore(page, photo)
    page.keyboard.press("2")
    settle(page)
    assert page.locator(".box").nth(1).get_attribute("aria-pressed") == "false"
    page.locator(".box").nth(0).focus()
    page.keyboard.press("Enter")
    settle(page)
    assert "All faces are switched off" in page.locator("#photo-status").inner_text()
    assert page.evaluate("document.activeElement.dataset.face") == "1"
    page.keyboard.press("Space")
    settle(page)
    page.locator("#split").focus()
    before = split_of(page)
    page.keyboard.press("ArrowRight")
    assert split_of(page) == before + 1
    page.locator("#tab-photo").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#panel-tiny").is_visible()
    assert page.evaluate("document.activeElement.id") == "tab-tiny"


def test_the_focus_stays_at_the_photo_when_one_is_chosen(page, photo, tmp_path, complaints):
    bad = tmp_path / "letter.jpg"
    bad.write_bytes(b"Dear Ada,")
    page.locator("#photo-file").focus()
    page.set_input_files("#photo-file", bad)
    settle(page)
    assert page.evaluate("document.activeElement.id") == "photo-error"
    complaints.clear()
    page.locator("#photo-error input").focus()
    page.locator("#photo-error input").set_input_files(photo)
    settle(page)
    assert page.evaluate("document.activeElement.id") == "photo-desk"


def test_switches_are_large_enough_for_a_finger(page, photo):
    restore(page, photo)
    switch = page.locator(".switch input").first.bounding_box()
    assert min(switch["width"], switch["height"]) >= 24


def test_the_page_says_where_pictures_go(page, server):
    said = page.locator("#privacy").inner_text()
    assert server.address.removeprefix("http://") in said
    assert "within two minutes" in said


def test_a_face_is_zoomed_to_and_left_by_escape(page, photo):
    restore(page, photo)
    page.click("[aria-label='Zoom to face 1']")
    zoom = float(page.evaluate("document.getElementById('layer').style.getPropertyValue('--zoom')"))
    assert zoom > 1
    assert page.locator("#unzoom").is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.getElementById('layer').style.transform") == ""


def test_a_finger_moves_the_divider(open_page, server, photo):
    page = open_page(server.address, 390, has_touch=True, is_mobile=True)
    restore(page, photo)
    frame = page.locator("#layer").bounding_box()
    page.touchscreen.tap(frame["x"] + 0.8 * frame["width"], frame["y"] + 0.95 * frame["height"])
    assert split_of(page) == pytest.approx(80, abs=1)


def test_attention_maps_unfold(page, photo):
    restore(page, photo)
    page.locator("#attention summary").click()
    page.wait_for_selector("#attention-maps img")
    alt = page.locator("#attention-maps img").first.get_attribute("alt")
    assert alt.startswith("Attention map of unit 1 of ")


def test_attention_maps_are_drawn_for_a_second_photo_of_the_same_name(page, photo):
    for _ in range(2):
        restore(page, photo)
        assert page.locator("#attention-maps img").count() == 0
        page.locator("#attention summary").click()
        page.wait_for_selector("#attention-maps img", timeout=30_000)


def test_what_is_no_picture_is_told_and_another_can_be_chosen(page, photo, tmp_path, complaints):
    bad = tmp_path / "letter.jpg"
    bad.write_bytes(b"Dear Ada,")
    restore(page, bad)
    assert page.locator("#photo-error").is_visible()
    assert "Not a picture that can be read" in page.locator("#photo-error-text").inner_text()
    assert all("422" in complaint for complaint in complaints)
    complaints.clear()
    page.locator("#photo-error input").set_input_files(photo)
    settle(page)
    assert page.locator("#photo-desk").is_visible()


def test_a_size_that_is_refused_can_be_taken_back(page, photo, tmp_path, complaints):
    pixels = decode_photo(photo.read_bytes()).pixels
    large = tmp_path / "large.jpg"
    large.write_bytes(encode_photo(Photo(np.concatenate([pixels, pixels])), ".jpg"))
    page.evaluate("document.querySelector('input[name=scale][value=\"4\"]').checked = true")
    restore(page, large)
    assert page.locator("#photo-error").is_visible()
    assert all("413" in complaint for complaint in complaints)
    complaints.clear()
    page.check("input[name=scale][value='1']")
    settle(page)
    assert page.locator("#photo-error").is_hidden()
    assert "4 faces restored" in page.locator("#photo-status").inner_text()


def test_trying_again_keeps_the_faces_that_are_switched_off(page, photo, complaints):
    restore(page, photo)
    page.route("**/v1/restore", lambda route: route.abort())
    page.keyboard.press("2")
    settle(page)
    assert page.locator("#photo-error").is_visible()
    assert page.locator("#photo-desk").is_visible()
    complaints.clear()
    page.unroute("**/v1/restore")
    page.click("#photo-retry")
    settle(page)
    assert "1 of 2 faces restored" in page.locator("#photo-status").inner_text()


def test_a_photo_without_a_face_says_so(page, tmp_path):
    (tmp_path / "wall.jpg").write_bytes(JPEG)
    restore(page, tmp_path / "wall.jpg")
    assert "No face found" in page.locator("#photo-status").inner_text()
    assert page.locator("#no-faces").is_visible()


def test_a_format_that_browsers_do_not_show_is_shown_all_the_same(page, photo, tmp_path):
    tiff = tmp_path / "scan.tif"
    tiff.write_bytes(encode_photo(decode_photo(photo.read_bytes()), ".tif"))
    restore(page, tiff)
    for name in ("before", "after"):
        assert page.evaluate(f"document.getElementById('{name}').naturalWidth") == 384
    assert download(page, "#download", tmp_path / "out").suffix == ".tif"


def test_boxes_lie_on_the_faces_of_a_photo_that_is_shown_smaller(page, photo, tmp_path, monkeypatch):
    from sparnet.web import service

    monkeypatch.setattr(service, "_SHOWN_PX", 192)
    tiff = tmp_path / "scan.tif"
    tiff.write_bytes(encode_photo(decode_photo(photo.read_bytes()), ".tif"))
    restore(page, tiff)
    assert page.evaluate("document.getElementById('before').naturalWidth") == 192
    lefts = page.evaluate("[...document.querySelectorAll('.box')].map((box) => parseFloat(box.style.left))")
    assert sorted(left > 50 for left in lefts) == [False, True]
    assert max(lefts) < 100


def test_a_photo_is_pasted(page, photo):
    page.evaluate(
        """async (bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }""",
        list(photo.read_bytes()),
    )
    settle(page)
    assert page.locator(".box").count() == 2


# What waits by it goes on when the test says so; the page's policy lets no test ask by eval.
LATE = """() => {
  window.waitForLate = (resolve) => {
    window.goOn = resolve;
    document.documentElement.dataset.late = "true";
  };
}"""


PASTE = """([bytes, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


def paste(page, path: Path, name: str) -> None:
    """Paste a file under a name, without waiting for what comes of it."""
    page.evaluate(PASTE, [list(path.read_bytes()), name])


def test_a_late_answer_leaves_a_newer_photo_alone(page, photo, tmp_path):
    page.evaluate(LATE)
    page.evaluate(
        """() => {
          const real = HTMLImageElement.prototype.decode;
          let calls = 0;
          HTMLImageElement.prototype.decode = function () {
            if (this.id !== "after" || calls++) return real.call(this);
            return new Promise(window.waitForLate);
          };
        }"""
    )
    paste(page, photo, "older.jpg")
    page.wait_for_selector("html[data-late]")
    wall = tmp_path / "wall.jpg"
    wall.write_bytes(JPEG)
    paste(page, wall, "newer.jpg")
    page.wait_for_selector("#download[download='newer_restored.jpg'][href]")
    page.evaluate("window.goOn()")
    page.wait_for_timeout(500)
    assert "No face found" in page.locator("#photo-status").inner_text()
    made = download(page, "#download", tmp_path / "out")
    assert made.name == "newer_restored.jpg"
    assert made.read_bytes() == JPEG


def test_a_photo_is_worked_on_before_it_is_shown(page, photo):
    page.evaluate("() => { window.createImageBitmap = () => new Promise(() => {}); }")
    restore(page, photo)
    assert "2 faces restored" in page.locator("#photo-status").inner_text()


def write_tiny_face(path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path.write_bytes(encode_photo(Photo(pixels), ".png"))
    return path


def test_a_tiny_face_is_enlarged_as_the_command_line_does_it(page, small_model, sparnet_cli, tmp_path):
    face = write_tiny_face(tmp_path / "face.png")
    page.click("#tab-tiny")
    page.set_input_files("#tiny-file", face)
    page.wait_for_selector("#tiny-result:not([hidden])")
    made = download(page, "#tiny-download", tmp_path / "page")
    sparnet_cli("upscale", face, "-o", tmp_path / "cli", "-m", small_model)
    assert made.read_bytes() == (tmp_path / "cli" / "face.png").read_bytes()


def test_a_late_answer_leaves_a_newer_tiny_face_alone(page, tmp_path):
    page.evaluate(LATE)
    for name in ("older.png", "newer.png"):
        write_tiny_face(tmp_path / name)
    page.click("#tab-tiny")
    page.evaluate(
        """() => {
          const real = window.fetch;
          let calls = 0;
          window.fetch = async (...sent) => {
            const answer = await real(...sent);
            if (!calls++) await new Promise(window.waitForLate);
            return answer;
          };
        }"""
    )
    page.set_input_files("#tiny-file", tmp_path / "older.png")
    page.wait_for_selector("html[data-late]")
    page.set_input_files("#tiny-file", tmp_path / "newer.png")
    page.wait_for_selector("#tiny-download[download='newer_enlarged.png'][href]")
    page.evaluate("window.goOn()")
    page.wait_for_timeout(500)
    assert page.locator("#tiny-download").get_attribute("download") == "newer_enlarged.png"
    assert page.locator("#tiny-error").is_hidden()


def test_a_tiny_face_is_not_offered_while_the_next_is_enlarged(page, tmp_path):
    face = write_tiny_face(tmp_path / "face.png")
    page.click("#tab-tiny")
    page.set_input_files("#tiny-file", face)
    page.wait_for_selector("#tiny-download[href]")
    page.evaluate("() => { window.fetch = () => new Promise(() => {}); }")
    page.set_input_files("#tiny-file", face)
    page.wait_for_selector("#tiny-download:not([href])", timeout=10_000)


def test_a_zip_of_photos_comes_back_as_one(page, photo, tmp_path, complaints):
    with zipfile.ZipFile(tmp_path / "album.zip", "w", zipfile.ZIP_DEFLATED) as album:
        album.write(photo, "summer/one.jpg")
        album.writestr("summer/wall.jpg", JPEG)
        album.writestr("summer/bad.png", b"no picture")
        album.writestr("notes.txt", "words")
        album.writestr("__MACOSX/summer/._one.jpg", b"x")
    page.click("#tab-many")
    page.set_input_files("#many-files", [tmp_path / "album.zip", photo])
    page.wait_for_selector("#many-download[href]")
    assert page.locator("#many-status").inner_text() == (
        "3 of 4 photos done, 1 failed. 1 file that is no picture left out."
    )
    assert page.locator(".job.is-bad").count() == 1
    assert all("422" in complaint for complaint in complaints)
    complaints.clear()
    with zipfile.ZipFile(download(page, "#many-download", tmp_path)) as made:
        assert sorted(made.namelist()) == ["summer/one.jpg", "summer/wall.jpg", "two faces.jpg"]
        assert made.read("summer/wall.jpg") == JPEG
        assert made.read("summer/one.jpg") == made.read("two faces.jpg") != photo.read_bytes()


def test_a_dropped_folder_keeps_its_subfolders_and_leaves_out_hidden_files(page, tmp_path):
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/a.jpg"):
        (folder / name).write_bytes(JPEG)
    (folder / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (folder / ".DS_Store").write_bytes(b"x")
    page.click("#tab-many")
    frame = page.locator("#many-drop").bounding_box()
    place = {"x": frame["x"] + 50, "y": frame["y"] + 50}
    dragged = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": step, **place, "data": dragged})
    page.wait_for_selector("#many-download[href]")
    assert page.locator("#many-status").inner_text() == "2 of 2 photos done."
    with zipfile.ZipFile(download(page, "#many-download", tmp_path)) as made:
        assert sorted(made.namelist()) == ["album/a.jpg", "album/sub/a.jpg"]


def test_few_photos_of_a_queue_are_read_at_one_time(page, tmp_path):
    (tmp_path / "wall.jpg").write_bytes(JPEG)
    page.evaluate(
        """() => {
          const real = window.createImageBitmap;
          let now = 0;
          window.most = 0;
          window.createImageBitmap = async (...given) => {
            window.most = Math.max(window.most, ++now);
            try { return await real(...given); } finally { now--; }
          };
        }"""
    )
    page.click("#tab-many")
    page.set_input_files("#many-files", [tmp_path / "wall.jpg"] * 8)
    page.wait_for_selector("#many-download[href]")
    page.locator(".job img:not([hidden])").nth(7).wait_for()
    assert 1 <= page.evaluate("window.most") <= 3


def test_a_zip_of_results_is_not_offered_when_more_photos_have_come(page, tmp_path):
    page.evaluate(LATE)
    (tmp_path / "wall.jpg").write_bytes(JPEG)
    page.click("#tab-many")
    page.evaluate(
        """() => {
          const real = Blob.prototype.arrayBuffer;
          let calls = 0;
          Blob.prototype.arrayBuffer = async function () {
            const bytes = await real.call(this);
            if (!calls++) await new Promise(window.waitForLate);
            return bytes;
          };
        }"""
    )
    page.set_input_files("#many-files", tmp_path / "wall.jpg")
    page.wait_for_selector("html[data-late]")
    page.evaluate("() => { window.fetch = () => new Promise(() => {}); }")
    page.set_input_files("#many-files", tmp_path / "wall.jpg")
    page.locator(".job").nth(1).wait_for()
    page.evaluate("window.goOn()")
    page.wait_for_timeout(500)
    assert page.locator("#many-download[href]").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_runs_over_the_edge_and_both_colours_are_there(
    open_page, server, photo, complaints, width, scheme
):
    page = open_page(server.address, width, color_scheme=scheme)
    page.click("#tab-many")
    page.set_input_files("#many-files", photo)
    page.wait_for_selector("#many-download[href]")
    page.click("#tab-photo")
    restore(page, photo)
    for tab in ("tab-photo", "tab-tiny", "tab-many"):
        page.click(f"#{tab}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )[:3]
    assert (min(red, green, blue) > 200) == (scheme == "light")
    assert complaints == []


def test_colours_can_be_chosen_and_are_kept(page):
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def give_token(page, token: str) -> None:
    page.fill("#token", token)
    page.keyboard.press("Enter")


@pytest.mark.usefixtures("no_restorer")
def test_the_token_is_taken_from_the_address_or_asked_for(open_page, small_model, complaints):
    with running([str(small_model)], auth_token="tulips-42") as server:  # noqa: S106 - no secret
        page = open_page(f"{server.address}/#token=tulips-42")
        page.wait_for_selector("html[data-ready]")
        assert "token" not in page.url
        assert page.locator("#no-model").is_visible()
        assert complaints == []
        other = open_page(server.address)
        other.wait_for_selector("#token-dialog[open]")
        give_token(other, "roses")
        other.wait_for_selector("#token-wrong:not(:empty)")
        give_token(other, "tulips-42")
        other.wait_for_selector("html[data-ready]")


@pytest.mark.usefixtures("no_restorer")
@pytest.mark.parametrize("written", ["a+b/c==", "a%2Bb%2Fc%3D%3D"])
def test_a_token_with_signs_is_taken_from_the_address(open_page, small_model, complaints, written):
    with running([str(small_model)], auth_token="a+b/c==") as server:  # noqa: S106 - no secret
        page = open_page(f"{server.address}/#token={written}")
        page.wait_for_selector("html[data-ready]")
        assert complaints == []


@pytest.mark.usefixtures("no_restorer")
def test_a_token_that_no_header_carries_is_refused_and_another_can_be_given(open_page, small_model):
    with running([str(small_model)], auth_token="tulips-42") as server:  # noqa: S106 - no secret
        page = open_page(f"{server.address}/#token=\u017c\u00f3\u0142w")
        page.wait_for_selector("#token-dialog[open]")
        give_token(page, "\u017c\u00f3\u0142w")
        page.wait_for_selector("#token-wrong:not(:empty)")
        give_token(page, "tulips-42")
        page.wait_for_selector("html[data-ready]")


@pytest.mark.usefixtures("no_restorer")
def test_requests_that_need_a_token_at_one_time_are_all_answered(open_page, small_model):
    with running([str(small_model)], auth_token="tulips-42") as server:  # noqa: S106 - no secret
        page = open_page(server.address)
        page.wait_for_selector("#token-dialog[open]")
        page.evaluate(
            """() => { import("/static/api.js").then((api) => { window.second = api.models(); }); }"""
        )
        page.wait_for_timeout(1000)
        give_token(page, "tulips-42")
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        assert page.evaluate("window.second.then((said) => said.models.length)") > 0


@pytest.mark.usefixtures("no_restorer")
def test_without_a_model_that_restores_the_page_finds_faces_and_says_so(
    open_page, small_model, photo, complaints
):
    with running([str(small_model)]) as server:
        page = open_page(server.address)
        page.wait_for_selector("html[data-ready]")
        assert "No model that restores photos is here yet." in page.locator("#no-model").inner_text()
        restore(page, photo)
        assert page.locator(".box").count() == 2
        assert "No model here restores them yet" in page.locator("#photo-status").inner_text()
        assert complaints == []
