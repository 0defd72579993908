"""Tests of what the bundle's page says of the bundle, in Chromium."""

import dataclasses
import io
import json

from browser import served
from bundle_page import expect
from PIL import Image

from task_bundle.bundle import TaskBundle
from task_bundle.provenance import Provenance
from task_bundle.web.page import page_files
from task_bundle.web.server import WebFile


def test_what_is_said_of_the_bundle(files: dict[str, WebFile], chromium) -> None:
    about = json.loads(files["/bundle/about.json"].content)
    assert about["name"] == "dark.task"
    assert about["inputSize"] == [256, 256]
    # Names may contain HTML.
    about["name"] = "<img src=x onerror=alert(1)>.task"
    about["entries"][-1]["metadata"]["description"] = about["remarks"] = ["<img src=x>"]
    changed = dataclasses.replace(files["/bundle/about.json"], content=json.dumps(about).encode())
    with served({**files, "/bundle/about.json": changed}) as url:
        page = chromium.new_page()
        page.goto(url)
        expect(page.locator("#bundle-name")).to_have_text(about["name"])
        for text in (about["sha256"], "256 × 256 px", "<img src=x>"):
            expect(page.locator("#facts")).to_contain_text(text)
        expect(page.locator("#remarks")).to_have_text("<img src=x>")
        expect(page.locator("img")).to_have_count(2)
        page.close()


def test_how_the_bundle_was_made(bundle: TaskBundle, tasks_vision, chromium) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (128, 128), "teal").save(picture, "JPEG")
    made = Provenance(
        version="1.2.3",
        preset="blaze_face_stylizer_256",
        styles=("one", "<b>two</b>"),
        steps=100,
        seed=7,
        likeness=0.8,
        colors="photo",
        strength=0.5,
        precision="int8",
        thumbnail=picture.getvalue(),
    )
    with served(page_files(bundle.with_provenance(made), "made.task", tasks_vision)) as url:
        page = chromium.new_page()
        page.goto(url)
        page.get_by_text("Bundle", exact=True).click()
        for text in (
            "mm-face-stylizer 1.2.3",
            "blaze_face_stylizer_256",
            "one, <b>two</b>",
            "100 steps, seed 7",
            "0.8, colors of the photo",
            "Strength0.5",
            "int8",
        ):
            expect(page.locator("#facts")).to_contain_text(text)
        expect(page.locator("#thumbnail")).to_be_visible()
        assert page.locator("#thumbnail").evaluate("image => image.naturalWidth") == 128
        page.close()


def test_a_bundle_that_does_not_say_it(files: dict[str, WebFile], chromium) -> None:
    assert json.loads(files["/bundle/about.json"].content)["made"] is None
    with served(files) as url:
        page = chromium.new_page()
        page.goto(url)
        page.get_by_text("Bundle", exact=True).click()
        expect(page.locator("#facts")).to_contain_text("256 × 256 px")
        expect(page.locator("#facts")).not_to_contain_text("Made by")
        expect(page.locator("#thumbnail")).to_be_hidden()
        page.close()
